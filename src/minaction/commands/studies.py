"""`minaction study`: what can be done with studies; running them is in `run`."""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minaction.commands import plan, run
from minaction.commands.options import AsJson, StudyDir, print_json
from minaction.commands.tracking import TrackerKind, TrackingUri, export_to_tracker
from minaction.errors import InputError, VerificationError

SHOWN = 60
"""Characters of a value that a message quotes."""

app = typer.Typer(help="Studies: plan, run, status, verify, export, merge.", no_args_is_help=True)
app.command("plan")(plan.study_plan)
app.command("run", help=run.RUN_HELP)(run.study_run)


class ExportFormat(StrEnum):
    """What a journal can be exported to."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"


@app.command("status")
def study_status(
    directory: StudyDir,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until all runs are done, or the driver ends.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(min=0.1, max=3600, help="Seconds between two looks of --watch; default: 2."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how far a study is, also while it runs; only reads."""
    if watch:
        from minaction.commands.watch import watch_study

        return watch_study(directory, every or 2.0, as_json)
    if every is not None:
        raise InputError("--every is for --watch; give both or neither")
    from minaction.study.status import study_status as status

    found = status(directory)
    if as_json:
        return print_json(found.to_dict())
    for name, lines in found.repeated.items():
        typer.echo(
            f"warning: run {name} is finished in lines {', '.join(map(str, lines))} of the "
            "journal; it is counted once, as the last of them has it",
            err=True,
        )
    typer.echo(f"{found.name}: {found.done} of {found.total} runs done")
    for name, count in found.by_status.items():
        typer.echo(f"  {name:<10} {count}")
    for message, count in found.errors.items():
        typer.echo(f"  failed {count}x: {message}")
    if found.running:
        typer.echo(f"  running    {found.running}")
    elif found.done < found.total:
        typer.echo("the same `minaction study run` command does the rest")
    return None


@app.command("verify")
def study_verify(directory: StudyDir, as_json: AsJson = False) -> None:
    """Recompute every number of the report from the journal.

    Takes the directory of a search as well. Exits with 1 if one differs.
    """
    from minaction.report.verify import verify_report
    from minaction.search.directory import holds_search

    if holds_search(directory):
        from minaction.search.verify import verify_search

        found = verify_search(directory)
    else:
        found = verify_report(directory)
    if as_json:
        print_json(
            {
                "checked": found.checked,
                "differences": [vars(d) for d in found.differences],
                "warnings": list(found.warnings),
            }
        )
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if found.differences:
        first = found.differences[0]
        raise VerificationError(
            f"{directory}: {len(found.differences)} of {found.checked} numbers differ; first: "
            f"{first.path}: found {_short(first.stored)}, expected {_short(first.recomputed)}"
        )
    if not as_json:
        typer.echo(f"{directory}: {found.checked} numbers recomputed from the journal, all equal")


@app.command("export")
def study_export(
    directory: StudyDir,
    to: Annotated[ExportFormat, typer.Option(help="Format.")] = ExportFormat.CSV,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File; default: standard output. Of tensorboard a folder; default: in DIR.",
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Export the runs: one row or record per run, or a run of a tracker."""
    from minaction.study.directory import atomic_file, load_study_directory

    if to in tuple(TrackerKind):
        export_to_tracker(TrackerKind(to), directory, output, tracking_uri)
        return
    if tracking_uri is not None:
        raise InputError("--tracking-uri is for --to mlflow; leave it out")
    if output is not None:
        _require_file_place(output)
    load_study_directory(directory)
    if to is ExportFormat.PARQUET:
        from minaction.study.export_parquet import write_parquet

        if output is None:
            raise InputError("parquet is no text; give the path of a file with --output")
        write_parquet(directory, output)
        return
    from minaction.study.export import write_csv, write_json

    write = write_csv if to is ExportFormat.CSV else write_json
    if output is None:
        write(directory, sys.stdout)
        return
    with atomic_file(output) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n", write_through=True)
        write(directory, text)
        text.detach()


@app.command("merge")
def study_merge(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Directories of one study.")
    ],
    out: Annotated[Path, typer.Option(help="The directory to make.")],
    as_json: AsJson = False,
) -> None:
    """Merge what several machines did of one study.

    Each run is there once. One that finished wins over one that failed; finished ones must agree in
    everything but provenance and seconds, then the directory named first wins.
    """
    from minaction.study.merge import merge_studies

    merged = merge_studies(directories, out)
    if as_json:
        print_json(merged.to_dict())
        return
    taken = ", ".join(f"{count} from {directory}" for directory, count in merged.taken.items())
    typer.echo(f"{out}: {merged.runs} runs: {taken}")
    if merged.agreeing:
        typer.echo(f"  finished in several with the same result: {merged.agreeing}")
    if merged.failed:
        typer.echo(f"  failed, to be tried again: {merged.failed}")


def _require_file_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
