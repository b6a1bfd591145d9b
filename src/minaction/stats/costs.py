"""Cost to reach a target accuracy, with runs that never reach it kept as censored, and the gain.

A run's cost is what it has spent (optimiser steps, MACs, seconds) at its first validation at or
above the target. A run that ends below it is censored: its cost is known to exceed what it spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from minaction.errors import InputError
from minaction.stats.bootstrap import RESAMPLES, check_draws, percentiles
from minaction.stats.intervals import Interval
from minaction.stats.validation import check_confidence


@dataclass(frozen=True, kw_only=True, eq=False)
class Costs:
    """What the runs of one arm spent until they reached the target.

    Attributes:
        cost: Float64 `[n]`, of any unit; where a run was censored, what it spent in all.
        reached: Bool `[n]`, False where a run was censored.

    Raises:
        InputError: There is no run, the lengths differ, or a cost is not positive and finite.
    """

    cost: np.ndarray
    reached: np.ndarray

    def __post_init__(self) -> None:
        same = self.cost.shape == self.reached.shape and self.cost.ndim == 1
        if not (self.cost.size and same and self.reached.dtype == np.bool_):
            raise InputError("costs: expected one or more runs, and for each whether it reached")
        if not (np.isfinite(self.cost).all() and (self.cost > 0).all()):
            raise InputError("costs: expected positive, finite numbers; censor runs, drop none")

    @property
    def n(self) -> int:
        """Number of runs."""
        return int(self.cost.size)

    @property
    def censored(self) -> int:
        """Number of runs that never reached the target."""
        return int((~self.reached).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Validations of one run.

    Attributes:
        spent: What it had spent by each, float64 `[validations]`, ascending.
        accuracy: Validation accuracies, fractions, float64 `[validations]`; one that is NaN reaches
            no target.

    Raises:
        InputError: The lengths differ, or what was spent is not finite and ascending.
    """

    spent: np.ndarray
    accuracy: np.ndarray

    def __post_init__(self) -> None:
        if self.spent.ndim != 1 or self.spent.shape != self.accuracy.shape:
            raise InputError(
                "curve: expected an accuracy for each cost, got shapes "
                f"{self.accuracy.shape} and {self.spent.shape}"
            )
        if not (np.isfinite(self.spent).all() and (np.diff(self.spent) >= 0).all()):
            raise InputError("curve: expected finite costs in ascending order")


def cost_to_target(curves: Sequence[Curve], target: float) -> Costs:
    """Return what each run of an arm spent until its first validation at or above the target.

    A censored run counts with all it spent; one that broke off early, with the largest sum any run
    of the arm spent: having diverged, it would not have reached the target later either.

    Args:
        curves: The runs, all planned to be of one length; a run may be without a validation.
        target: Accuracy to reach, a fraction.

    Raises:
        InputError: There is no run, none has a validation, or the target is not finite.
    """
    if not math.isfinite(target):
        raise InputError(f"target: expected an accuracy, got {target}")
    ends = [float(curve.spent.max(initial=0)) for curve in curves] or [0.0]
    hits = [curve.spent[curve.accuracy >= target] for curve in curves]
    cost = [float(hit[0]) if hit.size else max(ends) for hit in hits]
    return Costs(cost=np.array(cost), reached=np.array([hit.size > 0 for hit in hits], np.bool_))


def survival(costs: Costs) -> tuple[np.ndarray, np.ndarray]:
    """Return the Kaplan-Meier estimate: costs `[k]`, and the share still below the target at each.

    S(c) = prod over costs c_i <= c of (1 - d_i / r_i), d_i runs reaching the target at c_i, r_i
    those that had neither reached it nor been censored before; a run censored at c_i is among them.

    Reference: Kaplan and Meier (1958), Nonparametric estimation from incomplete observations,
        Journal of the American Statistical Association 53(282).
    """
    points, falls = np.unique(costs.cost[costs.reached], return_counts=True)
    left = (costs.cost[:, None] >= points).sum(0)
    return points, np.cumprod(1 - falls / left)


def median_cost(costs: Costs) -> float:
    """Return the smallest cost by which half of the runs have reached the target.

    Of the Kaplan-Meier estimate; NaN where that stays above one half.
    """
    points, share = survival(costs)
    fallen = points[share <= 0.5 + 1e-12]
    return float(fallen[0]) if fallen.size else math.nan


