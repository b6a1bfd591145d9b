"""Cliff's delta: how often a value of one sample exceeds one of another, with an interval."""

from __future__ import annotations

import numpy as np
from scipy import special

from minaction.errors import InputError
from minaction.stats.equivalence import Sample
from minaction.stats.intervals import Interval
from minaction.stats.validation import check_confidence, finite_sample

RATIO = 5.0
"""The most by which the estimated variance may differ from the model's, either way."""
WEIGHT = 1 / 3
"""Of the estimate against the model, on the log scale."""
HALVINGS = 60
"""Of the stretch in which an end of the interval is looked for."""


def cliffs_delta(treatment: Sample, reference: Sample, *, confidence: float = 0.95) -> Interval:
    """Return Cliff's delta, P(treatment > reference) - P(treatment < reference), with an interval.

    The score interval: every d with (delta - d)² <= z² rho V(d), z the normal quantile, V(d) the
    variance of delta in the model of `model_variance`, and rho the cube root of what the variance
    estimated from the mean signs (of DeLong, or Brunner and Munzel) is of V(delta): the model is
    moved a third of the way towards the data. The model alone, rho = 1, is Newcombe's fifth method.
    Where the samples do not overlap nothing can be estimated: rho is 1, delta ±1, an end as well.

    Simulated coverage of 95 % intervals, 10 values each, delta 0 to 0.97 (12,000 samples each):
    normal, equal variances 95.3-96.8 %; standard deviations 3 : 1 93.4-95.0 %, 5 : 1 93.4-95.2 %;
    exponential 95.1-96.0 %; five ordered answers 95.3-97.6 %. With 5 values each up to 97.4 %, for
    delta then has 26 values only; with 30 each 92.4-97.4 %. Not reached: 5 values that vary three
    times as much as the 20 they are compared with, 83-93 %; delta beyond 0.99, 98 %.

    Args:
        treatment: Shape [n], any unit; independent of the reference.
        reference: Shape [m], same unit.
        confidence: Coverage, between 0 and 1.

    Returns:
        Delta from -1 to 1, without a unit, and the same under any monotone change of the unit; `n`
        is the number of values in both samples together.

    Raises:
        InputError: A sample has fewer than 2 values or one that is not finite, or all are equal.

    Reference: Cliff (1993), Dominance statistics, Psychological Bulletin 114(3); Newcombe (2006),
        Confidence intervals for an effect size measure based on the Mann-Whitney statistic, Part 2,
        Statistics in Medicine 25(4), method 5; DeLong, DeLong and Clarke-Pearson (1988),
        Biometrics 44(3).
    """
    check_confidence(confidence)
    first = finite_sample("treatment", treatment, 2)
    second = finite_sample("reference", reference, 2)
    if min(first.min(), second.min()) == max(first.max(), second.max()):
        raise InputError("values: all are equal; there is no order to compare")
    rows, columns = dominance(first, second), dominance(second, first)
    delta = float(rows.mean())
    reach = float(special.ndtri(0.5 + confidence / 2)) ** 2 * shrunk(delta, rows, columns)
    low, high = (score_end(delta, end, reach, first.size, second.size) for end in (-1.0, 1.0))
    return Interval(n=first.size + second.size, estimate=delta, low=low, high=high)


def dominance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return, for each value of the first, the mean sign of it minus the second's."""
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    upto = np.searchsorted(ordered, first, side="right")
    return (below + upto - second.size) / second.size


def model_variance(delta: float, n: int, m: int) -> float:
    """Return the variance of delta in Newcombe's model.

    V(d) = (1 - d²) (1 + (n + m - 2) (3 - d²) / (9 - d²)) / (n m): Hanley and McNeil's variance for
    exponential samples, made the same for either order of the samples.

    Args:
        delta: From -1 to 1.
        n: Values of the first sample.
        m: Values of the second.

    Reference: Hanley and McNeil (1982), The meaning and use of the area under a receiver operating
        characteristic (ROC) curve, Radiology 143(1); Newcombe (2006), as above.
    """
    square = delta**2
    return (1 - square) * (1 + (n + m - 2) * (3 - square) / (9 - square)) / (n * m)


def shrunk(delta: float, rows: np.ndarray, columns: np.ndarray) -> float:
    """Return by what the model's variance is multiplied: rho of `cliffs_delta`.

    Args:
        delta: Cliff's delta.
        rows: Mean signs of the first sample's values, shape [n].
        columns: Of the second's, shape [m].
    """
    if abs(delta) == 1:
        return 1.0
    estimated = rows.var(ddof=1) / rows.size + columns.var(ddof=1) / columns.size
    ratio = float(estimated) / model_variance(delta, rows.size, columns.size)
    return min(max(ratio, 1 / RATIO), RATIO) ** WEIGHT


def score_end(delta: float, end: float, reach: float, n: int, m: int) -> float:
    """Return the d between delta and an end of the scale where (delta - d)² = reach V(d)."""
    inside, outside = delta, end
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if (delta - middle) ** 2 <= reach * model_variance(middle, n, m):
            inside = middle
        else:
            outside = middle
    return inside if delta != end else end
