"""`minaction study run` and `quickstart`."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.commands.options import DataDir, Workers, text_of
from minaction.commands.report import write_page
from minaction.commands.tracking import Track, TrackingUri, live_tracking
from minaction.errors import InputError, StoppedError, StudyFailedError

if TYPE_CHECKING:
    from minaction.integrations.tracking import LiveTracking
    from minaction.study.execute_ray import RayCluster
    from minaction.study.parts import Part
    from minaction.study.study_file import Study

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


PartName = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="K/N",
        help="Only part K of N of the runs, the same on every machine: N drivers do a study, each "
        "in a directory of its own, and `study merge` joins them.",
        show_default=False,
    ),
]


class Fleet(StrEnum):
    """When runs are trained as one; `FleetMode` for the command line."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ExecutorName(StrEnum):
    """Where runs are done."""

    LOCAL = "local"
    RAY = "ray"


Executor = Annotated[
    ExecutorName, typer.Option(help="Processes of this machine, or tasks of a Ray cluster.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="With ray: `auto` for the cluster this machine belongs to, or HOST:PORT of its "
        "head; default: a cluster of this machine's CPUs, for as long as the runs take.",
        show_default=False,
    ),
]
CpusPerRun = Annotated[
    int | None, typer.Option(min=1, help="With ray: CPUs and threads of a run; default: 1.")
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="With ray: GPUs reserved for a run, or a part of one (single runs compute on the "
        "CPU); default: 0.",
    ),
]


def quickstart(
    out: Annotated[Path, typer.Option(help="Where the study goes.")] = Path("minaction-quickstart"),
) -> None:
    """Run a study of four modalities offline, in two minutes."""
    from minaction.study.read_study import load_study

    spec = Path(__file__).parents[1] / "study" / "quickstart.toml"
    _run_study(load_study(spec), out, workers=None, data_dir=None)
    page = write_page(out)
    _print_summary(out)
    typer.echo(f"report: {page.resolve()}")


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
    executor: Executor = ExecutorName.LOCAL,
    ray_address: RayAddress = None,
    cpus_per_run: CpusPerRun = None,
    gpus_per_run: GpusPerRun = None,
    part: PartName = None,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Run a study, or what is left of it, and write its report."""
    from minaction.study.parts import Part
    from minaction.study.read_study import load_study

    study = load_study(spec)
    of_study = None if part is None else Part.of(part)
    rotate_bytes = None if rotate is None else rotate << 20
    cluster = ray_cluster(executor, ray_address, cpus_per_run, gpus_per_run)
    tracking = live_tracking(track, study, out, tracking_uri)
    with tracking or contextlib.nullcontext():
        _run_study(study, out, workers, data_dir, rotate_bytes, fleet, tracking, cluster, of_study)
        page = write_page(out)
    _print_summary(out)
    typer.echo(f"report: {page}")


def ray_cluster(
    executor: ExecutorName, address: str | None, cpus: int | None, gpus: float | None
) -> RayCluster | None:
    """Return the cluster that options of the command line describe, None for local processes.

    Raises:
        InputError: They are for Ray, which was not asked for.
        ClusterError: They describe none.
    """
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
    part: Part | None = None,
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
                part=part,
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped; finished runs are kept in {out}: the same command does the rest"
            ) from None
    if outcome.failed:
        write_page(out)
        raise StudyFailedError(
            f"{out}: {outcome.failed} of {outcome.ran} runs failed; `minaction study status {out}` "
            "says why, and the same command tries them again"
        )


def _print_summary(directory: Path) -> None:
    from minaction.report.summary import lambda_summary

    for line in lambda_summary(directory):
        typer.echo(line)
