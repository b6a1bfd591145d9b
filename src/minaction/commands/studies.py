"""`minaction study`, `quickstart` and `report`."""

from __future__ import annotations

import contextlib
import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands import plan
from minaction.commands.options import AsJson, DataDir, StudyDir, Workers, print_json, text_of
from minaction.commands.tracking import (
    Track,
    TrackerKind,
    TrackingUri,
    export_to_tracker,
    live_tracking,
)
from minaction.errors import InputError, StoppedError, StudyFailedError, VerificationError

if TYPE_CHECKING:
    from minaction.integrations.tracking import LiveTracking
    from minaction.study.execute_ray import RayCluster
    from minaction.study.study_file import Study

SHOWN = 60
"""Characters of a value that a message quotes."""

RUN_HELP = """Run a study, or what is left of it, and write its report.

A study file names what is crossed and how it will be judged. The shortest one:

\b
  [study]
  name = "my-study"
  seeds = 10
  [factors]
  dataset = ["mnist"]           # see `minaction data list`
  model = ["mlp", "cnn"]
  lam = [0, 1e-4, 1e-2]

A misspelt key or name is answered with the nearest there is. DIR/study.toml, written by the first
run, spells out every default.
"""

app = typer.Typer(help="Studies: plan, run, status, verify, export, merge.", no_args_is_help=True)
app.command("plan")(plan.study_plan)


class Fleet(StrEnum):
    """When runs are trained as one; `FleetMode` for the command line."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ExecutorName(StrEnum):
    """Where runs are done."""

    LOCAL = "local"
    RAY = "ray"


class ExportFormat(StrEnum):
    """What a journal can be exported to."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"


def quickstart(
    out: Annotated[Path, typer.Option(help="Where the study goes.")] = Path("minaction-quickstart"),
) -> None:
    """Run a study of four modalities offline, in two minutes."""
    from minaction.study.read_study import load_study

    spec = Path(__file__).parents[1] / "study" / "quickstart.toml"
    _run_study(load_study(spec), out, workers=None, data_dir=None)
    page = _write_report(out, None)
    _print_summary(out)
    typer.echo(f"report: {page.resolve()}")


@app.command("run", help=RUN_HELP)
def study_run(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A study file (TOML).")],
    out: Annotated[Path, typer.Option(help="The study's directory; an existing one is resumed.")],
    workers: Workers = None,
    data_dir: DataDir = None,
    rotate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="MIB",
            help="Compress the journal, part by part, whenever it has grown by so many MiB; to "
            "be given again with every resume.",
            show_default=False,
        ),
    ] = None,
    fleet: Annotated[
        Fleet,
        typer.Option(
            help="Train runs of one architecture and data set as one: where a trial finds it "
            "faster, wherever it can be done, or never."
        ),
    ] = Fleet.AUTO,
    executor: Annotated[
        ExecutorName, typer.Option(help="Processes of this machine, or tasks of a Ray cluster.")
    ] = ExecutorName.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With ray: `auto` for the cluster this machine belongs to, or HOST:PORT of its "
            "head; default: a cluster of this machine's CPUs, for as long as the study runs.",
            show_default=False,
        ),
    ] = None,
    cpus_per_run: Annotated[
        int | None,
        typer.Option(min=1, help="With ray: CPUs and threads of a run; default: 1."),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            min=0, help="With ray: GPUs reserved for a run, or a part of one; default: 0."
        ),
    ] = None,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Run a study, or what is left of it, and write its report."""
    from minaction.study.read_study import load_study

    study = load_study(spec)
    rotate_bytes = None if rotate is None else rotate << 20
    cluster = _cluster(executor, ray_address, cpus_per_run, gpus_per_run)
    if cluster and fleet is Fleet.ON:
        raise InputError("--fleet on: a cluster trains runs one at a time; leave it out")
    tracking = live_tracking(track, study, out, tracking_uri)
    with tracking or contextlib.nullcontext():
        _run_study(study, out, workers, data_dir, rotate_bytes, fleet, tracking, cluster)
        page = _write_report(out, None)
    _print_summary(out)
    typer.echo(f"report: {page}")


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

    Exits with 1 if one differs.
    """
    from minaction.report.verify import verify_report

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
        typer.echo(str(_write_report(directory, output)))


def _cluster(
    executor: ExecutorName, address: str | None, cpus: int | None, gpus: float | None
) -> RayCluster | None:
    if executor is ExecutorName.RAY:
        from minaction.study.execute_ray import RayCluster

        return RayCluster(address=address, cpus_per_run=cpus or 1, gpus_per_run=gpus or 0.0)
    options = {"--ray-address": address, "--cpus-per-run": cpus, "--gpus-per-run": gpus}
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} is for --executor ray; give both or neither")
    return None


def _run_study(
    spec: Study,
    out: Path,
    workers: int | None,
    data_dir: Path | None,
    rotate_bytes: int | None = None,
    fleet: Fleet = Fleet.AUTO,
    tracking: LiveTracking | None = None,
    cluster: RayCluster | None = None,
) -> None:
    from minaction.progress import progress_listener
    from minaction.study.driver import run_study

    with progress_listener() as listener:
        try:
            outcome = run_study(
                spec,
                out,
                tracking.listener(listener) if tracking else listener,
                workers=workers,
                data_dir=text_of(data_dir),
                rotate_bytes=rotate_bytes,
                fleet=fleet.value,
                cluster=cluster,
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped; finished runs are kept in {out}: the same command does the rest"
            ) from None
    if outcome.failed:
        _write_report(out, None)
        raise StudyFailedError(
            f"{out}: {outcome.failed} of {outcome.ran} runs failed; `minaction study status {out}` "
            "says why, and the same command tries them again"
        )


def _write_report(directory: Path, output: Path | None) -> Path:
    from minaction.report.build import write_report

    return write_report(directory, output)


def _write_paper(directory: Path, folder: Path) -> list[str]:
    from minaction.report.paper.write import write_paper
    from minaction.study.toml_text import one_line

    made = write_paper(directory, folder)
    counts = f"{len(made.figures)} figures and {len(made.tables)} tables"
    missing = [f"  without {one.name}: {one.reason}" for one in made.missing]
    return [one_line(line) for line in (f"{made.folder}: {counts}", *missing)]


def _print_summary(directory: Path) -> None:
    from minaction.report.summary import lambda_summary

    for line in lambda_summary(directory):
        typer.echo(line)


def _require_file_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
