"""Compares runs that find their own lambda within a budget with a grid of lambdas.

python results/budget_against_grid.py [--budget DIR] [--grid DIR]

Writes comparison.json and comparison.md into the budget's directory. Every run of the grid counts
as its cost, and every run of the budget's study as the budget's, the baseline included.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from minaction.errors import InputError, MinActionError
from minaction.report import formatting as write
from minaction.report.comparison import accuracy, energies, finished, measured, missing_gauge
from minaction.report.estimates import Estimate, absent, percent_of, spread
from minaction.report.frame import run_frame, status_counts
from minaction.report.provenance import mixed_conditions, provenance
from minaction.stats.lambda_selection import select_lambda
from minaction.study.design import LAMBDA_TERMS, RunConfig
from minaction.study.directory import load_study_directory, write_text_atomically
from minaction.study.journal import Record, latest_records
from minaction.study.study_file import BUDGET, Study

RESULTS = Path(__file__).parent
FIRST = ("dataset", "model", "energy", "epochs", "batch_size", "lr", "weight_decay", "parameters")
"""What of a cell's settings is written first."""
OF_A_RUN = ("lam", "seed", "validate_every", *LAMBDA_TERMS)
"""What runs may differ in and be compared: validations only steer lambda."""
OF_THE_STUDY = ("study_sha256", "analysis_sha256")
"""Conditions in which two studies always differ."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A study, its latest records, and a row for each of its runs."""

    study: Study
    records: list[Record]
    frame: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The grid's runs of one cell, and the lambda its rule selects; None if it selects none."""

    runs: pd.DataFrame
    selected: float | None

    def at(self, lam: float) -> pd.DataFrame:
        """Return the runs of one lambda."""
        return self.runs.loc[self.runs["lam"] == lam, :]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the comparison, or exit 2 where the studies cannot be compared."""
    parser = argparse.ArgumentParser(description="Compare a budget study with a grid study.")
    parser.add_argument("--budget", type=Path, default=RESULTS / "budget")
    parser.add_argument("--grid", type=Path, default=RESULTS / "lambda_sweep")
    given = parser.parse_args(arguments)
    try:
        found = compare(given.budget, given.grid)
        text = json.dumps(found, indent=1, allow_nan=False)
        write_text_atomically(given.budget / "comparison.json", f"{text}\n")
        write_text_atomically(given.budget / "comparison.md", as_markdown(found))
    except MinActionError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def compare(budget: Path, grid: Path) -> dict[str, Any]:
    """Return the comparison of a budget study with a grid study.

    One entry per data set, model and other settings: the lambda the grid's own rule selects on its
    validation split, and the budget; both against the grid's lambda = 0 on the test split, and the
    budget against the grid, all paired by seed. Only runs that are `ok` are in means and ratios;
    `not_ok` counts the others.

    Raises:
        InputError: The first study has no budget runs, or the second none with their settings.
        MinActionError: A study cannot be read.
    """
    one, other = load(budget), load(grid)
    asked = one.frame.loc[one.frame["lam"] == BUDGET, :]
    if not len(asked):
        raise InputError(f'{budget}: has no runs with lam = "budget"; give a budget study')
    cell = cell_of(one)
    if unlike := sorted({*cell} ^ {*cell_of(other)}):
        raise InputError(
            f"{grid}: has {', '.join(unlike)} and {budget} has not, or the other way round; give a "
            "grid of the same settings"
        )
    cells = [
        compare_cell(group, matching(other, group, cell, grid), cell)
        for _, group in asked.groupby(cell, sort=False)
    ]
    return {
        "schema": 1,
        "budget_study": one.study.name,
        "grid_study": other.study.name,
        "rule": other.study.analysis.rule,
        "grid_margin": other.study.analysis.margin,
        "cells": cells,
        "different_conditions": different_conditions(one, other),
        "runs_in_both": runs_in_both(one, other),
    }


def load(directory: Path) -> Loaded:
    """Read a study with its journal."""
    study, records = load_study_directory(directory), latest_records(directory)
    return Loaded(study=study, records=records, frame=run_frame(study, records))


def cell_of(study: Loaded) -> list[str]:
    """Return what two studies must have in common to be compared, as far as one of them has it."""
    names = dict.fromkeys([*FIRST, *RunConfig.__annotations__])
    return [name for name in names if name in study.frame and name not in OF_A_RUN]


def matching(grid: Loaded, group: pd.DataFrame, cell: list[str], directory: Path) -> Grid:
    """Return the grid's runs with the settings of a group of budget runs."""
    settings = group[cell].iloc[0]
    numeric = grid.frame.loc[grid.frame["lam"] != BUDGET, :].astype({"lam": float})
    runs = numeric.loc[(numeric[cell] == settings).all(axis="columns"), :]
    if not len(runs):
        named = ", ".join(f"{name} = {level}" for name, level in settings.items())
        raise InputError(f"{directory}: has no runs with {named}; give a grid of the same settings")
    analysis = grid.study.analysis
    table = select_lambda(
        runs, by=cell, margin=analysis.margin, alpha=analysis.alpha, rule=analysis.rule
    )
    selected = table.loc[table["selected"].astype(bool), "lam"].tolist()
    return Grid(runs=runs, selected=selected[0] if selected else None)


