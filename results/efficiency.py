"""Summarises a study of training efficiency.

python results/efficiency.py [DIR ...]

Writes efficiency.json and efficiency.md into the first of the studies' directories, by default
results/efficiency and results/efficiency_small, whose data sets must not overlap: the target of
each data set, what every model spends until it, and what the energy-first and the spiking ones gain
on the conventional ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.data.sources import SOURCES
from minaction.errors import InputError, MinActionError
from minaction.report.analysis.efficiency_gains import efficiency_verdict
from minaction.report.efficiency import (
    TUNING_SEEDS,
    UNIT_NAMES,
    UNITS,
    efficiency,
    setting_text,
)
from minaction.study.design import run_id, runs
from minaction.study.directory import load_study_directory, write_text_atomically
from minaction.study.journal import latest_records

RESULTS = Path(__file__).parent
DIRECTORIES = [RESULTS / "efficiency", RESULTS / "efficiency_small"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the summary, or exit 2 where the study does not allow one."""
    parser = argparse.ArgumentParser(description="Summarise a study of training efficiency.")
    parser.add_argument("directories", type=Path, nargs="*", default=DIRECTORIES)
    parser.add_argument("--tuning-seeds", type=int, default=TUNING_SEEDS)
    given = parser.parse_args(arguments)
    try:
        found = summarise(given.directories, given.tuning_seeds)
        text = json.dumps(found, indent=1, allow_nan=False)
        write_text_atomically(given.directories[0] / "efficiency.json", f"{text}\n")
        write_text_atomically(given.directories[0] / "efficiency.md", as_markdown(found))
    except MinActionError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def summarise(directories: Sequence[Path], tuning_seeds: int) -> dict[str, Any]:
    """Return the efficiency that studies found, and how many of their runs are there.

    Raises:
        InputError: Two of the studies have a data set in common, or other models or lambdas.
        MinActionError: A study cannot be read, or they do not allow a summary.
    """
    studies = [load_study_directory(directory) for directory in directories]
    datasets = [name for study in studies for name in study.factors.dataset]
    if len(set(datasets)) < len(datasets):
        raise InputError("the studies have a data set in common; give studies of different ones")
    if len({(study.factors.model, study.factors.lam) for study in studies}) > 1:
        raise InputError("the studies differ in their models or lambdas; give ones that do not")
    planned = {run_id(config) for study in studies for config in runs(study)}
    records = [r for d in directories for r in latest_records(d) if r.run_id in planned]
    modalities = {name: source.modality for name, source in SOURCES.items()}
    found = efficiency(records, modalities, tuning_seeds=tuning_seeds)
    return {
        "schema": 2,
        "studies": [study.name for study in studies],
        "planned": len(planned),
        "recorded": len(records),
        "verdict": efficiency_verdict(studies[0], found | {"reason": ""}).to_dict(),
        **found,
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the summary as a page of Markdown."""
    return (
        "# Training efficiency\n\n"
        "Made by `python results/efficiency.py` from the journals of "
        f"{', '.join(found['studies'])} ({found['recorded']:,} of {found['planned']:,} runs). "
        f"Target: {100 * found['share']:g} % "
        "of the final validation accuracy of the best conventional model at its best setting, a "
        "learning rate and an initialisation. Cost: what a run has spent at its first validation "
        "at or above the target. Each "
        f"model's setting is the one that reached it in the fewest steps on the first "
        f"{found['tuning_seeds']} seeds; costs and gains are those of the other seeds. Runs that "
        "never reach it are censored: counted, in Kaplan-Meier medians and in means restricted to "
        "where no run is censored. MACs are those of forward and backward passes; seconds are of "
        "training, evaluation aside.\n\n"
        f"## Targets\n\n{targets(found)}\n## Gains\n\n"
        "1 - cost / cost of the reference, in percent, with the 95 % interval of a bootstrap over "
        "seeds, stratified by data set and model; over several data sets the geometric mean of the "
        "ratios. *Best*: the conventional model that set the target; *cheapest*: the conventional "
        f"model that reached it at the lowest cost on the first seeds.\n\n{gains(found)}\n"
        f"## Costs\n\n{costs(found)}"
    )


def targets(found: dict[str, Any]) -> str:
    """Return the table of targets."""
    rows = (
        f"| {row['dataset']} | {row['modality']} | {row['model']} at "
        f"{setting_text(row)} | "
        f"{100 * row['accuracy']:.2f} (n = {row['n']}) | {100 * row['target']:.2f} |\n"
        for row in found["targets"]
    )
    return (
        "| data set | modality | best conventional | accuracy, % | target, % |\n"
        f"|---|---|---|---|---|\n{''.join(rows)}"
    )


def gains(found: dict[str, Any]) -> str:
    """Return the table of gains: a row for each scope, model and reference."""
    rows: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in found["gains"]:
        scope = row["dataset"] or f"**{row['modality']}**"
        rows.setdefault((scope, row["model"], row["against"]), {})[row["unit"]] = row
    text = "| | model | against | " + " | ".join(UNIT_NAMES[unit] for unit in UNITS) + " |\n"
    text += "|---|---|---|" + "---|" * len(UNITS) + "\n"
    for (scope, model, against), by_unit in rows.items():
        cells = " | ".join(gain(by_unit.get(unit), against) for unit in UNITS)
        text += f"| {scope} | {model} | {against} | {cells} |\n"
    return text


def gain(row: dict[str, Any] | None, against: str) -> str:
    """Return a gain with its interval, and its reference where that differs by unit."""
    if row is None:
        return "not recorded"
    shown = f"{100 * row['gain']:.0f}"
    if row["low"] is not None:
        shown += f" ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
    return f"{shown} {', '.join(row['reference'])}" if against == "cheapest" else shown


def costs(found: dict[str, Any]) -> str:
    """Return the table of costs."""
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in found["costs"]:
        rows.setdefault((row["dataset"], row["model"]), {})[row["unit"]] = row
    text = "| data set | model | setting | runs | censored | " + " | ".join(
        f"{UNIT_NAMES[unit]}, median | mean" for unit in UNITS
    )
    text += " |\n|---|---|---|---|---|" + "---|" * (2 * len(UNITS)) + "\n"
    for (dataset, model), by_unit in rows.items():
        first = by_unit["steps"]
        edge = " (edge of the rates)" if first["lr_at_edge"] else ""
        cells = " | ".join(cost(by_unit.get(unit)) for unit in UNITS)
        text += (
            f"| {dataset} | {model} | {setting_text(first)}{edge} | {first['n']} "
            f"| {first['censored']} | {cells} |\n"
        )
    return text


def cost(row: dict[str, Any] | None) -> str:
    """Return median and mean of a cost; a mean up to a horizon is marked with a greater-than."""
    if row is None:
        return "not recorded | "
    median = "not reached" if row["median"] is None else f"{row['median']:.3g}"
    return f"{median} | {'' if row['horizon'] is None else '> '}{row['mean']:.3g}"


if __name__ == "__main__":
    main()
