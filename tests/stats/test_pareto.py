from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import InputError
from minaction.stats.pareto import gradient, hypervolume, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


def split(points) -> tuple[np.ndarray, np.ndarray]:
    cost, accuracy = np.array(points, np.float64).T
    return cost, accuracy


def naive_front(points) -> list[bool]:
    """Every point against every other."""
    return [
        not any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)
        for cost, accuracy in points
    ]


def naive_area(points, reference) -> int:
    """Unit squares of the integer grid that lie between some point and the reference."""
    worst, floor = reference
    return sum(
        any(cost <= x and accuracy >= y + 1 for cost, accuracy in points)
        for x in range(-5, worst)
        for y in range(floor, 15)
    )


@given(points=POINTS)
def test_the_front_is_what_nothing_dominates(points):
    assert pareto_front(*split(points)).tolist() == naive_front(points)


@given(points=POINTS, worst=st.integers(-2, 12), floor=st.integers(-2, 12))
def test_the_area_is_that_of_the_squares_counted(points, worst, floor):
    found = hypervolume(*split(points), reference=(worst, floor))
    assert found == naive_area(points, (worst, floor))


def test_front_and_area_by_hand():
    cost = np.array([1.0, 2, 4, 3, 2])
    accuracy = np.array([0.5, 0.7, 0.9, 0.6, 0.7])
    # equal points are on it together; (3, 0.6) is dominated by (2, 0.7)
    assert pareto_front(cost, accuracy).tolist() == [True, True, True, False, True]
    # 1 * 0.5 + 2 * 0.7 + 1 * 0.9
    assert hypervolume(cost, accuracy, reference=(5, 0)) == pytest.approx(2.8)
    assert hypervolume(cost, accuracy, reference=(4, 0.6)) == pytest.approx(2 * 0.1)


def test_points_that_are_not_better_than_the_reference_add_nothing():
    assert hypervolume([5.0, 1.0], [0.9, 0.1], reference=(5, 0.1)) == 0
    with_it = hypervolume([5.0, 1.0, 2.0], [0.9, 0.1, 0.3], reference=(5, 0.1))
    assert with_it == pytest.approx(3 * 0.2)


@given(points=POINTS, shift=st.integers(-9, 9), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_order_unit_and_origin(points, shift, scale):
    cost, accuracy = split(points)
    front = pareto_front(cost, accuracy)
    assert pareto_front(cost[::-1], accuracy[::-1]).tolist() == front[::-1].tolist()
    assert pareto_front(np.exp(cost), accuracy**3).tolist() == front.tolist()
    area = hypervolume(cost, accuracy, reference=(10, 0))
    moved = hypervolume((cost + shift) * scale, accuracy, reference=((10 + shift) * scale, 0))
    assert moved == pytest.approx(area * scale)
    assert hypervolume(cost[front], accuracy[front], reference=(10, 0)) == pytest.approx(area)


@pytest.mark.parametrize(
    ("cost", "accuracy", "message"),
    [
        ([], [], "cost: expected 1 dimension and at least one value"),
        ([1.0, 2.0], [0.5], "accuracy: expected 2 values as there are costs, got 1"),
        ([math.nan], [0.5], "cost: expected finite numbers"),
        ([1.0], [math.inf], "accuracy: expected finite numbers"),
        ([[1.0]], [0.5], "cost: expected 1 dimension"),
    ],
)
def test_points_that_cannot_be_used_are_refused_in_one_line(cost, accuracy, message):
    for refused in (
        lambda: pareto_front(cost, accuracy),
        lambda: hypervolume(cost, accuracy, reference=(9, 0)),
    ):
        with pytest.raises(InputError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", [(1.0,), (1.0, 2.0, 3.0), (math.nan, 0.0), ()])
def test_a_reference_is_a_cost_and_an_accuracy(reference):
    with pytest.raises(InputError, match="reference: expected"):
        hypervolume([1.0], [0.5], reference=reference)


@given(seed=st.integers(0, 10**6), count=st.integers(1, 12))
def test_the_gradient_is_the_slope_of_the_area(seed, count):
    generator = np.random.default_rng(seed)
    points, reference = generator.random((count, 2)), (0.9, 0.1)
    found, step = gradient(points[:, 0], points[:, 1], reference), 1e-7
    for index in range(count):
        for axis in range(2):
            ends = [points.copy(), points.copy()]
            ends[0][index, axis] -= step
            ends[1][index, axis] += step
            low, high = (hypervolume(*end.T, reference=reference) for end in ends)
            assert found[index, axis] == pytest.approx((high - low) / (2 * step), abs=1e-5)


def test_the_gradient_at_the_reference_is_that_of_the_better_side():
    found = gradient(np.array([1.0, 3.0]), np.array([0.2, 0.7]), (3.0, 0.2))
    assert found == pytest.approx(np.array([[0, 2], [-0.5, 0]]))
