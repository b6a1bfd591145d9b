"""Equivalence (TOST) and non-inferiority: "no loss" is shown, never read off a large p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from minaction.errors import InputError
from minaction.stats.intervals import paired_values
from minaction.stats.mean_difference import MeanDifference
from minaction.stats.validation import check_level, finite_sample

Sample = Sequence[float] | np.ndarray | pd.Series
"""Values of one arm, shape [n]; a Series is indexed by seed."""


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests of treatment - reference against -margin and +margin.

    Attributes:
        n: Number of pairs, or of values in both samples together.
        difference: Difference of the means, treatment - reference.
        low: Lower end of the 1 - 2 alpha interval of the difference.
        high: Its upper end.
        df: Degrees of freedom of both tests.
        t_lower: Statistic of the test against -margin.
        t_upper: Statistic of the test against +margin.
        p_lower: p of H0: difference <= -margin.
        p_upper: p of H0: difference >= +margin.
        p: The larger of the two, which is the p-value of the test of equivalence.
        equivalent: Whether p < alpha; the same as the interval lying within the margins.
    """

    n: int
    difference: float
    low: float
    high: float
    df: float
    t_lower: float
    t_upper: float
    p_lower: float
    p_upper: float
    p: float
    equivalent: bool


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """A one-sided test of treatment - reference against -margin.

    Attributes:
        n: Number of pairs, or of values in both samples together.
        difference: Difference of the means, treatment - reference.
        lower: Lower 1 - alpha bound of the difference.
        df: Degrees of freedom.
        t: Statistic of the test.
        p: p of H0: difference <= -margin.
        non_inferior: Whether p < alpha; the same as `lower` lying above -margin.
    """

    n: int
    difference: float
    lower: float
    df: float
    t: float
    p: float
    non_inferior: bool


def equivalence_test(
    treatment: Sample, reference: Sample, *, margin: float, paired: bool, alpha: float = 0.05
) -> Equivalence:
    """Test whether two means differ by less than a margin: two one-sided t tests (TOST).

    Equivalent where both H0: difference <= -margin and H0: difference >= margin are rejected at
    alpha, which is where the 1 - 2 alpha interval of the difference lies within (-margin, margin).
    Paired: t tests of the differences, n - 1 degrees of freedom. Not paired: Welch's t tests.

    Args:
        treatment: Shape [n], any unit.
        reference: Shape [m], same unit; where paired n = m, value by value. Two Series are paired
            by their index, the seed, and seeds that only one of them has are left out.
        margin: Positive, same unit: the largest difference that counts as none. Fixed beforehand.
        paired: Whether values share a seed.
        alpha: Level of the test.

    Raises:
        InputError: A sample has fewer than 2 values or one that is not finite, pairs do not match,
            the values have no spread, or margin or alpha is out of range.

    Reference: Schuirmann (1987), A comparison of the two one-sided tests procedure and the power
        approach, J Pharmacokinet Biopharm 15(6); Lakens (2017), Equivalence tests, Social
        Psychological and Personality Science 8(4).
    """
    check_margin(margin)
    check_level(alpha)
    n, difference = mean_difference(treatment, reference, paired)
    p_lower, p_upper = difference.p_above(-margin), difference.p_below(margin)
    return Equivalence(
        n=n,
        difference=difference.estimate,
        low=difference.lower(alpha),
        high=difference.upper(alpha),
        df=difference.df,
        t_lower=difference.t(-margin),
        t_upper=difference.t(margin),
        p_lower=p_lower,
        p_upper=p_upper,
        p=max(p_lower, p_upper),
        equivalent=max(p_lower, p_upper) < alpha,
    )


def noninferiority_test(
    treatment: Sample, reference: Sample, *, margin: float, paired: bool, alpha: float = 0.05
) -> NonInferiority:
    """Test whether a mean falls behind another's by less than a margin; higher values are better.

    Non-inferior where H0: difference <= -margin is rejected by a one-sided t test, which is where
    the lower 1 - alpha bound of the difference lies above -margin. Of what should be low, such as
    a loss, give the negative values.

    Args:
        treatment: Shape [n], any unit.
        reference: Shape [m], same unit; paired as in `equivalence_test`.
        margin: Positive, same unit: the largest loss that counts as none. Fixed beforehand.
        paired: Whether values share a seed.
        alpha: Level of the test.

    Raises:
        InputError: As `equivalence_test`.

    Reference: Blackwelder (1982), "Proving the null hypothesis" in clinical trials, Controlled
        Clinical Trials 3(4); Walker and Nowacki (2011), J Gen Intern Med 26(2).
    """
    check_margin(margin)
    check_level(alpha)
    n, difference = mean_difference(treatment, reference, paired)
    p = difference.p_above(-margin)
    return NonInferiority(
        n=n,
        difference=difference.estimate,
        lower=difference.lower(alpha),
        df=difference.df,
        t=difference.t(-margin),
        p=p,
        non_inferior=p < alpha,
    )


def check_margin(margin: float) -> None:
    """Raise InputError unless a margin is positive and finite."""
    if not 0 < margin < np.inf:
        raise InputError(f"margin: expected a positive, finite number, got {margin}")


def mean_difference(
    treatment: Sample, reference: Sample, paired: bool
) -> tuple[int, MeanDifference]:
    """Return the number of values or pairs, and the difference of the means."""
    if paired:
        differences = differences_of(treatment, reference)
        n, found = differences.size, MeanDifference.paired(differences)
    else:
        first = finite_sample("treatment", treatment, 2)
        second = finite_sample("reference", reference, 2)
        n, found = first.size + second.size, MeanDifference.welch(first, second)
    if found.standard_error == 0:
        raise InputError(
            f"values: all {'differences' if paired else 'values of each sample'} are equal; a t "
            "test needs spread"
        )
    return n, found


def differences_of(treatment: Sample, reference: Sample) -> np.ndarray:
    """Return treatment - reference of 2 or more pairs: by index of two Series, else by position.

    Raises:
        InputError: The lengths differ, an index repeats, or a sample cannot be used.
    """
    if isinstance(treatment, pd.Series) and isinstance(reference, pd.Series):
        finite_sample("treatment", treatment, 2)
        finite_sample("reference", reference, 2)
        return finite_sample("pairs", paired_values(treatment, reference), 2)
    first = finite_sample("treatment", treatment, 2)
    second = finite_sample("reference", reference, 2)
    if first.size != second.size:
        raise InputError(
            f"treatment: expected {second.size} values as in the reference, got {first.size}; "
            "only pairs can be compared"
        )
    return first - second
