"""How sure a Pareto front is: membership and area over resampled runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from minaction.errors import InputError
from minaction.stats.bootstrap import RESAMPLES, counts, resample
from minaction.stats.hypervolume_interval import hypervolume_interval
from minaction.stats.intervals import Interval
from minaction.stats.pareto import Reference, areas, check_reference, fronts, gradient
from minaction.stats.validation import check_confidence, finite_array

COLUMNS = ("n", "cost", "accuracy", "on_front", "membership")
"""Columns of the table behind those that tell configurations apart."""

DIGITS = 12
"""Of means that are compared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ParetoBootstrap:
    """A Pareto front of mean costs and accuracies, and how it varies with the runs.

    Attributes:
        table: One row per configuration in order of first appearance: the grouping columns, `n`,
            mean `cost` and `accuracy`, `on_front`, and `membership`, the share of resamples in
            which it is on the front.
        hypervolume: Area dominated by the means, with its interval, see `hypervolume_interval`; `n`
            is the number of configurations. Noise adds area: the interval allows for that and may
            lie below the estimate. Simulated coverage of 95 % intervals, 10 runs, 1,000 samples
            each: 94.2-96.9 % with 3 to 60 configurations, all on a concave front or scattered below
            it, seeds shared or not (percentile intervals 2-94 %, basic ones 89-95 %, BCa 19-93 %).
            Not reached: ten configurations with one and the same true mean, 84 %, and 92 % where
            seeds are shared.
        reference: The point it is measured from.
    """

    table: pd.DataFrame
    hypervolume: Interval
    reference: Reference


