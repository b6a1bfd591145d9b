"""Percentile bootstrap intervals of medians of repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 4000


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median; the same for the same values.

    Args:
        values: Independent measurements, at least one.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    draws = np.random.default_rng(0).choice(values, size=(DRAWS, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)
