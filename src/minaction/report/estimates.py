"""Estimates as JSON: an interval, a spread, or the reason why there is none."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from minaction.stats.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    paired_ratio,
    proportion_interval,
    ratio_of_means,
)

Estimate = dict[str, Any]
"""`n`, `estimate`, `low`, `high` and `reason`; null where there is no number."""

NO_RUN = "no run to measure"
ZERO_ENERGY = "energy is 0 in some runs"

Pair = tuple[pd.Series, pd.Series]
"""Values and what they are compared with."""


def mean(values: pd.Series) -> Estimate:
    """Return the mean with its 95 % t interval."""
    return interval(mean_interval(values.to_numpy(dtype=np.float64)))


def proportion(values: pd.Series) -> Estimate:
    """Return the mean of fractions with its 95 % t interval on the logit scale."""
    return interval(proportion_interval(values.to_numpy(dtype=np.float64)))


def change_pp(treatment: pd.Series, reference: pd.Series) -> Estimate:
    """Return the paired mean difference of two fractions, in percentage points."""
    return interval(paired_difference(100 * treatment, 100 * reference))


def percent_of(treatment: pd.Series, reference: pd.Series) -> Estimate:
    """Return 100 times the paired geometric mean ratio."""
    return ratio(100 * treatment, reference)


def fold_reduction(treatment: pd.Series, reference: pd.Series) -> Estimate:
    """Return the paired geometric mean of reference / treatment."""
    return ratio(reference, treatment)


def ratio(numerator: pd.Series, denominator: pd.Series) -> Estimate:
    """Return a paired ratio, or why there is none: a zero has no logarithm."""
    if any((series.to_numpy(np.float64) <= 0).any() for series in (numerator, denominator)):
        return absent(ZERO_ENERGY)
    return interval(paired_ratio(numerator, denominator))


def rescaling_percent(raw: Pair, gauge_fixed: Pair) -> Estimate:
    """Return how much of a fall of the raw energy gauge fixing removes, in percent.

    100 (1 - mean log(gauge-fixed ratio) / mean log(raw ratio)) with its Fieller interval, ratios
    paired by seed: 100 where the fall was nothing but rescaling, 0 where all of it is left, below 0
    where the gauge-fixed energy fell further than the raw one.

    Args:
        raw: Raw energies and those they are compared with, each indexed by seed.
        gauge_fixed: The same of the gauge-fixed energy; seeds that not all four have are left out.
    """
    four = (*raw, *gauge_fixed)
    seeds = reduce(np.intersect1d, [one.index.to_numpy() for one in four])
    if not len(seeds):
        return absent(NO_RUN)
    values = [one.to_numpy(np.float64)[one.index.get_indexer(seeds)] for one in four]
    if not all((one > 0).all() for one in values):
        return absent(ZERO_ENERGY)
    logs = np.log(values)
    fall, left = logs[0] - logs[1], logs[2] - logs[3]
    if fall.mean() >= 0:
        return absent("the raw energy did not fall")
    return interval(ratio_of_means(100 * (fall - left), fall))


def spread(values: pd.Series) -> Estimate:
    """Return the median with the smallest and the largest value as `low` and `high`."""
    if not len(values):
        return absent(NO_RUN)
    ends = {"estimate": values.median(), "low": values.min(), "high": values.max()}
    return {"n": len(values), **{name: float(end) for name, end in ends.items()}, "reason": None}


def interval(value: Interval) -> Estimate:
    """Return an interval as JSON: NaN becomes null, and `reason` says why an estimate is null."""
    ends = {name: getattr(value, name) for name in ("estimate", "low", "high")}
    return {
        "n": value.n,
        **{name: end if math.isfinite(end) else None for name, end in ends.items()},
        "reason": None if value.n else NO_RUN,
    }


def absent(reason: str) -> Estimate:
    """Return the JSON of an estimate that does not exist."""
    return {"n": 0, "estimate": None, "low": None, "high": None, "reason": reason}