def pareto_bootstrap(
    frame: pd.DataFrame,
    *,
    by: Sequence[str],
    cost: str,
    accuracy: str,
    reference: Reference,
    generator: np.random.Generator,
    seed: str | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> ParetoBootstrap:
    """Return the Pareto front of the configurations' means with bootstrap membership frequencies.

    Runs are resampled, means and front computed anew. With `seed`, seeds are blocks: they are drawn
    once per resample for all configurations, which share them, so that what a seed does to all
    cancels. Without it, runs are drawn within each configuration.

    Args:
        frame: One row per run.
        by: Columns that tell configurations apart.
        cost: Column of costs; lower is better. Means are arithmetic.
        accuracy: Column of accuracies; higher is better.
        reference: As in `hypervolume`.
        generator: Source of the resampling; the same state gives the same frequencies.
        seed: Column of seeds, where every configuration has each of them once.
        resamples: Number of resamples.
        confidence: Coverage of the hypervolume's interval, between 0 and 1.

    Raises:
        InputError: A column is missing, there is no run, a value is not finite, a configuration has
            a single run, or seeds are missing or occur twice in one.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 8.
    """
    check_confidence(confidence)
    check_reference(reference)
    groups = configurations(frame, by, [cost, accuracy, *([seed] if seed else [])])
    if seed:
        groups = {key: in_seed_order(key, group, seed) for key, group in groups.items()}
        check_same_seeds(groups, seed)
    runs = [
        finite_array(f"{named(key)}, {cost} and {accuracy}", group[[cost, accuracy]], 2)
        for key, group in groups.items()
    ]
    drawn = resampled_means(runs, seed is not None, generator, resamples)
    whole = means([np.ones((1, len(one))) for one in runs], runs)
    table = pd.DataFrame(list(groups), columns=list(by)).assign(
        n=[len(one) for one in runs],
        cost=whole[0, :, 0],
        accuracy=whole[0, :, 1],
        on_front=fronts(whole[..., 0], whole[..., 1])[0],
        membership=fronts(drawn[..., 0], drawn[..., 1]).mean(0),
    )
    area = float(areas(whole[..., 0], whole[..., 1], reference)[0])
    low, high = hypervolume_interval(
        area,
        areas(drawn[..., 0], drawn[..., 1], reference),
        runs,
        slopes=gradient(
            np.array([one[:, 0].mean() for one in runs]),
            np.array([one[:, 1].mean() for one in runs]),
            reference,
        ),
        shared=seed is not None,
        confidence=confidence,
    )
    return ParetoBootstrap(
        table=table,
        hypervolume=Interval(n=len(runs), estimate=area, low=low, high=high),
        reference=reference,
    )


def configurations(
    frame: pd.DataFrame, by: Sequence[str], columns: Sequence[str]
) -> dict[tuple[object, ...], pd.DataFrame]:
    """Return the runs of each configuration, in order of first appearance.

    Raises:
        InputError: A column is missing or has a name of the result's, there is no run, or a
            configuration has a single one.
    """
    if not by or set(by) & set(COLUMNS):
        raise InputError(
            f"by: expected columns other than {', '.join(COLUMNS)}, got {', '.join(by) or 'none'}"
        )
    if missing := [name for name in (*by, *columns) if name not in frame]:
        raise InputError(f"frame: there is no column {', '.join(map(repr, missing))}")
    if frame.empty:
        raise InputError("frame: expected one row per run, got none")
    groups: dict[tuple[object, ...], pd.DataFrame] = {}
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        groups[key if isinstance(key, tuple) else (key,)] = group
    for key, group in groups.items():
        if len(group) < 2:
            raise InputError(f"{named(key)}: expected 2 or more runs; one has nothing to resample")
    return groups


def in_seed_order(key: tuple[object, ...], group: pd.DataFrame, seed: str) -> pd.DataFrame:
    """Return a configuration's runs by ascending seed.

    Raises:
        InputError: A seed occurs twice.
    """
    if not group[seed].is_unique:
        raise InputError(f"{named(key)}: expected one run per {seed}, one occurs twice")
    return group.sort_values(seed)


def check_same_seeds(groups: dict[tuple[object, ...], pd.DataFrame], seed: str) -> None:
    """Raise InputError unless all configurations have the same seeds."""
    (first, *others), (key, *keys) = groups.values(), groups
    for other, group in zip(keys, others, strict=True):
        if first[seed].tolist() != group[seed].tolist():
            raise InputError(
                f"{named(other)}: expected the same {seed}s as {named(key)} has; without `seed` "
                "runs are resampled within each configuration"
            )


def named(key: tuple[object, ...]) -> str:
    """Return a configuration's name for a message."""
    return " ".join(map(str, key))


def resampled_means(
    runs: Sequence[np.ndarray], shared: bool, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Return mean cost and accuracy of every resample, `[resamples, configurations, 2]`.

    Args:
        runs: Cost and accuracy of each configuration's runs, shape [n, 2].
        shared: Whether all configurations are resampled alike, as their seeds are the same.
        generator: Source of the draws.
        resamples: Number of resamples.
    """
    if shared:
        weights = resample(counts, [runs[0].shape[:1]], generator, resamples)
        return means([weights] * len(runs), runs)
    return means([resample(counts, [one.shape[:1]], generator, resamples) for one in runs], runs)


def means(weights: Sequence[np.ndarray], runs: Sequence[np.ndarray]) -> np.ndarray:
    """Return weighted means of each configuration's runs, `[resamples, configurations, 2]`.

    Runs may have other columns than cost and accuracy, and more; the means have the same. They are
    to `DIGITS` of the largest in a column: means that are equal must not differ by the order
    of a sum, which would put dominated configurations on the front.

    Args:
        weights: Of each configuration `[resamples, n]`, each line n in all.
        runs: Cost and accuracy of each configuration's runs, shape [n, 2].
    """
    found = np.stack([w @ one / len(one) for w, one in zip(weights, runs, strict=True)], 1)
    for column in range(found.shape[-1]):
        largest = np.abs(found[..., column]).max()
        decimals = DIGITS - math.ceil(math.log10(largest)) if largest else 0
        found[..., column] = found[..., column].round(decimals)
    return found
