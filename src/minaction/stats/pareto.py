"""The Pareto front of cost (down) and accuracy (up), and the area it dominates."""

from __future__ import annotations

import numpy as np

from minaction.errors import InputError
from minaction.stats.validation import finite_array

Reference = tuple[float, float]
"""A cost and an accuracy that are worse than what is compared: what an area is measured from."""


def pareto_front(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return which points no other point dominates.

    A point is dominated where another has no higher cost and no lower accuracy, and differs in one
    of them; of equal points either all are on the front or none.

    Args:
        cost: Shape [n], any unit, such as energy or MACs; lower is better.
        accuracy: Shape [n]; higher is better.

    Returns:
        Bool `[n]`, in the order given.

    Raises:
        InputError: The lengths differ, there is no point, or a value is not finite.

    Reference: Deb (2001), Multi-Objective Optimization using Evolutionary Algorithms, chapter 2.
    """
    costs, accuracies = points(cost, accuracy)
    return fronts(costs[None], accuracies[None])[0]


def hypervolume(cost: np.ndarray, accuracy: np.ndarray, *, reference: Reference) -> float:
    """Return the area that the points dominate, up to a reference point; exact.

    The area of the union of the rectangles between each point and the reference. Points that are
    not better than the reference in both add nothing. For costs that span decades give logarithms,
    of the reference as well.

    Args:
        cost: Shape [n]; lower is better.
        accuracy: Shape [n]; higher is better.
        reference: Its cost, above those that count, and its accuracy, below them. State it with
            the result: areas of different references do not compare.

    Returns:
        The area, in the product of both units, 0 or more.

    Raises:
        InputError: The lengths differ, there is no point, or a value is not finite.

    Reference: Zitzler and Thiele (1999), Multiobjective evolutionary algorithms, IEEE Transactions
        on Evolutionary Computation 3(4).
    """
    costs, accuracies = points(cost, accuracy)
    check_reference(reference)
    return float(areas(costs[None], accuracies[None], reference)[0])


def points(cost: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return costs and accuracies as float64 of one length.

    Raises:
        InputError: The lengths differ, there is no point, or a value is not finite.
    """
    costs, accuracies = finite_array("cost", cost, 1), finite_array("accuracy", accuracy, 1)
    if costs.size != accuracies.size:
        raise InputError(
            f"accuracy: expected {costs.size} values as there are costs, got {accuracies.size}"
        )
    return costs, accuracies


def check_reference(reference: Reference) -> None:
    """Raise InputError unless a reference point is a finite cost and a finite accuracy."""
    if finite_array("reference", reference, 1).size != 2:
        raise InputError(f"reference: expected a cost and an accuracy, got {reference}")


def fronts(costs: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Return which points of each row no other of the row dominates, bool `[rows, n]`."""
    order = np.lexsort((-accuracies, costs), axis=-1)
    cost, accuracy = (np.take_along_axis(one, order, -1) for one in (costs, accuracies))
    best = np.maximum.accumulate(accuracy, axis=-1)
    ahead = np.ones(cost.shape, np.bool_)
    ahead[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    # a point equal to the one before it shares that one's fate
    fresh = np.ones(cost.shape, np.bool_)
    fresh[:, 1:] = (np.diff(cost) != 0) | (np.diff(accuracy) != 0)
    first = np.maximum.accumulate(np.where(fresh, np.arange(cost.shape[-1]), 0), axis=-1)
    found = np.empty(cost.shape, np.bool_)
    np.put_along_axis(found, order, np.take_along_axis(ahead, first, -1), -1)
    return found


def areas(costs: np.ndarray, accuracies: np.ndarray, reference: Reference) -> np.ndarray:
    """Return the area each row of points dominates up to the reference, shape [rows]."""
    worst, floor = reference
    order = np.argsort(costs, axis=-1)
    cost = np.minimum(np.take_along_axis(costs, order, -1), worst)
    height = np.maximum(np.take_along_axis(accuracies, order, -1) - floor, 0)
    width = np.diff(cost, axis=-1, append=worst)
    return (width * np.maximum.accumulate(height, axis=-1)).sum(-1)


AT = 1e-9
"""Relative distance within which a point is at the reference: sums in another order differ."""


def gradient(cost: np.ndarray, accuracy: np.ndarray, reference: Reference) -> np.ndarray:
    """Return the derivatives of the area by each point's cost and accuracy, shape [n, 2].

    A point on the front adds a strip as wide as the cost to the next one, and as high as the
    accuracy above the one before. Points off the front, or worse than the reference, have none. At
    the reference itself, where the area has a kink, it is the derivative on the better side.
    """
    worst, floor = reference
    found = np.zeros((cost.size, 2))
    better = (cost <= worst) | np.isclose(cost, worst, rtol=AT, atol=0)
    better &= (accuracy >= floor) | np.isclose(accuracy, floor, rtol=AT, atol=0)
    ahead = fronts(cost[None], accuracy[None])[0] & better
    members = np.flatnonzero(ahead)
    members = members[np.argsort(cost[members], kind="stable")]
    found[members, 0] = -np.diff(accuracy[members], prepend=floor)
    found[members, 1] = np.diff(cost[members], append=worst)
    return found
