"""`minaction search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minaction.commands.options import DataDir, Workers, text_of
from minaction.commands.report import write_page
from minaction.commands.run import (
    CpusPerRun,
    Executor,
    ExecutorName,
    GpusPerRun,
    RayAddress,
    ray_cluster,
)
from minaction.errors import StoppedError, StudyFailedError

HELP = """Search networks under energy, or go on with a search.

A search file names a space of networks, what is sought in it and how. The
shortest one:

\b
  [search]
  name = "my-search"
  objectives = ["accuracy", "energy_gauge_fixed"]
  sampler = "tpe"               # or nsga2, random
  evaluations = 20
  [space]                       # like [factors] of a study
  dataset = "fashion-mnist"
  model = ["mlp", "cnn"]
  depth = [1, 2, 3]
  parameters = [10_000, 30_000, 100_000]
  lam = [0, 1e-4, 1e-2]

Objectives are two or three of accuracy, energy_gauge_fixed, macs, latency and
parameters.

Candidates are judged on the validation split alone. What is finished is kept:
the same command goes on after Ctrl-C or a kill, and writes the report. The
front is trained again with other seeds; what the file's rule chooses from it is
trained with 10 more and measured on the test split, in DIR/chosen-ID.
DIR/search.toml, written by the first run, spells out every default.
"""


def search(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A search file (TOML).")],
    out: Annotated[Path, typer.Option(help="The search's directory; an existing one is resumed.")],
    workers: Workers = None,
    data_dir: DataDir = None,
    executor: Executor = ExecutorName.LOCAL,
    ray_address: RayAddress = None,
    cpus_per_run: CpusPerRun = None,
    gpus_per_run: GpusPerRun = None,
) -> None:
    """Search networks under energy, or go on with a search."""
    from minaction.progress import progress_listener
    from minaction.search.directory import chosen_directory
    from minaction.search.page import read_search
    from minaction.search.run import run_search
    from minaction.search.search_file import load_search

    wanted = load_search(spec)
    cluster = ray_cluster(executor, ray_address, cpus_per_run, gpus_per_run)
    with progress_listener() as listener:
        try:
            outcome = run_search(
                wanted,
                out,
                listener,
                workers=workers,
                data_dir=text_of(data_dir),
                cluster=cluster,
            )
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped; finished runs are kept in {out}: the same command does the rest"
            ) from None
    page = write_page(out)
    if outcome.chosen is not None:
        write_page(chosen_directory(out, outcome.chosen.tried.run_id))
    if outcome.failed:
        raise StudyFailedError(
            f"{out}: {outcome.failed} of {outcome.ran} runs failed; {page} lists them, and the "
            "same command tries them again"
        )
    if outcome.chosen is None:
        raise StudyFailedError(
            f"{out}: no candidate is left for a front; {page} says how each ended: lower the "
            "floor, or give smaller lambdas or longer trainings"
        )
    for line in read_search(out)[1]["headlines"]:
        typer.echo(line)
    typer.echo(f"report: {page}")
