from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minaction.errors import InputError
from minaction.stats.pareto import gradient, hypervolume, pareto_front
from minaction.stats.pareto_many import front_bootstrap, nondominated, slopes, volumes
from minaction.stats.pareto_membership import pareto_bootstrap

GRID = st.integers(0, 5).map(float)


def points(objectives):
    shape = st.tuples(st.integers(1, 6), st.just(objectives))
    return shape.flatmap(lambda size: arrays(np.float64, size, elements=GRID))


@given(points(3))
def test_who_dominates_is_decided_by_comparing_all_pairs(found):
    ahead = [
        not any((other <= one).all() and (other < one).any() for other in found) for one in found
    ]
    assert nondominated(found).tolist() == ahead


@given(points(3))
def test_a_volume_is_that_of_the_unit_cubes_that_some_point_dominates(found):
    cubes = np.array(list(itertools.product(range(4), repeat=3)))
    dominated = (found[None] <= cubes[:, None]).all(-1).any(1)
    assert volumes(found, np.full(3, 4.0)) == dominated.sum()


@given(points(2))
def test_of_a_cost_and_an_accuracy_it_is_what_the_plane_gives(found):
    cost, accuracy = found[:, 0], -found[:, 1]
    worst = np.array([4.0, 4.0])
    assert nondominated(found).tolist() == pareto_front(cost, accuracy).tolist()
    area = hypervolume(cost, accuracy, reference=(4.0, -4.0))
    assert volumes(found, worst) == pytest.approx(area)


def test_slopes_are_those_of_the_plane():
    found = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 2.5], [4.0, 1.0]])
    exact = gradient(found[:, 0], -found[:, 1], (4.0, -4.0)) * [1, -1]
    assert slopes(found, np.array([4.0, 4.0])) == pytest.approx(exact, abs=1e-6)


def test_a_front_of_two_is_that_of_pareto_bootstrap():
    runs = np.random.default_rng(0).normal([[1, 3], [2, 2], [3, 2.1]], 0.3, (5, 3, 2))
    runs = runs.transpose(1, 0, 2)
    frame = pd.DataFrame(
        [
            {"name": name, "seed": seed, "cost": runs[name, seed, 0], "gain": -runs[name, seed, 1]}
            for name in range(3)
            for seed in range(5)
        ]
    )
    plane = pareto_bootstrap(
        frame,
        by=["name"],
        cost="cost",
        accuracy="gain",
        reference=(4.0, -4.0),
        generator=np.random.default_rng(1),
        seed="seed",
        resamples=500,
    )
    found = front_bootstrap(
        runs, reference=[4.0, 4.0], generator=np.random.default_rng(1), resamples=500
    )
    assert found.membership.tolist() == plane.table["membership"].tolist()
    assert found.on_front.tolist() == plane.table["on_front"].tolist()
    ends = [(f.estimate, f.low, f.high) for f in (found.hypervolume, plane.hypervolume)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_what_has_no_front_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="2 or more seeds"):
        front_bootstrap(np.ones((3, 1, 2)), reference=[2.0, 2.0], generator=generator)
    with pytest.raises(InputError, match="expected 2 numbers, got 3"):
        front_bootstrap(np.ones((3, 2, 2)), reference=[2.0, 2.0, 2.0], generator=generator)
