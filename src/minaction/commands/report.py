"""`minaction report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minaction.commands.options import StudyDir


def report(
    directory: StudyDir,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page; default: DIR/report.html.")
    ] = None,
    paper: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a paper's figures (PDF) and tables (LaTeX, CSV); no page is written "
            "unless -o asks for one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a study's report: a page, or a paper's figures.

    The page is one self-contained HTML file; a paper's figures and tables go into a folder.
    """
    if paper is not None:
        for line in _write_paper(directory, paper):
            typer.echo(line)
    if paper is None or output is not None:
        typer.echo(str(write_page(directory, output)))


def write_page(directory: Path, output: Path | None = None) -> Path:
    """Write the page of a study or search; return its path, by default in its directory."""
    from minaction.search.directory import holds_search

    if holds_search(directory):
        from minaction.search.page import write_search_report

        return write_search_report(directory, output)
    from minaction.report.build import write_report

    return write_report(directory, output)


def _write_paper(directory: Path, folder: Path) -> list[str]:
    from minaction.report.paper.write import write_paper
    from minaction.study.toml_text import one_line

    made = write_paper(directory, folder)
    counts = f"{len(made.figures)} figures and {len(made.tables)} tables"
    missing = [f"  without {one.name}: {one.reason}" for one in made.missing]
    return [one_line(line) for line in (f"{made.folder}: {counts}", *missing)]
