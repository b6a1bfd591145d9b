"""Cliff's delta: how often a value of one sample exceeds one of another, with an interval."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from minaction.errors import InputError
from minaction.stats.equivalence import Sample
from minaction.stats.intervals import Interval
from minaction.stats.validation import check_confidence, finite_sample


def cliffs_delta(treatment: Sample, reference: Sample, *, confidence: float = 0.95) -> Interval:
    """Return Cliff's delta, P(treatment > reference) - P(treatment < reference), with an interval.

    The asymmetric interval of Feng and Cliff from the consistent variance of delta and the t
    quantile of n + m - 2 degrees of freedom. Where the samples do not overlap that variance is 0:
    delta is ±1, an end as well, and the other is ±(k - t²) / (k + t²), k the smaller of n and m.
    The unbiased variance is not used: it can be negative, and its interval covers too little at
    large delta (simulated, 10 values each, delta 0.84: 92 %; with the consistent one 98 %).

    Args:
        treatment: Shape [n], any unit; independent of the reference.
        reference: Shape [m], same unit.
        confidence: Coverage, between 0 and 1.

    Returns:
        Delta from -1 to 1, without a unit, and the same under any monotone change of the unit; `n`
        is the number of values in both samples together.

    Raises:
        InputError: A sample has fewer than 2 values or one that is not finite, or all are equal.

    Reference: Cliff (1993), Dominance statistics, Psychological Bulletin 114(3); Cliff (1996),
        Ordinal Methods for Behavioral Data Analysis; Feng and Cliff (2004), Monte Carlo evaluation
        of ordinal d with improved confidence interval, J Modern Applied Statistical Methods 3(2).
    """
    check_confidence(confidence)
    first = finite_sample("treatment", treatment, 2)
    second = finite_sample("reference", reference, 2)
    if min(first.min(), second.min()) == max(first.max(), second.max()):
        raise InputError("values: all are equal; there is no order to compare")
    rows, ties = dominance(first, second)
    columns, _ = dominance(second, first)
    delta, n = float(rows.mean()), first.size + second.size
    quantile = float(special.stdtrit(n - 2, 0.5 + confidence / 2))
    if abs(delta) == 1:
        smaller = min(first.size, second.size)
        other = delta * (smaller - quantile**2) / (smaller + quantile**2)
        low, high = sorted((delta, other))
    else:
        low, high = asymmetric(delta, quantile**2 * variance(rows, columns, ties))
    return Interval(n=n, estimate=delta, low=low, high=high)


def dominance(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, int]:
    """Return, for each value of the first, the mean sign of it minus the second's; and the ties."""
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    upto = np.searchsorted(ordered, first, side="right")
    return (below + upto - second.size) / second.size, int((upto - below).sum())


def variance(rows: np.ndarray, columns: np.ndarray, ties: int) -> float:
    """Return the consistent variance of delta: ((m - 1) s_i² + (n - 1) s_j² + s_ij²) / (n m).

    s_i² and s_j² are the variances of the mean signs by row and column, s_ij² that of single signs
    with divisor (n - 1) (m - 1) (Cliff 1996).

    Args:
        rows: Mean signs of the first sample's values, shape [n].
        columns: Of the second's, shape [m].
        ties: Number of equal pairs.
    """
    n, m = rows.size, columns.size
    single = (n * m - ties - n * m * rows.mean() ** 2) / ((n - 1) * (m - 1))
    return float(((m - 1) * rows.var(ddof=1) + (n - 1) * columns.var(ddof=1) + single) / (n * m))


def asymmetric(delta: float, reach: float) -> tuple[float, float]:
    """Return Feng and Cliff's interval, `reach` being the squared half width of the plain one."""
    centre = delta - delta**3
    half = math.sqrt(reach * ((1 - delta**2) ** 2 + reach))
    below = 1 - delta**2 + reach
    return (centre - half) / below, (centre + half) / below
