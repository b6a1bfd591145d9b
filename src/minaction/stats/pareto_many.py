"""Pareto fronts of any number of objectives, all of them to be lowered, and how sure they are.

For a cost and an accuracy `pareto` and `pareto_membership` say the same of a single area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minaction.errors import InputError
from minaction.stats.bootstrap import RESAMPLES
from minaction.stats.hypervolume_interval import hypervolume_interval
from minaction.stats.intervals import Interval
from minaction.stats.pareto_membership import means, resampled_means
from minaction.stats.validation import check_confidence, finite_array

STEP = 1e-6
"""How far a point is moved to see what volume it adds: a volume is linear in it up to the next."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontBootstrap:
    """A Pareto front of means, and how it varies with the seeds.

    Attributes:
        means: Of each configuration and objective, shape [n, objectives].
        on_front: Which means no other dominates, shape [n].
        membership: Share of resamples in which each is on the front, shape [n].
        hypervolume: Volume the means dominate, with its interval, see `hypervolume_interval`; `n`
            is the number of configurations.
    """

    means: np.ndarray
    on_front: np.ndarray
    membership: np.ndarray
    hypervolume: Interval


def front_bootstrap(
    runs: np.ndarray,
    *,
    reference: Sequence[float],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> FrontBootstrap:
    """Return the Pareto front of configurations' means with bootstrap membership frequencies.

    Seeds are blocks: they are drawn once per resample for all configurations.

    Args:
        runs: Of each configuration, seed and objective, shape [n, seeds, objectives]; lower is
            better.
        reference: A point that is worse, one number an objective.
        generator: Source of the resampling; the same state gives the same frequencies.
        resamples: Number of resamples.
        confidence: Coverage of the hypervolume's interval, between 0 and 1.

    Raises:
        InputError: A value is not finite, there is no configuration, fewer than two seeds, or
            another number of objectives than the reference has.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 8.
    """
    check_confidence(confidence)
    values, worst = finite_array("runs", runs, 3), finite_array("reference", reference, 1)
    if values.shape[1] < 2:
        raise InputError("runs: expected 2 or more seeds; one has nothing to resample")
    if values.shape[2] != worst.size:
        raise InputError(f"reference: expected {values.shape[2]} numbers, got {worst.size}")
    each = list(values)
    drawn = resampled_means(each, True, generator, resamples)
    whole = means([np.ones((1, values.shape[1]))] * len(each), each)[0]
    volume = float(volumes(whole, worst))
    low, high = hypervolume_interval(
        volume,
        volumes(drawn, worst),
        each,
        slopes=slopes(values.mean(1), worst),
        shared=True,
        confidence=confidence,
    )
    return FrontBootstrap(
        means=whole,
        on_front=nondominated(whole),
        membership=nondominated(drawn).mean(0),
        hypervolume=Interval(n=len(each), estimate=volume, low=low, high=high),
    )


def nondominated(points: np.ndarray) -> np.ndarray:
    """Return which points no other dominates: none is at most as large in all and differs.

    Args:
        points: Shape [..., n, objectives]; lower is better.

    Returns:
        Bool [..., n]; of equal points either all are on the front or none.

    Reference: Deb (2001), Multi-Objective Optimization using Evolutionary Algorithms, chapter 2.
    """
    found = np.empty(points.shape[:-1], np.bool_)
    for index in range(points.shape[-2]):
        one = points[..., index : index + 1, :]
        no_worse, better = (points <= one).all(-1), (points < one).any(-1)
        found[..., index] = ~(no_worse & better).any(-1)
    return found


def volumes(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the volume that points dominate up to a reference, exact; shape [...].

    It is cut into slabs along the last objective, each as high as it is to the next point and of a
    base that is the same problem with one objective less. Points worse than the reference in any
    objective add nothing.

    Args:
        points: Shape [..., n, objectives]; lower is better.
        reference: Shape [objectives].

    Reference: Zitzler and Thiele (1999), Multiobjective evolutionary algorithms, IEEE Transactions
        on Evolutionary Computation 3(4).
    """
    inside = np.minimum(points, reference)
    if len(reference) == 1:
        return reference[0] - inside[..., 0].min(-1)
    order = np.argsort(inside[..., -1], axis=-1)
    ranked = np.take_along_axis(inside, order[..., None], axis=-2)
    heights = np.diff(ranked[..., -1], axis=-1, append=reference[-1])
    slabs = [
        heights[..., last] * volumes(ranked[..., : last + 1, :-1], reference[:-1])
        for last in range(points.shape[-2])
    ]
    return np.sum(slabs, axis=0)


def slopes(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the derivatives of the volume by each point's objectives, shape [n, objectives].

    At a kink, as where a point is at the reference, it is the derivative on the better side.
    """
    moves = STEP * np.eye(points.size).reshape(points.size, *points.shape)
    gained = volumes(points - moves, reference) - volumes(points, reference)
    return -gained.reshape(points.shape) / STEP
