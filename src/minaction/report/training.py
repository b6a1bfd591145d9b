"""Training curves: how task loss, energy, accuracy and lambda moved, means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from minaction.report.frame import grouping, lambda_levels
from minaction.report.lambda_table import label
from minaction.study.gauge_fields import finite_number
from minaction.study.journal import Record

QUANTITIES = ("train_loss", "train_energy", "val_accuracy", "lam")
"""Entries of a history that are drawn: task loss and trained energy over the training batches since
the entry before, validation accuracy, and the lambda in force."""

DIGITS = 6
"""Significant digits kept: curves are to be looked at, and there are many points."""

MOST = 60
"""Points of a curve: of more entries than that, as many are taken, evenly spread."""

Points = dict[str, list[float | None]]


def training_curves(frame: pd.DataFrame, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the training curves of each lambda table's networks.

    Runs that are `ok` count. Points are means over those seeds that have an entry at the step, with
    95 % t intervals of the mean where there are two or more; of many entries, `MOST` are points.

    Args:
        frame: From `run_frame`.
        records: The records behind it, for the histories.

    Returns:
        One entry per group of runs that differ in lambda and seed only, in the order of the lambda
        tables: `label`; `unit`, what the curves run over, `step` or `epoch`; `curves`, a list per
        quantity of those recorded: `lam` and `at`, `n`, `estimate`, `low` and `high`, lists of one
        length. lambda is there only where it moved.
    """
    histories = {record.run_id: record.history for record in records}
    by = grouping(frame)
    found = []
    for _, group in frame.groupby(by, sort=False):
        done = group.loc[group["status"] == "ok", ["run_id", "lam"]]
        cells = {
            lam: [histories[run] for run in done.loc[done["lam"] == lam, "run_id"]]
            for lam in lambda_levels(done)
        }
        unit = unit_of([history for cell in cells.values() for history in cell])
        curves = {quantity: curves_of(cells, unit, quantity) for quantity in QUANTITIES}
        if not any(moved(curve) for curve in curves["lam"]):
            curves["lam"] = []
        named = {name: group[name].tolist()[0] for name in by}
        found.append({"label": label(named), "unit": unit, "curves": curves})
    return found


def unit_of(histories: Sequence[Sequence[Any]]) -> str:
    """Return `step` where every entry has one, else `epoch`."""
    return "step" if all("step" in e for h in histories for e in entries(h)) else "epoch"


def entries(history: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return the entries of a history that are objects, as all are that the program wrote."""
    return [entry for entry in history if isinstance(entry, dict)]


def curves_of(
    cells: Mapping[float | str, Sequence[Sequence[Any]]], unit: str, quantity: str
) -> list[dict[str, Any]]:
    """Return one quantity's curve for each lambda whose histories have it."""
    curves = ({"lam": lam, **mean_curve(runs, unit, quantity)} for lam, runs in cells.items())
    return [curve for curve in curves if curve["at"]]


def mean_curve(histories: Sequence[Sequence[Any]], unit: str, quantity: str) -> Points:
    """Return means over runs at each place, with their t intervals."""
    values: dict[float, list[float]] = {}
    for history in histories:
        for entry in entries(history):
            at, value = finite_number(entry.get(unit)), finite_number(entry.get(quantity))
            if at is not None and value is not None:
                values.setdefault(at, []).append(value)
    places = spread(sorted(values))
    n = np.array([len(values[place]) for place in places])
    mean, half = (np.empty(len(places)) for _ in range(2))
    with np.errstate(over="ignore", invalid="ignore"):  # the largest numbers have no mean: null
        for index, place in enumerate(places):
            sample = np.array(values[place])
            mean[index] = sample.mean()
            half[index] = sample.std(ddof=1) / np.sqrt(sample.size) if sample.size > 1 else np.nan
        half *= special.stdtrit(np.maximum(n - 1, 1), 0.975)
        ends = {"estimate": mean, "low": mean - half, "high": mean + half}
    return {
        "at": list(places),
        "n": n.tolist(),
        **{
            name: [rounded(x) if np.isfinite(x) else None for x in end.tolist()]
            for name, end in ends.items()
        },
    }


def spread(places: Sequence[float]) -> list[float]:
    """Return at most `MOST` of the places, evenly spread, the first and the last among them."""
    kept = np.linspace(0, len(places) - 1, min(len(places), MOST)).round().astype(int)
    return [places[index] for index in kept]


def rounded(value: float) -> float:
    """Return a number to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def moved(curve: Points) -> bool:
    """Return whether a quantity was not the same all the time, nor in all runs."""
    return len({*curve["estimate"], *(x for x in curve["low"] if x is not None)}) > 1
