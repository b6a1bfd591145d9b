"""What the networks of a study spend until they reach a target, as their histories tell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from minaction.data.sources import source_of
from minaction.report.efficiency import CONVENTIONAL, SHARE, UNITS, Run, run_of, validated
from minaction.report.frame import grouping
from minaction.report.lambda_table import label
from minaction.stats.costs import Costs, cost_to_target, median_interval, survival_band
from minaction.study.gauge_fields import finite_number
from minaction.study.journal import Record


def target_costs(frame: pd.DataFrame, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the cost to target of each data set's networks at lambda = 0.

    Target: 95 % of the highest mean final validation accuracy that a conventional network has.
    Cost: what a run had spent at its first validation at or above it; runs that never get there are
    censored. Several energies are measured on the same networks at lambda = 0: the first one's
    runs count.

    Args:
        frame: From `run_frame`.
        records: The records behind it, for the histories.

    Returns:
        One entry per data set whose histories say what had been spent: `modality`, `dataset`,
        `target` (`curve`, `accuracy`, `n`, `value`; None where no conventional network has been
        trained without a failure) and `arms`, one per network: `curve`, `n`, `censored`
        and by unit, None where it was not recorded, `median`, an interval, and `band`, the share of
        runs that have reached the target (`cost`, `estimate`, `low`, `high`, and `end`, the most
        any run spent).
    """
    found = {record.run_id: record for record in records if tells_costs(record)}
    by = [name for name in grouping(frame) if name not in ("dataset", "energy")]
    first = frame["energy"] == (frame["energy"].iloc[0] if len(frame) else None)
    rows = frame.loc[(frame["lam"] == 0) & first & frame["run_id"].isin(found), :]
    entries = []
    for dataset, group in rows.groupby("dataset", sort=False):
        arms: dict[str, list[Run]] = {}
        for row in group.to_dict("records"):
            config = {str(name): value for name, value in row.items()}
            name = label({factor: config[factor] for factor in by})
            arms.setdefault(name, []).append(run_of(planned(found[row["run_id"]], config)))
        if any(validated("steps", of) for of in arms.values()):
            entries.append(of_dataset(str(dataset), arms))
    return entries


def tells_costs(record: Record) -> bool:
    """Return whether each validation of a run says what had been spent by then."""
    entries = [
        entry
        for entry in record.history
        if isinstance(entry, dict) and entry.get("val_accuracy") is not None
    ]
    return all(finite_number(entry["val_accuracy"]) is not None for entry in entries) and all(
        rising([finite_number(entry.get(name)) for entry in entries])
        for name in ("step", "train_seconds")
    )


def rising(values: Sequence[float | None]) -> bool:
    """Return whether values are numbers, each larger than the one before, all above 0."""
    numbers = [value for value in values if value is not None]
    pairs = itertools.pairwise([0.0, *numbers])
    return len(numbers) == len(values) and all(before < after for before, after in pairs)


def planned(record: Record, config: dict[str, Any]) -> Record:
    """Return a record as the design has it, with the numbers of its metrics that costs need."""
    metrics = record.metrics or {}
    per_step = finite_number(metrics.get("train_macs_per_step"))
    return replace(
        record,
        config=config,
        metrics={
            "val_accuracy": finite_number(metrics.get("val_accuracy")),
            "train_macs_per_step": per_step if per_step and per_step > 0 else None,
        },
    )


def of_dataset(dataset: str, arms: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Return one data set's target and what each of its networks spent; see `target_costs`."""
    target = target_of(arms)
    return {
        "modality": source_of(dataset).modality,
        "dataset": dataset,
        "target": target,
        "arms": [arm(curve, runs, target["value"]) for curve, runs in arms.items()]
        if target
        else [],
    }


def target_of(arms: Mapping[str, Sequence[Run]]) -> dict[str, Any] | None:
    """Return the target and the network that sets it; one of which a run failed sets none."""
    means = {
        curve: float(np.mean([run.accuracy for run in runs]))
        for curve, runs in arms.items()
        if runs[0].model in CONVENTIONAL
    }
    means = {curve: accuracy for curve, accuracy in means.items() if math.isfinite(accuracy)}
    if not means:
        return None
    best = max(means, key=lambda curve: means[curve])
    return {
        "curve": best,
        "accuracy": means[best],
        "n": len(arms[best]),
        "value": SHARE * means[best],
    }


def arm(curve: str, runs: Sequence[Run], target: float) -> dict[str, Any]:
    """Return what the runs of one network spent until the target, in each unit."""
    costs = {
        unit: cost_to_target([run.curves[unit] for run in runs], target)
        for unit in UNITS
        if validated(unit, runs)
    }
    reached = max((found.n - found.censored for found in costs.values()), default=0)
    return {
        "curve": curve,
        "n": len(runs),
        "censored": len(runs) - reached,
        **{unit: in_unit(costs[unit]) if unit in costs else None for unit in UNITS},
    }


def in_unit(costs: Costs) -> dict[str, Any]:
    """Return the median of costs with its interval, and the share that has reached the target."""
    median, band = median_interval(costs), survival_band(costs)

    def numbers(values: Sequence[float]) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in values]

    return {
        "median": {
            "n": median.n,
            **dict(
                zip(
                    ("estimate", "low", "high"),
                    numbers((median.estimate, median.low, median.high)),
                    strict=True,
                )
            ),
        },
        "band": {
            "cost": band["cost"].tolist(),
            "estimate": (1 - band["share"]).tolist(),
            "low": numbers((1 - band["high"]).tolist()),
            "high": numbers((1 - band["low"]).tolist()),
            "end": float(costs.cost.max()),
        },
    }