def compare_cell(budget: pd.DataFrame, grid: Grid, cell: list[str]) -> dict[str, Any]:
    """Return the comparison for one group of budget runs; see `compare`."""
    settings = {name: budget[name].tolist()[0] for name in cell}
    margin = float(budget["margin"].tolist()[0])
    reference = grid.at(0.0)
    baselines = set(budget["baseline"].dropna())
    result = {
        **settings,
        "margin": margin,
        "aim": float(budget["aim"].tolist()[0]),
        "budget": {
            "runs": len(set(budget["run_id"]) | baselines),
            "multiplier": spread(measured(finished(budget), "shadow_price")),
            **against_zero(BUDGET, budget, reference, margin),
        },
        "grid": {"runs": len(grid.runs), "lam": grid.selected},
        "budget_of_grid": {},
    }
    if grid.selected is not None:
        chosen = grid.at(grid.selected)
        result["grid"] |= against_zero(grid.selected, chosen, reference, margin)
        result["budget_of_grid"] = {
            "energy_percent": ratio(budget, chosen, "energy_value"),
            "gauge_fixed_percent": ratio(budget, chosen, "energy_gauge_fixed"),
        }
    return result


def against_zero(
    lam: float | str, runs: pd.DataFrame, reference: pd.DataFrame, margin: float
) -> dict[str, Any]:
    """Return what runs do on the test split, against those at lambda = 0.

    `non_inferior` is whether the 95 % interval of the change of accuracy lies above -margin; null
    where there is none. Runs that are not `ok` make it false: the others are survivors.
    """
    done, at_zero = finished(runs), finished(reference)
    change = accuracy(lam, done, at_zero)
    found = energies(lam, done, at_zero, str(runs["energy"].tolist()[0]))
    names = ("energy_percent", "gauge_fixed_percent", "rescaling_percent")
    not_ok = len(runs) - status_counts(runs)["ok"]
    low = change["accuracy_change_pp"]["low"]
    return {
        "not_ok": not_ok,
        **change,
        "non_inferior": None if low is None else not not_ok and low > -100 * margin,
        **{name: found[name] for name in names},
    }


def ratio(budget: pd.DataFrame, chosen: pd.DataFrame, column: str) -> Estimate:
    """Return the budget's energy in percent of that of the grid's selected lambda."""
    sides = {"budget": finished(budget), "grid": finished(chosen)}
    for name, runs in sides.items():
        if column == "energy_gauge_fixed" and (reason := missing_gauge(runs)):
            return absent(f"{name}: {reason}")
    return percent_of(*(measured(runs, column) for runs in sides.values()))


def different_conditions(one: Loaded, other: Loaded) -> list[str]:
    """Return the conditions that were not the same for all runs of both studies."""
    mixed = mixed_conditions(provenance([*one.records, *other.records]))
    return [condition for condition in mixed if condition not in OF_THE_STUDY]


def runs_in_both(one: Loaded, other: Loaded) -> dict[str, int]:
    """Return how many runs both studies have, and how many of them came out the same."""
    theirs = {record.run_id: outcome(record) for record in other.records}
    ours = {record.run_id: outcome(record) for record in one.records if record.run_id in theirs}
    return {"runs": len(ours), "same": sum(theirs[run] == found for run, found in ours.items())}


def outcome(record: Record) -> tuple[Any, ...]:
    """Return what two runs of one configuration must have in common to be called the same."""
    metrics = record.metrics or {}
    return record.status, metrics.get("test_accuracy"), metrics.get("energy_activation")


def as_markdown(found: dict[str, Any]) -> str:
    """Return the comparison as a page of Markdown."""
    return (
        "# Budget against grid\n\n"
        f"Made by `python results/budget_against_grid.py` from the journals of the studies "
        f"`{found['budget_study']}` and `{found['grid_study']}`. The grid's lambda is the one its "
        f"rule ({found['rule']}, margin {write.margin(found['grid_margin'])}) selects on the "
        "validation split; a budget run finds its own, of which the median and the range over "
        "seeds are shown. Everything else is measured on the test split, over the runs that are "
        "ok, paired by seed; brackets are 95 % intervals over seeds (t; of log ratios for "
        "energies; Fieller for rescaling). Non-inferior: the whole interval of the change of "
        "accuracy lies above minus the budget's margin. Runs count everything it took: the grid's "
        "every lambda and seed, the budget's seeds and its baseline.\n\n"
        f"{tables(found)}\n{remarks(found)}"
    )


