"""What units priced by their MACs save once they are gone: latency, size, accuracy.

python results/compact_report.py [--study DIR] [--tolerance T] [--fine-tune EPOCHS]

For a study with lam = [0, "budget"], proximal = true and save_weights = true. Every budget run's
network is compacted and fine-tuned on the task; the network at lambda 0 of the same seed is its
dense original, and is fine-tuned for as long, so that both have had the same training. Latency is
measured at the end, when nothing else runs, with one thread, both networks in turns, in a process
that keeps freed memory as a study's workers do: without that PyTorch spends a part of the dense
network's time on page faults. Writes compaction.json and compaction.md into the study's directory.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from minaction.compaction.latency import measure_latency
from minaction.data.load import load_dataset
from minaction.errors import InputError, MinActionError
from minaction.measure.environment import cpu_name, versions
from minaction.report import formatting as write
from minaction.report.estimates import Estimate, change_pp, fold_reduction, mean
from minaction.study.compact_runs import (
    CompactedRun,
    CompactionPlan,
    compact_runs,
    load_run_model,
)
from minaction.study.design import LAMBDA_TERMS
from minaction.study.directory import load_study_directory, write_text_atomically
from minaction.study.journal import Record, RunStatus, latest_records
from minaction.study.study_file import BUDGET
from minaction.study.worker import Setup

RESULTS = Path(__file__).parent
CELL = ("dataset", "model", "parameters")
WORKERS = 2

Task = TypeVar("Task")
Result = TypeVar("Result")

Row = dict[str, Any]
"""One seed: its dense network and its compacted one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables, or exit 2 where the study has nothing to compact."""
    given = parse_arguments(arguments)
    plan = CompactionPlan(
        tolerance=given.tolerance, fine_tune_epochs=given.fine_tune, pairs=given.pairs
    )
    try:
        found = report(given.study, plan, given.workers)
        text = json.dumps(found, indent=1, allow_nan=False)
        write_text_atomically(given.study / "compaction.json", f"{text}\n")
        write_text_atomically(given.study / "compaction.md", as_markdown(found))
    except MinActionError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description="What a study's compacted networks save.")
    parser.add_argument("--study", type=Path, default=RESULTS / "compact")
    parser.add_argument("--tolerance", type=float, default=0.15, help="of approximate removals")
    parser.add_argument("--fine-tune", type=float, default=3.0, help="epochs after the removal")
    parser.add_argument("--pairs", type=int, default=41, help="pairs of latency measurements")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that fine-tune")
    return parser.parse_args(arguments)


def report(directory: Path, plan: CompactionPlan, workers: int) -> dict[str, Any]:
    """Return the rows of all seeds and their summary by data set and size.

    Raises:
        InputError: The study has no budget run with a dense run of the same seed.
        MinActionError: The study cannot be read, or a network cannot be compacted.
    """
    study = load_study_directory(directory)
    records = latest_records(directory)
    pairs = list(pairs_of(records))
    if not pairs:
        raise InputError(
            f'{directory}: no seed has a run at lambda 0 and one with lam = "budget" that both '
            "ended well; run the study first"
        )
    with environment_of_workers():
        both = both_of_each(directory, pairs, plan, workers)
        tasks = [(directory, dense.record, compacted, plan.pairs) for dense, compacted in both]
        found = in_processes(1, latencies, tasks, "latency")
    rows = [
        row_of(*networks) | {"latency": latency}
        for networks, latency in zip(both, found, strict=True)
    ]
    budgets = [record for record in records if record.config["lam"] == BUDGET]
    return {
        "schema": 1,
        "study": study.name,
        "margin": study.budget_terms["margin"],
        "aim": study.budget_terms["aim"],
        "tolerance": plan.tolerance,
        "fine_tune_epochs": plan.fine_tune_epochs,
        "pairs": plan.pairs,
        "not_compared": len(budgets) - len(pairs),
        "cpu": cpu_name(),
        "versions": versions(),
        "cells": [summary(cell, study.budget_terms["margin"]) for cell in cells_of(rows)],
        "rows": rows,
    }


def pairs_of(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield each `ok` budget run behind the `ok` run at lambda 0 of its cell and seed."""
    done = [record for record in records if record.status is RunStatus.OK]
    dense = {settings(record): record for record in done if record.config["lam"] == 0}
    for record in done:
        if record.config["lam"] == BUDGET and settings(record) in dense:
            yield dense[settings(record)], record


def settings(record: Record) -> str:
    """Return what a budget run and its dense twin have in common, as text."""
    left_out = {"lam", *LAMBDA_TERMS}
    return json.dumps({k: v for k, v in record.config.items() if k not in left_out}, sort_keys=True)


