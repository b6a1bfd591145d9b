"""Estimates with t intervals: means, a paired difference, a paired ratio, a ratio of means.

The seed is a block: two cells of a study share their seeds (the same initial draw, the same order
of the data), so a cell is compared with another one seed by seed, never as two independent samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes most of a second to import

from minaction.errors import InputError
from minaction.stats.validation import check_confidence


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with a two-sided interval.

    Attributes:
        n: Number of values, or of pairs, behind the estimate.
        estimate: The point estimate; NaN where `n` is 0.
        low: Lower end; NaN where `n` is below 2, for one value has no spread.
        high: Upper end; NaN where `n` is below 2.
    """

    n: int
    estimate: float
    low: float
    high: float


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the arithmetic mean with its t interval.

    mean ± t(1 - (1 - confidence) / 2; n - 1) · s / sqrt(n), s the standard deviation with divisor
    n - 1.

    Args:
        values: Shape [n], any unit; the interval has the same unit.
        confidence: Coverage, between 0 and 1.

    Raises:
        InputError: A value is NaN or infinite, or the confidence is not between 0 and 1.

    Reference: Student (1908), The probable error of a mean, Biometrika 6(1).
    """
    check_confidence(confidence)
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        raise InputError("values: expected finite numbers; leave missing ones out and say so")
    n = int(sample.size)
    if n == 0:
        return Interval(n=0, estimate=np.nan, low=np.nan, high=np.nan)
    estimate = float(sample.mean())
    if n == 1:
        return Interval(n=1, estimate=estimate, low=np.nan, high=np.nan)
    half = float(special.stdtrit(n - 1, 0.5 + confidence / 2) * standard_error(sample))
    return Interval(n=n, estimate=estimate, low=estimate - half, high=estimate + half)


def proportion_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the arithmetic mean of proportions with its t interval on the logit scale.

    expit(logit(m) ± h / (m (1 - m))), m the mean and h the half width of `mean_interval`: the delta
    method on log odds. The interval stays within 0 and 1 and holds the mean; for a half width that
    is small against m and 1 - m it is m ± h.

    Args:
        values: Shape [n], proportions from 0 to 1, such as the accuracies of n seeds.
        confidence: Coverage, between 0 and 1.

    Raises:
        InputError: A value is not between 0 and 1, or the confidence is not.

    Reference: Korn and Graubard (1999), Analysis of Health Surveys, chapter 2 (logit intervals of
        proportions with t quantiles).
    """
    plain = mean_interval(values, confidence)
    sample = np.asarray(values, dtype=np.float64)
    if not ((sample >= 0) & (sample <= 1)).all():
        raise InputError("values: expected proportions between 0 and 1")
    mean = plain.estimate
    if plain.n < 2 or not 0 < mean < 1:
        return plain
    half = (plain.high - mean) / (mean * (1 - mean))
    low, high = special.expit(special.logit(mean) + half * np.array([-1.0, 1.0])).tolist()
    # rounding must not part the mean from an end that coincides with it
    return Interval(n=plain.n, estimate=mean, low=min(low, mean), high=max(high, mean))


def paired_difference(
    treatment: pd.Series, reference: pd.Series, confidence: float = 0.95
) -> Interval:
    """Return the mean of treatment - reference over shared seeds, with its paired t interval.

    Args:
        treatment: Values indexed by seed.
        reference: Values indexed by seed, same unit; seeds that only one of the two has are left
            out, and `n` is the number of pairs.
        confidence: Coverage, between 0 and 1.

    Raises:
        InputError: A seed occurs twice, or a value is NaN or infinite.

    Reference: Montgomery, Design and Analysis of Experiments, section 2.5 (paired comparisons).
    """
    return mean_interval(paired_values(treatment, reference), confidence)


