"""Partial eta squared and partial omega squared with intervals that invert the noncentral F."""

from __future__ import annotations

from typing import Literal

from scipy import special  # scipy.stats takes most of a second to import

from minaction.errors import UnknownNameError
from minaction.stats.intervals import Interval
from minaction.stats.validation import check_confidence

Convention = Literal["effectsize", "smithson", "steiger"]
CONVENTIONS = {
    "effectsize": "nc / (nc + df_error)",
    "smithson": "nc / (nc + df + df_error + 1)",
    "steiger": "nc / (nc + n)",
}
"""How a noncentrality becomes a share of the variance, by who does it so."""
BISECTIONS = 60
"""Halvings of an interval of noncentralities: to the last digits of float64."""


def partial_eta_squared(
    f: float,
    df: int,
    df_error: int,
    n: int,
    confidence: float = 0.95,
    convention: Convention = "effectsize",
) -> Interval:
    """Return partial eta squared, SS / (SS + SS_error) = F df / (F df + df_error), with interval.

    The interval's ends are the shares of variance that belong to the noncentralities nc at which F
    is the 97.5th and the 2.5th percentile of the noncentral F distribution (at 95 %). They are 0
    where there is no such nc, both of them for an F near 0, whose interval then misses the
    estimate. Conventions for the share that belongs to nc:

    - "effectsize": nc / (nc + df_error), as R's effectsize and rstatix do.
    - "smithson": nc / (nc + df + df_error + 1), Smithson's, in SPSS scripts and R's MBESS.
    - "steiger": nc / (nc + n), the share of variance in the population for n observations.

    Note that effectsize shows one-sided intervals unless told `alternative = "two.sided"`.

    Args:
        f: The F statistic, 0 or more.
        df: Degrees of freedom of the effect.
        df_error: Degrees of freedom of the error.
        n: Number of observations.
        confidence: Coverage, between 0 and 1; two-sided.
        convention: One of `CONVENTIONS`.

    Raises:
        InputError: An unknown convention, or a confidence not between 0 and 1.

    Reference: Steiger (2004), Beyond the F test, Psychological Methods 9(2); Smithson (2003),
        Confidence Intervals, section 5.4.
    """
    estimate = f * df / (f * df + df_error)
    low, high = share_limits(f, df, df_error, n, confidence, convention)
    return Interval(n=n, estimate=estimate, low=low, high=high)


def partial_omega_squared(
    f: float, df: int, df_error: int, n: int, confidence: float = 0.95
) -> Interval:
    """Return partial omega squared, less biased than partial eta squared, with interval.

    (SS - df MS_error) / (SS + (n - df) MS_error) = (F - 1) df / (F df + n - df), negative for F
    below 1 (R's effectsize then shows 0). What it estimates is the share of variance in the
    population, nc / (nc + n), so the interval is that of the "steiger" convention and covers it at
    the stated rate. effectsize instead takes the interval of the F whose partial eta squared equals
    the estimate, which for small effects covers far less often.

    Args:
        f: The F statistic, 0 or more.
        df: Degrees of freedom of the effect.
        df_error: Degrees of freedom of the error.
        n: Number of observations.
        confidence: Coverage, between 0 and 1; two-sided.

    Raises:
        InputError: The confidence is not between 0 and 1.

    Reference: Olejnik and Algina (2003), Generalized eta and omega squared statistics,
        Psychological Methods 8(4); Fidler and Thompson (2001), Computing correct confidence
        intervals for ANOVA fixed- and random-effects effect sizes, Educational and Psychological
        Measurement 61(4).
    """
    estimate = (f - 1) * df / (f * df + n - df)
    low, high = share_limits(f, df, df_error, n, confidence, "steiger")
    return Interval(n=n, estimate=estimate, low=low, high=high)


def share_limits(
    f: float, df: int, df_error: int, n: int, confidence: float, convention: Convention
) -> tuple[float, float]:
    """Return the limits of the share of variance; see `partial_eta_squared`."""
    if convention not in CONVENTIONS:
        raise UnknownNameError("convention", convention, CONVENTIONS)
    check_confidence(confidence)
    extra = {"effectsize": df_error, "smithson": df + df_error + 1, "steiger": n}[convention]
    tail = (1 - confidence) / 2
    low, high = (noncentrality(f, df, df_error, p) for p in (1 - tail, tail))
    return low / (low + extra), high / (high + extra)


def noncentrality(f: float, df: int, df_error: int, probability: float) -> float:
    """Return the noncentrality nc with P(F' <= f | nc) = probability, 0 where there is none."""
    if special.fdtr(df, df_error, f) <= probability:
        return 0.0
    low, high = 0.0, f * df + df
    while special.ncfdtr(df, df_error, high, f) > probability:
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if special.ncfdtr(df, df_error, middle, f) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
