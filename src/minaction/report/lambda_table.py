"""The lambda tables: what each lambda does to energy and accuracy, and which one is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from minaction.report import formatting as write
from minaction.report.comparison import accuracy, energies, finished, measured
from minaction.report.estimates import absent, proportion, spread
from minaction.report.frame import (
    GROUP,
    grouping,
    lambda_levels,
    layer_frame,
    status_counts,
)
from minaction.report.layers import layer_table
from minaction.stats.lambda_selection import select_lambda
from minaction.study.design import BUDGET_TERMS
from minaction.study.journal import Record
from minaction.study.study_file import BUDGET

CHOSEN = (
    "energy_percent",
    "fold_reduction",
    "gauge_fixed_percent",
    "gauge_fixed_fold",
    "rescaling_percent",
    "test_accuracy",
    "accuracy_change_pp",
)
"""What the choice repeats of the row of the chosen lambda."""
AGAINST_ZERO = frozenset({*CHOSEN, "activation_percent", "activation_fold"} - {"test_accuracy"})
"""What of a row compares it with lambda = 0."""


def lambda_tables(
    frame: pd.DataFrame,
    records: Sequence[Record] | None,
    *,
    margin: float,
    alpha: float,
    rule: str,
) -> list[dict[str, Any]]:
    """Return one table per data set, model, energy and every other factor that varies.

    Means and intervals are over runs that are `ok`; every row counts the others. Comparisons with
    lambda = 0 are paired by seed: accuracy as the mean difference in percentage points, raw and
    gauge-fixed energy as geometric mean ratios. All intervals are 95 % t intervals, those of means
    of fractions on the logit scale, that of `rescaling_percent` a Fieller interval. Budget runs
    have a row of their own, with the median and the range of the multipliers they found; no rule
    chooses it.

    Args:
        frame: From `run_frame`.
        records: The records behind it, for the layers; None for tables without them.
        margin: Non-inferiority margin of the choice, a fraction of accuracy.
        alpha: Level of its one-sided test.
        rule: Name of the rule, see `select_lambda`.

    Returns:
        JSON-able tables in the order of the design, lambda ascending and the budget last. `label`
        names a table in full, `curve` within the panel of its data set and energy; `gauge_missing`
        lists why `ok` runs have no gauge-fixed energy.
    """
    by = grouping(frame)
    grid = frame.loc[frame["lam"] != BUDGET, :].astype({"lam": float})
    choices = select_lambda(grid, by=by, margin=margin, alpha=alpha, rule=rule)
    layers = None if records is None else layer_frame(frame, records)
    tables = []
    for _, group in frame.groupby(by, sort=False):
        factors = {name: group[name].tolist()[0] for name in by}
        curve = label({name: factors[name] for name in by if name not in ("dataset", "energy")})
        names = {"label": label(factors), "curve": curve, "factors": factors}
        own = lambda_table(group, of_group(choices, factors), factors["energy"])
        tables.append(
            names
            | own
            | {"gauge_missing": missing_reasons(group)}
            | ({} if layers is None else layer_table(of_group(layers, factors), factors["energy"]))
        )
    return tables


def of_group(table: pd.DataFrame, factors: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of a table that belong to one group."""
    same = (table[list(factors)] == list(factors.values())).all(axis="columns")
    return table.loc[same, :]


def lambda_table(group: pd.DataFrame, choices: pd.DataFrame, trained: str) -> dict[str, Any]:
    """Return the rows, the choice and the budget of one group; see `lambda_tables`."""
    cells = {lam: group.loc[group["lam"] == lam, :] for lam in lambda_levels(group)}
    reference = finished(cells[0.0]) if 0.0 in cells else None
    tests = {row["lam"]: test_row(row) for row in choices.to_dict("records")}
    rows = [
        lambda_row(lam, cell, reference, trained) | {"validation": tests.get(lam, NOT_TESTED)}
        for lam, cell in cells.items()
    ]
    budget = budget_terms(cells[BUDGET]) if BUDGET in cells else None
    return {"rows": rows, "choice": choice(rows), "budget": budget}


def lambda_row(
    lam: float | str, cell: pd.DataFrame, reference: pd.DataFrame | None, trained: str
) -> dict[str, Any]:
    """Return the numbers of one lambda, against the finished runs at lambda = 0 if there is one."""
    done = finished(cell)
    row: dict[str, Any] = {"lam": lam, "planned": len(cell), "statuses": status_counts(cell)}
    if lam == BUDGET:
        row["multiplier"] = spread(measured(done, "shadow_price"))
    return row | {
        **energies(lam, done, reference, trained),
        **accuracy(lam, done, reference),
        "zero_fraction": proportion(measured(done, "zero_fraction")),
        "silent_fraction": proportion(measured(done, "silent_fraction")),
    }


def missing_reasons(group: pd.DataFrame) -> list[dict[str, Any]]:
    """Return why `ok` runs of a group have no gauge-fixed energy, with the number of each."""
    reasons = group.loc[group["status"] == "ok", "gauge_reason"].value_counts().sort_index()
    return [
        {"reason": write.short(str(reason)), "runs": int(runs)} for reason, runs in reasons.items()
    ]


NOT_TESTED = {
    "n": 0,
    "difference_pp": None,
    "lower_pp": None,
    "p": None,
    "eligible": False,
    "selected": False,
    "reason": "steered by validation accuracy itself; see the change on the test split",
}
"""The validation test of the budget's row."""


def test_row(row: dict[Any, Any]) -> dict[str, Any]:
    """Return one row of `select_lambda` as JSON, accuracies in percentage points."""

    def scaled(name: str, factor: float) -> float | None:
        return factor * row[name] if math.isfinite(row[name]) else None

    return {
        "n": int(row["n"]),
        "difference_pp": scaled("difference", 100),
        "lower_pp": scaled("lower", 100),
        "p": scaled("p", 1),
        "eligible": bool(row["eligible"]),
        "selected": bool(row["selected"]),
        "reason": row["reason"],
    }


def choice(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the chosen lambda with its test result, or the reason why none could be chosen."""
    for row in rows:
        if row["validation"]["selected"]:
            return {"lam": row["lam"], "reason": "", **{name: row[name] for name in CHOSEN}}
    reason = rows[0]["validation"]["reason"]
    return {"lam": None, "reason": reason, **{name: absent(reason) for name in CHOSEN}}


def has_grid(table: dict[str, Any]) -> bool:
    """Return whether a table has levels to choose from, or at least no budget in their place."""
    return table["budget"] is None or any(row["lam"] not in (0, BUDGET) for row in table["rows"])


def is_sweep(tables: Sequence[dict[str, Any]]) -> bool:
    """Return whether any table has more than one lambda."""
    return any(len(table["rows"]) > 1 for table in tables)


def budget_terms(cell: pd.DataFrame) -> dict[str, Any]:
    """Return what the budget runs of a group were asked for, and the baselines they refer to.

    `margin` is the loss of accuracy allowed, a fraction; they aim at `aim` times as much.
    """
    asked = {name: cell[name].tolist()[0] for name in BUDGET_TERMS}
    baselines = sorted({str(run) for run in cell["baseline"].dropna()})
    return {**asked, "baselines": baselines}


def label(factors: dict[str, Any]) -> str:
    """Return how a group is named: its data set, model and energy, then `factor = level`."""

    def part(name: str, level: Any) -> str:
        if name in GROUP:
            return str(level)
        return f"{name} = {level if isinstance(level, str) else format(level, 'g')}"

    return " \u00b7 ".join(part(name, level) for name, level in factors.items())