def paired_ratio(treatment: pd.Series, reference: pd.Series, confidence: float = 0.95) -> Interval:
    """Return the geometric mean of treatment / reference over shared seeds, with its interval.

    exp of the paired t interval of log(treatment) - log(reference): energies span decades, so their
    ratios are compared on the log scale, where the interval of 1 / ratio is the inverted interval.

    Args:
        treatment: Positive values indexed by seed.
        reference: Positive values indexed by seed, same unit.
        confidence: Coverage, between 0 and 1.

    Raises:
        InputError: A value is not positive and finite, or a seed occurs twice.

    Reference: Fleming and Wallace (1986), How not to lie with statistics: the correct way to
        summarize benchmark results, Communications of the ACM 29(3).
    """
    if not all((series.to_numpy(np.float64) > 0).all() for series in (treatment, reference)):
        raise InputError("a ratio on the log scale needs positive values")
    above, below = paired(treatment, reference)
    log = mean_interval(np.log(above) - np.log(below), confidence)
    low, estimate, high = np.exp([log.low, log.estimate, log.high]).tolist()
    return Interval(n=log.n, estimate=estimate, low=low, high=high)


def ratio_of_means(
    numerator: Sequence[float] | np.ndarray,
    denominator: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Interval:
    """Return mean(numerator) / mean(denominator) of paired values with its Fieller interval.

    The interval holds every r that a two-sided paired t test of mean(numerator - r denominator) = 0
    does not reject: it is exact for normal pairs and need not be symmetric. Where the mean of the
    denominator is itself compatible with 0 no bounded interval exists and both ends are NaN.

    Args:
        numerator: Shape [n], paired with the denominator.
        denominator: Shape [n], with a mean other than 0.
        confidence: Coverage, between 0 and 1.

    Raises:
        InputError: The shapes differ, a value is NaN or infinite, the denominator's mean is 0, or
            the confidence is not between 0 and 1.

    Reference: Fieller (1954), Some problems in interval estimation, Journal of the Royal
        Statistical Society B 16(2).
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if top.shape != bottom.shape:
        raise InputError(f"numerator: expected shape {bottom.shape} as the denominator's")
    above, below = mean_interval(top, confidence), mean_interval(bottom, confidence)
    if below.n and below.estimate == 0:
        raise InputError("denominator: expected a mean other than 0")
    if below.n < 2:
        estimate = above.estimate / below.estimate
        return Interval(n=below.n, estimate=estimate, low=np.nan, high=np.nan)
    # half widths of the intervals of both means, and what their covariance is to their squares
    half_above, half_below = (one.high - one.estimate for one in (above, below))
    quantile = float(special.stdtrit(below.n - 1, 0.5 + confidence / 2))
    shared = quantile**2 * float(np.cov(top, bottom)[0, 1]) / below.n
    a = below.estimate**2 - half_below**2
    b = above.estimate * below.estimate - shared
    c = above.estimate**2 - half_above**2
    estimate, low, high = above.estimate / below.estimate, np.nan, np.nan
    if a > 0:
        reach = np.sqrt(max(b * b - a * c, 0.0))
        # the estimate lies between the ends; where they coincide rounding must not part them
        low = min(float((b - reach) / a), estimate)
        high = max(float((b + reach) / a), estimate)
    return Interval(n=below.n, estimate=estimate, low=low, high=high)


def paired_values(treatment: pd.Series, reference: pd.Series) -> np.ndarray:
    """Return treatment - reference for the seeds both have, shape [pairs], ordered by seed.

    Raises:
        InputError: A seed occurs twice in one of the two.
    """
    above, below = paired(treatment, reference)
    return above - below


def paired(treatment: pd.Series, reference: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the seeds both have, each of shape [pairs], ordered by seed.

    Raises:
        InputError: A seed occurs twice in one of the two.
    """
    for name, series in (("treatment", treatment), ("reference", reference)):
        if not series.index.is_unique:
            raise InputError(f"{name}: expected one value per seed, a seed occurs twice")
    indices = treatment.index.to_numpy(), reference.index.to_numpy()
    _, above, below = np.intersect1d(*indices, assume_unique=True, return_indices=True)
    return treatment.to_numpy(np.float64)[above], reference.to_numpy(np.float64)[below]


def standard_error(sample: np.ndarray) -> float:
    """Return s / sqrt(n) of a sample of shape [n], n >= 2, with divisor n - 1 in s."""
    return float(sample.std(ddof=1) / np.sqrt(sample.size))
