"""The lambda tables: what each lambda does to energy and accuracy, and which one is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from minaction.report.frame import GROUP, grouping, status_counts
from minaction.stats.intervals import Interval, mean_interval, paired_difference, paired_ratio
from minaction.stats.lambda_selection import select_lambda

REFERENCE = "reference"


def lambda_tables(
    frame: pd.DataFrame, *, margin: float, alpha: float, rule: str
) -> list[dict[str, Any]]:
    """Return one table per data set, model, energy and every other factor that varies.

    Means and intervals are over runs that are `ok`; every row counts the others. Comparisons with
    lambda = 0 are paired by seed: accuracy as the mean difference in percentage points, energy as
    the geometric mean ratio. All intervals are 95 % t intervals.

    Args:
        frame: From `run_frame`.
        margin: Non-inferiority margin of the choice, a fraction of accuracy.
        alpha: Level of its one-sided test.
        rule: Name of the rule, see `select_lambda`.

    Returns:
        JSON-able tables in the order of the design, lambda ascending. `label` names a table in
        full, `curve` within the panel of its data set and energy.
    """
    by = grouping(frame)
    choices = select_lambda(frame, by=by, margin=margin, alpha=alpha, rule=rule)
    gauged = bool(frame["energy_gauge_fixed"].notna().any())
    tables = []
    for _, group in frame.groupby(by, sort=False):
        factors = {name: group[name].tolist()[0] for name in by}
        own = choices.loc[(choices[by] == list(factors.values())).all(axis="columns"), :]
        curve = label({name: factors[name] for name in by if name not in ("dataset", "energy")})
        names = {"label": label(factors), "curve": curve, "factors": factors}
        tables.append(names | lambda_table(group, own, gauged=gauged))
    return tables


def lambda_table(group: pd.DataFrame, choices: pd.DataFrame, *, gauged: bool) -> dict[str, Any]:
    """Return the rows and the choice of one group; see `lambda_tables`."""
    lams = sorted(group["lam"].unique().tolist())
    cells = {lam: group.loc[group["lam"] == lam, :] for lam in lams}
    tests = {row["lam"]: row for row in choices.to_dict("records")}
    rows = [
        lambda_row(lam, cell, cells.get(0.0), gauged=gauged) | {"validation": test_row(tests[lam])}
        for lam, cell in cells.items()
    ]
    return {"rows": rows, "choice": choice(rows)}


def lambda_row(
    lam: float, cell: pd.DataFrame, reference: pd.DataFrame | None, *, gauged: bool
) -> dict[str, Any]:
    """Return the numbers of one lambda, against the runs at lambda = 0 where there are any."""

    def against(column: str, compare: Callable[[pd.Series, pd.Series], dict]) -> dict[str, Any]:
        if lam == 0:
            return absent(REFERENCE)
        if reference is None:
            return absent("no \u03bb = 0 in this study")
        return compare(by_seed(cell, column), by_seed(reference, column))

    row = {
        "lam": lam,
        "planned": len(cell),
        "statuses": status_counts(cell),
        "energy": mean(by_seed(cell, "energy_value")),
        "energy_percent": against("energy_value", percent_of),
        "fold_reduction": against("energy_value", fold_reduction),
        "test_accuracy": mean(by_seed(cell, "test_accuracy")),
        "accuracy_change_pp": against("test_accuracy", change_pp),
        "zero_fraction": mean(by_seed(cell, "zero_fraction")),
        "silent_fraction": mean(by_seed(cell, "silent_fraction")),
    }
    if gauged:
        row["energy_gauge_fixed"] = mean(by_seed(cell, "energy_gauge_fixed"))
        row["gauge_fixed_percent"] = against("energy_gauge_fixed", percent_of)
    return row


def by_seed(cell: pd.DataFrame, column: str) -> pd.Series:
    """Return a metric of the cell's `ok` runs that have it, indexed by seed, in seed order."""
    values = cell.loc[cell["status"] == "ok"].set_index("seed")[column]
    return values.dropna().sort_index()


def mean(values: pd.Series) -> dict[str, Any]:
    """Return the mean with its 95 % t interval."""
    return interval(mean_interval(values.to_numpy()))


def change_pp(treatment: pd.Series, reference: pd.Series) -> dict[str, Any]:
    """Return the paired mean difference of two fractions, in percentage points."""
    return interval(paired_difference(100 * treatment, 100 * reference))


def percent_of(treatment: pd.Series, reference: pd.Series) -> dict[str, Any]:
    """Return 100 times the paired geometric mean ratio."""
    return ratio(100 * treatment, reference)


def fold_reduction(treatment: pd.Series, reference: pd.Series) -> dict[str, Any]:
    """Return the paired geometric mean of reference / treatment."""
    return ratio(reference, treatment)


def ratio(numerator: pd.Series, denominator: pd.Series) -> dict[str, Any]:
    """Return a paired ratio, or why there is none: a zero has no logarithm."""
    if (numerator <= 0).any() or (denominator <= 0).any():
        return absent("energy is 0 in some runs")
    return interval(paired_ratio(numerator, denominator))


def interval(value: Interval) -> dict[str, Any]:
    """Return an interval as JSON: NaN becomes null, and `reason` says why an estimate is null."""
    ends = {name: getattr(value, name) for name in ("estimate", "low", "high")}
    return {
        "n": value.n,
        **{name: end if math.isfinite(end) else None for name, end in ends.items()},
        "reason": None if value.n else "no run to measure",
    }


def absent(reason: str) -> dict[str, Any]:
    """Return the JSON of an estimate that does not exist."""
    return {"n": 0, "estimate": None, "low": None, "high": None, "reason": reason}


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
    names = ("energy_percent", "fold_reduction", "test_accuracy", "accuracy_change_pp")
    for row in rows:
        if row["validation"]["selected"]:
            return {"lam": row["lam"], "reason": "", **{name: row[name] for name in names}}
    reason = rows[0]["validation"]["reason"]
    return {"lam": None, "reason": reason, **{name: absent(reason) for name in names}}


def label(factors: dict[str, Any]) -> str:
    """Return how a group is named: its data set, model and energy, then `factor = level`."""
    return " \u00b7 ".join(
        str(level) if name in GROUP else f"{name} = {level:g}" for name, level in factors.items()
    )
