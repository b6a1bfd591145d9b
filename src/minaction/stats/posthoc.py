"""Which groups differ: all pairs compared, whatever their variances, with the level kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes most of a second to import

from minaction.errors import InputError
from minaction.stats.factorial_data import check_names, column, listed, read_response
from minaction.stats.studentized_range import StudentizedRange
from minaction.stats.validation import check_confidence

MAX_GROUPS = 300


def games_howell(
    frame: pd.DataFrame, response: str, factors: Sequence[str], confidence: float = 0.95
) -> pd.DataFrame:
    """Compare all pairs of groups by the method of Games and Howell.

    For groups a and b with means m, variances s^2 and sizes n: t = (m_a - m_b) / sqrt(s_a^2 / n_a +
    s_b^2 / n_b) with Welch's degrees of freedom, and p the probability that the studentised range
    of all k groups exceeds |t| sqrt(2). p values and intervals hold for all pairs together, and
    need no equal variances. `p_holm` is Welch's t test of each pair, adjusted by Holm's method: the
    coarser alternative, which is valid under any dependence of the tests.

    Args:
        frame: One row per observation.
        response: Column of finite numbers.
        factors: Columns whose combinations are the groups; those without a row are none.
        confidence: Joint coverage of the intervals, between 0 and 1.

    Returns:
        One row per pair, groups by descending mean: `group_a`, `group_b` (levels, joined by ", "
        where there are several factors), `n_a`, `n_b`, `difference` (mean of a less mean of b, not
        negative), `low`, `high`, `standard_error`, `t`, `df`, `p`, `p_holm`. Where neither group of
        a pair varies nothing is known of its error, and all from `low` on are NaN.

    Raises:
        InputError: A column is missing or used twice, a response is missing, infinite or constant,
            there are fewer than two groups or more than 300, a group has a single row, or the
            confidence is not between 0 and 1.

    Reference: Games and Howell (1976), Pairwise multiple comparison procedures with unequal n's
        and/or variances, Journal of Educational Statistics 1(2); Holm (1979).
    """
    check_confidence(confidence)
    groups = summarize(frame, response, factors)
    a, b = np.triu_indices(len(groups), 1)
    n, mean = groups["count"].to_numpy(), groups["mean"].to_numpy()
    share = groups["var"].to_numpy() / n
    error = np.sqrt(share[a] + share[b])
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (share[a] + share[b]) ** 2 / (share[a] ** 2 / (n[a] - 1) + share[b] ** 2 / (n[b] - 1))
        t = np.where(error > 0, (mean[a] - mean[b]) / error, np.nan)
    known = np.isfinite(t)
    p, reach, welch = (np.full(a.size, np.nan) for _ in range(3))
    distribution = StudentizedRange(len(groups))
    p[known] = distribution.sf(t[known] * np.sqrt(2), df[known])
    reach[known] = distribution.isf(1 - confidence, df[known]) / np.sqrt(2) * error[known]
    welch[known] = 2 * special.stdtr(df[known], -t[known])
    difference = mean[a] - mean[b]
    names = groups.index.to_numpy()
    return pd.DataFrame(
        {
            **{"group_a": names[a], "group_b": names[b], "n_a": n[a], "n_b": n[b]},
            "difference": difference,
            "low": difference - reach,
            "high": difference + reach,
            "standard_error": np.where(known, error, np.nan),
            **{"t": t, "df": df, "p": p, "p_holm": holm(welch)},
        }
    )


def summarize(frame: pd.DataFrame, response: str, factors: Sequence[str]) -> pd.DataFrame:
    """Return count, mean and variance of each group, by descending mean; see `games_howell`."""
    factors = listed(factors)
    check_names(frame, response, factors, None)
    y = pd.Series(read_response(column(frame, response), response))
    keys = [column(frame, name).reset_index(drop=True) for name in factors]
    for name, key in zip(factors, keys, strict=True):
        if missing := int(key.isna().to_numpy().sum()):
            raise InputError(f"{name}: {missing} of {len(key)} rows have no value")
    grouped = y.groupby(keys, observed=True)
    groups = pd.DataFrame({"count": grouped.size(), "mean": grouped.mean(), "var": grouped.var()})
    if not 2 <= len(groups) <= MAX_GROUPS:
        raise InputError(f"factors: expected 2 to {MAX_GROUPS} groups, got {len(groups)}")
    groups.index = pd.Index(
        [", ".join(map(str, key)) if isinstance(key, tuple) else key for key in groups.index]
    )
    alone = groups.index[groups["count"].to_numpy() < 2]
    if alone.size:
        raise InputError(f"factors: the group {alone[0]!r} has a single row; expected two or more")
    return groups.sort_values(by="mean", ascending=False, kind="stable")


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p values adjusted so that any of them below alpha keeps the familywise level alpha.

    In ascending order of p: max over j <= i of min(1, (m - j + 1) p_j), m the number of tests.

    Args:
        p: Shape [tests], between 0 and 1. A NaN stays one and counts as no test.

    Raises:
        InputError: A p value is not between 0 and 1.

    Reference: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
        Journal of Statistics 6(2).
    """
    p = np.asarray(p, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    if not ((p[known] >= 0) & (p[known] <= 1)).all():
        raise InputError("p: expected values between 0 and 1")
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    steps = np.arange(order.size, 0, -1) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