def both_of_each(
    directory: Path, pairs: Sequence[tuple[Record, Record]], plan: CompactionPlan, workers: int
) -> list[tuple[CompactedRun, CompactedRun]]:
    """Return each pair's dense network, fine-tuned only, and the compacted one."""
    dense_plan = replace(plan, tolerance=0.0)
    tasks = [
        (directory, record.run_id, chosen)
        for pair in pairs
        for record, chosen in zip(pair, (dense_plan, plan), strict=True)
    ]
    done = in_processes(workers, compacted_run, tasks, "compacting, fine-tuning")
    return list(zip(done[::2], done[1::2], strict=True))


@contextlib.contextmanager
def environment_of_workers() -> Iterator[None]:
    """Give processes that are started meanwhile the environment of a study's workers."""
    before = dict(os.environ)
    os.environ.update(Setup(data_dir=None, shared="").environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def in_processes(
    workers: int, function: Callable[[Task], Result], tasks: Sequence[Task], doing: str
) -> list[Result]:
    """Return what a function makes of each task, computed in fresh processes."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, prepare_process) as pool:
        done = pool.map(function, tasks)
        return list(track(done, doing, len(tasks), console=Console(stderr=True)))


def prepare_process() -> None:
    """Compute with one thread, and without denormal numbers as the study's workers do."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def compacted_run(task: tuple[Path, str, CompactionPlan]) -> CompactedRun:
    """Compact one run of a study; its latency is left for later."""
    directory, run_id, plan = task
    (found,) = compact_runs(directory, [run_id], plan)
    return found


def row_of(dense: CompactedRun, compacted: CompactedRun) -> Row:
    """Return what a pair has come to, latency aside; accuracies are those of the test split."""
    compaction, config = compacted.compaction, compacted.record.config
    test = compacted.accuracy["test"]
    return {
        **{key: config[key] for key in (*CELL, "seed")},
        "run_id": compacted.name,
        "dense_run_id": dense.name,
        "units": {layer: list(counts) for layer, counts in compaction.units.items()},
        "exact": len(compaction.exact),
        "approximate": len(compaction.approximate),
        "macs": [compaction.macs_before, compaction.macs_after],
        "bytes": [compaction.bytes_before, compaction.bytes_after],
        "accuracy": {
            "dense": dense.accuracy["test"]["before"],
            "dense_tuned": dense.accuracy["test"]["after"],
            "trained": test["before"],
            "removed": test["removed"],
            "compacted": test["after"],
        },
    }


def latencies(task: tuple[Path, Record, CompactedRun, int]) -> list[Row]:
    """Measure the compacted network against its dense original."""
    directory, dense, compacted, pairs = task
    dataset = load_dataset(dense.config["dataset"])
    found = measure_latency(
        load_run_model(directory, dense, dataset),
        compacted.compaction.model,
        dataset.validation.x[:256],
        pairs=pairs,
    )
    return [entry.to_dict() for entry in found]


def cells_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows by data set, model and size, in order of first appearance."""
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in CELL), []).append(row)
    return list(cells.values())


def summary(rows: Sequence[Row], margin: float) -> dict[str, Any]:
    """Return one cell's means over seeds with 95 % t intervals (of logs for ratios).

    Accuracy changes are paired by seed: against the dense original as the study trained it, and
    against the same fine-tuned for as long as the compacted network. `non_inferior`: the whole
    interval lies above -margin.
    """
    seeds = [row["seed"] for row in rows]
    accuracies = {
        name: pd.Series([row["accuracy"][name] for row in rows], index=seeds)
        for name in rows[0]["accuracy"]
    }
    changes = {
        name: change_pp(accuracies["compacted"], accuracies[name])
        for name in ("dense", "dense_tuned")
    }
    return {
        **{key: rows[0][key] for key in CELL},
        "seeds": len(rows),
        "accuracy": {name: mean(values) for name, values in accuracies.items()},
        "change_pp": changes,
        "non_inferior": {
            name: None if change["low"] is None else change["low"] > -100 * margin
            for name, change in changes.items()
        },
        "units": {
            layer: {
                "before": counts[0],
                "after": mean(pd.Series([row["units"][layer][1] for row in rows])),
            }
            for layer, counts in rows[0]["units"].items()
        },
        "exact": mean(pd.Series([row["exact"] for row in rows])),
        "approximate": mean(pd.Series([row["approximate"] for row in rows])),
        "macs_fold": fold([row["macs"] for row in rows]),
        "bytes": [
            mean(pd.Series([row["bytes"][which] for row in rows], dtype=float)) for which in (0, 1)
        ],
        "latency": latency_summary(rows),
    }


def fold(pairs: Sequence[Sequence[float]]) -> Estimate:
    """Return the geometric mean of before / after."""
    before, after = (pd.Series([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
    return fold_reduction(after, before)


def latency_summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return, by runtime and batch, the speed-up over seeds, each a median of pairs."""
    return [
        {
            "runtime": entry["runtime"],
            "batch": entry["batch"],
            "speedup": fold([[row["latency"][place]["speedup"], 1.0] for row in rows]),
            **{
                name: mean(pd.Series([row["latency"][place][name] for row in rows]))
                for name in ("before_seconds", "after_seconds")
            },
        }
        for place, entry in enumerate(rows[0]["latency"])
    ]


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the report as a page of Markdown."""
    margin = write.margin(found["margin"])
    left_out = found["not_compared"]
    return (
        "# From energy to a smaller network\n\n"
        f"Made by `python results/compact_report.py` from the study `{found['study']}`: unit "
        f"energy priced by MACs, proximal steps that may cost {found['aim']:g} x {margin} of "
        f"validation accuracy; then `compact` (tolerance {found['tolerance']:g}) and "
        f"{found['fine_tune_epochs']:g} epochs of fine-tuning. The dense original is "
        "the network at lambda 0 of the same seed. Means over "
        "seeds; brackets are 95 % t intervals, of logs for ratios, paired by seed. Test split.\n\n"
        "Accuracy. *Dense, tuned* is the dense original fine-tuned for as long as the compacted "
        f"network; *holds* where the whole interval of the change lies above -{margin}:\n\n"
        "| | seeds | dense | dense, tuned | compacted | against dense, pp | holds "
        "| against dense, tuned, pp | holds |\n|---|---|---|---|---|---|---|---|---|\n"
        f"{''.join(accuracy_row(cell) for cell in found['cells'])}\n"
        "Size. Exact removals change nothing on the training split, approximate ones do:\n\n"
        "| | units by layer | removed exactly | approximately | MACs fewer | kB before | after |\n"
        "|---|---|---|---|---|---|---|\n"
        f"{''.join(size_row(cell) for cell in found['cells'])}\n"
        f"Measured latency on one thread ({found['cpu']}), dense original and compacted network "
        f"in turns, freed memory kept, median of {found['pairs']} pairs per seed:\n\n"
        "| | runtime | batch | before, ms | after, ms | times faster |\n|---|---|---|---|---|---|\n"
        f"{''.join(latency_rows(cell) for cell in found['cells'])}"
        + (f"\n{left_out} budget runs have no pair that ended well.\n" if left_out else "")
    )


def summary_table(found: Mapping[str, Any]) -> str:
    """Return one row per cell: how much faster, and what it costs in accuracy."""
    entries = found["cells"][0]["latency"]
    heads = [f"times faster, {entry['runtime']}, batch {entry['batch']}" for entry in entries]
    heads = ["", *heads, "accuracy, pp", "against dense, tuned, pp"]
    rows = (
        [
            f"{cell['dataset']}, {cell['model']}",
            *(bracketed(entry["speedup"], ".2f") for entry in cell["latency"]),
            *(bracketed(cell["change_pp"][name], "+.2f") for name in ("dense", "dense_tuned")),
        ]
        for cell in found["cells"]
    )
    return f"{table_row(heads)}|{'---|' * len(heads)}\n{''.join(map(table_row, rows))}"


def accuracy_row(cell: Mapping[str, Any]) -> str:
    """Return a cell's row of the first table."""
    values = [cell["accuracy"][name] for name in ("dense", "dense_tuned", "compacted")]
    shown = [write.accuracy(value["estimate"]) for value in values]
    against = []
    for name in ("dense", "dense_tuned"):
        against += [bracketed(cell["change_pp"][name], "+.2f"), verdict(cell["non_inferior"][name])]
    return table_row([label(cell), str(cell["seeds"]), *shown, *against])


def size_row(cell: Mapping[str, Any]) -> str:
    """Return a cell's row of the second table."""
    units = ", ".join(
        f"{entry['before']} to {entry['after']['estimate']:.1f}"
        for entry in list(cell["units"].values())[:-1]  # the last one's are the classes
    )
    counts = [f"{cell[kind]['estimate']:.1f}" for kind in ("exact", "approximate")]
    sizes = [f"{size['estimate'] / 1e3:.1f}" for size in cell["bytes"]]
    return table_row([label(cell), units, *counts, bracketed(cell["macs_fold"], ".2f"), *sizes])


def latency_rows(cell: Mapping[str, Any]) -> str:
    """Return a cell's rows of the third table."""
    return "".join(
        table_row(
            [
                label(cell),
                entry["runtime"],
                str(entry["batch"]),
                f"{1e3 * entry['before_seconds']['estimate']:.3f}",
                f"{1e3 * entry['after_seconds']['estimate']:.3f}",
                bracketed(entry["speedup"], ".2f"),
            ]
        )
        for entry in cell["latency"]
    )


def label(cell: Mapping[str, Any]) -> str:
    """Return how a cell is named."""
    return f"{cell['dataset']}, {cell['model']}, {cell['parameters']:,} parameters"


def verdict(holds: bool | None) -> str:
    """Say whether a bound holds; one seed says nothing."""
    return "" if holds is None else "yes" if holds else "no"


def bracketed(value: Estimate, digits: str) -> str:
    """Return an estimate with its interval in brackets, if it has one."""
    if value["low"] is None:
        return f"{value['estimate']:{digits}}"
    return f"{value['estimate']:{digits}} [{value['low']:{digits}}, {value['high']:{digits}}]"


def table_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
