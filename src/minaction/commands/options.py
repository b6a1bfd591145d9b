"""Options and arguments that several commands share, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where data sets are looked for first, then $MINACTION_DATA and the user cache.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
StudyDir = Annotated[Path, typer.Argument(metavar="DIR", help="A study's directory.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at once; default: one per CPU.", show_default=False),
]
DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="A data set's name.")]


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def text_of(path: Path | None) -> str | None:
    """Return a path as text; the option may be left out."""
    return None if path is None else str(path)
