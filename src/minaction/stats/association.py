"""How well one quantity tells another: rank correlation and explained variance, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minaction.errors import InputError
from minaction.stats.bootstrap import check_draws, percentiles
from minaction.stats.intervals import Interval
from minaction.stats.validation import check_confidence, finite_array

ROUNDING = 1e-24
"""Share of a sum of squares below which a spread is rounding."""
WITHOUT_SPREAD = 0.05
"""Share of resamples without spread from which on there is no interval."""
FREEDOM = 4
"""Clusters in excess of the strata they are drawn in, below which there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Association:
    """How well x tells y.

    Attributes:
        spearman: Spearman's rank correlation, from -1 to 1.
        r_squared: The squared correlation of the values: the share of the variance of y that a
            straight line in x explains.
    """

    spearman: Interval
    r_squared: Interval


def associations(
    x: np.ndarray,
    y: np.ndarray,
    *,
    strata: Sequence[object],
    clusters: Sequence[object] | None = None,
    generator: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> list[Association]:
    """Return how well each column of x tells y, with stratified bootstrap intervals.

    Spearman's rho is the correlation of ranks, ties at their mean rank. The intervals are
    percentile ones; clusters of rows are resampled whole within each stratum, the same draws for
    all columns (strata of a single cluster: see `drawn_weights`). Of a relation that is a power law
    give logarithms: ranks stay what they are, and R squared becomes that of the power law. The
    interval of R squared cannot hold 0, and where there is no relation its estimate is about
    1 / (n - 1).

    Args:
        x: Float `[n, columns]`.
        y: Float `[n]`.
        strata: The stratum of each row.
        clusters: The cluster of each row, such as repetitions of one case; default: each its own.
        generator: Source of the resampling; the same state gives the same intervals.
        resamples: Number of resamples.
        confidence: Coverage, between 0 and 1.

    Returns:
        One a column. An estimate is NaN where x or y is constant. Resamples in which it is so are
        left out; where they are more than 5 % the ends are NaN, and also where clusters are fewer
        than 4 in excess of the strata they are drawn in (five of one stratum): of so few a handful
        of resamples is all there is.

    Raises:
        InputError: The lengths differ, there are fewer than 3 rows, a value is not finite, there is
            no generator or resample, or the confidence is not between 0 and 1.

    Reference: Spearman (1904), The proof and measurement of association between two things; Efron
        and Tibshirani (1993), An Introduction to the Bootstrap, section 13; Davison and Hinkley
        (1997), Bootstrap Methods and their Application, section 3.8 (clusters).
    """
    columns, response = finite_array("x", x, 2), finite_array("y", y, 1)
    members = range(len(response)) if clusters is None else clusters
    lengths = len(columns), len(response), len(strata), len(members)
    if len(set(lengths)) > 1:
        raise InputError(
            f"x, y, strata and clusters: expected one length, got {', '.join(map(str, lengths))}"
        )
    if len(response) < 3:
        raise InputError(f"y: expected 3 or more rows, got {len(response)}")
    check_draws(generator, resamples)
    check_confidence(confidence)
    n = len(response)
    # the first row is the sample itself
    weights = np.vstack([np.ones(n), drawn_weights(strata, members, generator, resamples)])
    if sum(len(pool) - 1 for pool in _drawn_together(strata, members)) < FREEDOM:
        weights = weights[:1]
    ranks = midranks(response, weights)
    found = []
    for column in columns.T:
        rho = correlation(weights, midranks(column, weights), ranks)
        straight = correlation(weights, column, response)
        found.append(
            Association(
                spearman=_interval(n, rho, confidence),
                r_squared=_interval(n, straight**2, confidence),
            )
        )
    return found


def drawn_weights(
    strata: Sequence[object],
    clusters: Sequence[object],
    generator: np.random.Generator,
    resamples: int,
) -> np.ndarray:
    """Return how often each row is drawn with its cluster, float `[resamples, n]`.

    Strata of a single cluster are drawn from as one stratum, with the smallest of the others where
    there is but one of them: on its own it would be the same in every resample, and the interval
    would not know that another cluster could be in its place.
    """
    weights = np.zeros((resamples, len(strata)))
    for members in _drawn_together(strata, clusters):
        picks = generator.integers(0, len(members), (resamples, len(members)))
        for number, of_cluster in enumerate(members):
            weights[:, of_cluster] = (picks == number).sum(1)[:, None]
    return weights


def _drawn_together(strata: Sequence[object], clusters: Sequence[object]) -> list[list[list[int]]]:
    """Return the rows of each cluster, by what they are drawn among."""
    rows: dict[object, dict[object, list[int]]] = {}
    for row, (stratum, cluster) in enumerate(zip(strata, clusters, strict=True)):
        rows.setdefault(stratum, {}).setdefault(cluster, []).append(row)
    pools = [list(members.values()) for members in rows.values()]
    several = [pool for pool in pools if len(pool) > 1]
    single = [pool[0] for pool in pools if len(pool) == 1]
    if len(single) == 1 and several:
        min(several, key=len).extend(single)
    elif single:
        several.append(single)
    return several


def midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ranks of values in samples that hold each so many times, ties at their mean.

    Args:
        values: Float `[n]`.
        weights: How often each value is there, `[samples, n]`.

    Returns:
        Float `[samples, n]`; that of a value that is not there lies between its neighbours'.
    """
    order = np.argsort(values, kind="stable")
    first = np.append(True, np.diff(values[order]) != 0)
    tied = np.add.reduceat(weights[:, order], np.flatnonzero(first), axis=1)
    middle = np.cumsum(tied, axis=1) - (tied - 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, np.cumsum(first) - 1]
    return ranks


def correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the correlation in samples that hold each row so many times, `[samples]`.

    NaN where one of the two is constant, up to rounding.

    Args:
        weights: How often each row is there, `[samples, n]`.
        x: Float `[n]`, or `[samples, n]` where it differs between samples.
        y: As x.
    """
    (a, spread_a), (b, spread_b) = (_centred(weights, one) for one in (x, y))
    scale = np.sqrt(spread_a * spread_b)
    return np.clip((weights * a * b).sum(1) / scale, -1.0, 1.0)


def _centred(weights: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values less their means, and the sum of their squares; NaN where they are constant."""
    total = weights.sum(1, keepdims=True)
    centred = values - (weights * values).sum(1, keepdims=True) / total
    spread = (weights * centred**2).sum(1)
    constant = spread <= ROUNDING * (weights * values**2).sum(1)
    return centred, np.where(constant, math.nan, spread)


def _interval(n: int, values: np.ndarray, confidence: float) -> Interval:
    drawn = values[1:][np.isfinite(values[1:])]
    low = high = math.nan
    if len(drawn) and len(drawn) >= (1 - WITHOUT_SPREAD) * (len(values) - 1):
        low, high = percentiles(drawn, confidence)
    return Interval(n=n, estimate=float(values[0]), low=float(low), high=float(high))