def tables(found: dict[str, Any]) -> str:
    """Return the comparison's tables: both sides against lambda = 0, then against each other."""
    cells = found["cells"]
    return (
        "In percent of the energy at lambda = 0; rescaling is the share of its fall on a log scale "
        "that gauge fixing removes:\n\n"
        "| | runs | lambda | accuracy change, pp | non-inferior | raw energy, % "
        "| gauge-fixed energy, % | rescaling, % |\n|---|---|---|---|---|---|---|---|\n"
        f"{''.join(cell_rows(cell) for cell in cells)}\n"
        "The budget's energy in percent of the grid's; *yes* where the whole interval is at most "
        "100, *on average* where only the mean is:\n\n"
        "| | raw energy, % | gauge-fixed energy, % | no higher than the grid's | runs |\n"
        "|---|---|---|---|---|\n"
        f"{''.join(ratio_row(cell) for cell in cells)}"
    )


def cell_rows(cell: dict[str, Any]) -> str:
    """Return the rows of one cell: the grid's selected lambda, then the budget."""
    grid, budget = cell["grid"], cell["budget"]
    if grid["lam"] is None:
        rows = f"| {label(cell)}, grid | {grid['runs']} | none can be selected | | | | | |\n"
    else:
        rows = row(f"{label(cell)}, grid", grid, f"{write.lam(grid['lam'])} selected")
    found = budget["multiplier"]
    return rows + row(
        f"{label(cell)}, budget of {write.margin(cell['margin'])}",
        budget,
        f"{write.lam_found(found['estimate'])} found ({write.bounds(found, write.lam_found)})"
        if found["n"]
        else found["reason"],
    )


def row(name: str, side: dict[str, Any], lam: str) -> str:
    """Return one row of the first table."""
    not_ok = f" ({side['not_ok']} not ok)" if side["not_ok"] else ""
    cells = [
        name,
        f"{side['runs']}{not_ok}",
        lam,
        bracketed(side["accuracy_change_pp"], "+.2f"),
        {True: "yes", False: "not shown", None: ""}[side["non_inferior"]],
        *(
            bracketed(side[energy], ".3g")
            for energy in ("energy_percent", "gauge_fixed_percent", "rescaling_percent")
        ),
    ]
    return f"| {' | '.join(cells)} |\n"


def ratio_row(cell: dict[str, Any]) -> str:
    """Return one row of the second table."""
    found = cell["budget_of_grid"]
    if not found:
        return f"| {label(cell)} | no lambda was selected | | | |\n"
    raw, gauge_fixed = found["energy_percent"], found["gauge_fixed_percent"]
    verdict = f"raw: {no_higher(raw)}; gauge-fixed: {no_higher(gauge_fixed)}"
    runs = f"{cell['budget']['runs']} against {cell['grid']['runs']}"
    cells = [label(cell), bracketed(raw, ".3g"), bracketed(gauge_fixed, ".3g"), verdict, runs]
    return f"| {' | '.join(cells)} |\n"


def no_higher(percent: Estimate) -> str:
    """Say whether an energy is no higher than that it is compared with, and how surely."""
    if percent["estimate"] is None:
        return percent["reason"]
    if percent["estimate"] > 100:
        return "no" if percent["low"] is not None and percent["low"] > 100 else "not shown"
    sure = percent["high"] is not None and percent["high"] <= 100
    return "yes" if sure else "on average"


def remarks(found: dict[str, Any]) -> str:
    """Return what a reader must know of how comparable the two studies are."""
    both = found["runs_in_both"]
    lines = []
    if both["runs"]:
        lines.append(
            f"{both['runs']} runs are in both studies, {both['same']} of them with the same result."
        )
    if found["different_conditions"]:
        names = ", ".join(found["different_conditions"])
        lines.append(f"Not all runs of the two studies were made under the same {names}.")
    return "".join(f"{line}\n" for line in lines)


def label(cell: dict[str, Any]) -> str:
    """Return how a cell is named."""
    return f"{cell['dataset']}, {cell['model']}, {cell['energy']}"


def bracketed(interval: Estimate, digits: str) -> str:
    """Return an estimate with its interval in brackets, or why there is none."""
    if interval["estimate"] is None:
        return interval["reason"]
    if interval["low"] is None:
        return f"{interval['estimate']:{digits}} ({interval['n']} seeds)"
    ends = f"{interval['low']:{digits}}, {interval['high']:{digits}}"
    return f"{interval['estimate']:{digits}} [{ends}]"


if __name__ == "__main__":
    main()