def survival_band(costs: Costs, confidence: float = 0.95) -> pd.DataFrame:
    """Return the Kaplan-Meier estimate with pointwise intervals: the curve of cost to target.

    Greenwood's standard error S sqrt(sum of d_i / (r_i (r_i - d_i))), d_i and r_i as in `survival`;
    intervals on the complementary log-log scale, which stay between 0 and 1.

    Args:
        costs: The runs of one arm.
        confidence: Pointwise coverage, between 0 and 1.

    Returns:
        One row per cost at which runs reached the target, ascending: `cost`, `at_risk`, `share`
        still below the target, `standard_error`, `low`, `high`. The last three are NaN where no run
        is left, for the spread is then unknown.

    Raises:
        InputError: The confidence is not between 0 and 1.

    Reference: Greenwood (1926); Kalbfleisch and Prentice (2002), The Statistical Analysis of
        Failure Time Data, section 1.4; in R, survfit with conf.type = "log-log".
    """
    check_confidence(confidence)
    points, share = survival(costs)
    at_risk = (costs.cost[:, None] >= points).sum(0)
    falls = (costs.cost[costs.reached][:, None] == points).sum(0)
    left = np.where(at_risk > falls, at_risk - falls, np.nan)
    spread = np.sqrt(np.cumsum(falls / (at_risk * left)))
    inside = np.where(share > 0, share, np.nan)
    reach = special.ndtri(0.5 + confidence / 2) * spread / np.log(inside)
    return pd.DataFrame(
        {
            "cost": points,
            "at_risk": at_risk,
            "share": share,
            "standard_error": inside * spread,
            "low": inside ** np.exp(-reach),
            "high": inside ** np.exp(reach),
        }
    )


def median_interval(costs: Costs, confidence: float = 0.95) -> Interval:
    """Return the median cost with its interval: where the band of the curve crosses one half.

    Args:
        costs: The runs of one arm.
        confidence: Coverage, between 0 and 1.

    Returns:
        `median_cost` with the smallest costs at which the lower and the upper end of
        `survival_band` are at most one half; NaN where an end never is, for then nothing bounds it.

    Raises:
        InputError: The confidence is not between 0 and 1.

    Reference: Brookmeyer and Crowley (1982), A confidence interval for the median survival time,
        Biometrics 38(1).
    """
    band = survival_band(costs, confidence)
    low, high = (float(band.loc[band[end] <= 0.5, "cost"].min()) for end in ("low", "high"))
    return Interval(n=costs.n, estimate=median_cost(costs), low=low, high=high)


def restricted_mean(costs: Costs, horizon: float = math.inf) -> float:
    """Return the mean cost up to a horizon: the integral of the Kaplan-Meier estimate from 0 to it.

    Without censoring before the horizon this is the mean of min(cost, horizon).

    Raises:
        InputError: The last run is censored before the horizon, so nothing is known up to it, or
            the horizon is not positive.

    Reference: Royston and Parmar (2013), Restricted mean survival time, BMC Medical Research
        Methodology 13.
    """
    if not horizon > 0:
        raise InputError(f"horizon: expected a positive number, got {horizon}")
    points, share = survival(costs)
    last = float(costs.cost.max())
    if horizon > last and (not share.size or share[-1] > 0):
        raise InputError(f"horizon: expected at most {last}, beyond which nothing is known")
    inside = points < horizon
    edges = np.array([0.0, *points[inside], min(horizon, last)])
    return float((np.diff(edges) * np.array([1.0, *share[inside]])).sum())


def common_horizon(*arms: Costs) -> float:
    """Return the largest horizon up to which no run of any arm is censored; infinite if none is.

    Means restricted to it compare like with like: up to it every run's cost is known, and an arm
    that always reached the target is known throughout.
    """
    censored = [arm.cost[~arm.reached] for arm in arms if arm.censored]
    return min((float(cost.min()) for cost in censored), default=math.inf)


def gain(
    pairs: Sequence[tuple[Costs, Costs]],
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Return 1 - cost(candidate) / cost(reference), with a stratified bootstrap interval.

    Costs are means restricted to the `common_horizon` of both. Several pairs, one per data set, are
    summed up by the geometric mean of their ratios. The interval is the percentile one; runs are
    resampled within each arm of each pair, and the horizons stay as they are.

    Args:
        pairs: Candidate and reference of each data set.
        generator: Source of the resampling; the same state gives the same interval.
        resamples: Number of resamples.
        confidence: Coverage, between 0 and 1.

    Returns:
        The gain as a fraction, at most 1, negative where the candidate costs more; `n` is the
        number of the candidates' runs. The ends are NaN where an arm has a single run.

    Raises:
        InputError: There is no pair or no resample, or the confidence is not between 0 and 1.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, sections 8 and 13;
        Agarwal et al. (2021), arXiv:2108.13264 (stratified, over runs).
    """
    if not pairs:
        raise InputError("pairs: expected at least one data set")
    check_confidence(confidence)
    check_draws(generator, resamples)
    logs, drawn, smallest = 0.0, np.zeros(resamples), math.inf
    for candidate, reference in pairs:
        horizon = common_horizon(candidate, reference)
        for sign, arm in ((1, candidate), (-1, reference)):
            spent = np.minimum(arm.cost, horizon)
            picks = generator.integers(0, len(spent), (resamples, len(spent)))
            logs += sign * math.log(spent.mean())
            drawn += sign * np.log(spent[picks].mean(1))
            smallest = min(smallest, arm.n)
    n = sum(candidate.n for candidate, _ in pairs)
    estimate = 1 - math.exp(logs / len(pairs))
    if smallest < 2:
        return Interval(n=n, estimate=estimate, low=math.nan, high=math.nan)
    low, high = percentiles(1 - np.exp(drawn / len(pairs)), confidence)
    return Interval(n=n, estimate=estimate, low=float(low), high=float(high))
