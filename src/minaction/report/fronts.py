"""Pareto fronts of accuracy and energy, per data set: which configurations, and how surely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from minaction.data.sources import source_of
from minaction.report.frame import grouping
from minaction.report.lambda_table import label
from minaction.stats.pareto_membership import ParetoBootstrap, pareto_bootstrap

RESAMPLES = 2_000
"""Of the bootstrap; a membership of one half is then known to 2 percentage points."""

SEED = 0
"""Of the bootstrap."""

KINDS = {"energy_value": "raw", "energy_gauge_fixed": "gauge-fixed"}
"""Columns of a run frame that are costs, and what the page calls them."""


def pareto_fronts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the Pareto fronts of each data set and energy, the energy raw and gauge-fixed.

    A configuration is all that is not a seed; its point is the mean test accuracy and the geometric
    mean energy of its `ok` runs. Areas are in decades of energy times percentage points, measured
    from the largest energy and the lowest accuracy among the points, held fixed. Seeds are blocks
    of the bootstrap where all configurations have the same ones.

    Args:
        frame: From `run_frame`.

    Returns:
        One entry per data set, energy and kind that has two or more points: their names;
        `reference` (`energy`, `test_accuracy`); `hypervolume`, an interval; `shared_seeds`;
        `points`, each with `curve`, `lam`, `n`, `energy`, `test_accuracy`, `on_front` and
        `membership`; `left_out`, how many configurations have fewer than two runs with a positive
        energy.
    """
    by = [name for name in grouping(frame) if name not in ("dataset", "energy")]
    done = frame.loc[frame["status"] == "ok", :]
    return [
        {
            "modality": source_of(str(dataset)).modality,
            "dataset": dataset,
            "energy": energy,
            "kind": kind,
            **found,
        }
        for (dataset, energy), group in done.groupby(["dataset", "energy"], sort=False)
        for column, kind in KINDS.items()
        for found in front(group, [*by, "lam"], column)
    ]


def front(group: pd.DataFrame, by: list[str], column: str) -> Iterator[dict[str, Any]]:
    """Yield the front of one data set in one kind of energy; nothing where there are no two."""
    runs = group.loc[(group[column] > 0) & group["test_accuracy"].notna(), [*by, "seed"]].copy()
    runs["decades"] = np.log10(group.loc[runs.index, column])
    runs["percent"] = 100 * group.loc[runs.index, "test_accuracy"]
    sizes = runs.groupby(by, sort=False)["seed"].transform("size")
    runs = runs.loc[sizes > 1, :]
    kept, all_of = runs.groupby(by).ngroups, group.groupby(by).ngroups
    if kept < 2:
        return
    seeds = [frozenset(one) for _, one in runs.groupby(by)["seed"]]
    shared = len(set(seeds)) == 1
    means = runs.groupby(by)[["decades", "percent"]].mean()
    found = pareto_bootstrap(
        runs,
        by=by,
        cost="decades",
        accuracy="percent",
        reference=(float(means["decades"].max()), float(means["percent"].min())),
        generator=np.random.default_rng(SEED),
        seed="seed" if shared else None,
        resamples=RESAMPLES,
    )
    yield {
        "shared_seeds": shared,
        "left_out": all_of - kept,
        "reference": point(found.reference[0], found.reference[1]),
        "hypervolume": {
            "n": found.hypervolume.n,
            "estimate": found.hypervolume.estimate,
            "low": found.hypervolume.low,
            "high": found.hypervolume.high,
        },
        "points": points(found, by),
    }


def points(found: ParetoBootstrap, by: list[str]) -> list[dict[str, Any]]:
    """Return the configurations of a front, in the order of the design."""
    factors = [name for name in by if name != "lam"]
    return [
        {
            "curve": label({name: row[name] for name in factors}),
            "lam": row["lam"],
            "n": row["n"],
            **point(row["cost"], row["accuracy"]),
            "on_front": row["on_front"],
            "membership": row["membership"],
        }
        for row in found.table.to_dict("records")
    ]


def point(decades: float, percent: float) -> dict[str, float]:
    """Return a point in the units of the page: an energy, and an accuracy as a fraction."""
    return {"energy": 10.0**decades, "test_accuracy": percent / 100}
