from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rliable import metrics

from minaction.errors import InputError
from minaction.stats.aggregates import (
    interquartile_mean,
    mann_whitney,
    performance_profile,
    probability_of_improvement,
)
from minaction.stats.bootstrap import counts

SHAPES = st.tuples(st.integers(2, 9), st.integers(1, 6))


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(seed: int, shape: tuple[int, int], decimals: int = 9) -> np.ndarray:
    return seeded(seed).normal(size=shape).round(decimals)


def iqm(scores, **options):
    return interquartile_mean(scores, generator=seeded(), **{"resamples": 50} | options)


def improvement(treatment, reference, **options):
    options = {"resamples": 50} | options
    return probability_of_improvement(treatment, reference, generator=seeded(), **options)


@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_interquartile_mean_is_that_of_rliable(shape, seed):
    scores = draw(seed, shape)
    found = iqm(scores)
    assert found.estimate == pytest.approx(metrics.aggregate_iqm(scores), rel=1e-12, abs=1e-12)
    assert found.n == scores.size


@given(
    shape=SHAPES,
    other=st.integers(2, 9),
    seed=st.integers(0, 2**32),
    decimals=st.sampled_from([0, 9]),
)
def test_probability_of_improvement_is_that_of_rliable(shape, other, seed, decimals):
    first = draw(seed, shape, decimals)  # rounded to integers there are ties
    second = draw(seed + 1, (other, shape[1]), decimals)
    found = improvement(first, second).estimate
    expected = metrics.probability_of_improvement(first, second)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(shape=SHAPES, seed=st.integers(0, 2**32), decimals=st.sampled_from([0, 9]))
def test_profiles_are_run_score_distributions(shape, seed, decimals):
    # rliable's definition written out, mean(scores > tau): its library.py needs arch, which does
    # not import beside pandas 3
    scores = draw(seed, shape, decimals)
    levels = np.array([1.0, -2.0, 0.0, 0.3])
    found = performance_profile(scores, levels, generator=seeded(), resamples=20)
    assert found["threshold"].tolist() == levels.tolist()
    expected = [np.mean(scores > level) for level in levels]
    assert found["share"].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_resamples_are_judged_as_the_runs_themselves():
    first, second = draw(1, (4, 1), 0)[:, 0], draw(2, (7, 1), 0)[:, 0]
    ours, theirs = seeded(3).integers(0, 4, (20, 4)), seeded(4).integers(0, 7, (20, 7))
    found = mann_whitney(first, second, counts(ours), counts(theirs))
    for sample in range(20):
        one, other = first[ours[sample]][:, None], second[theirs[sample]][:, None]
        expected = metrics.probability_of_improvement(one, other)
        assert found[sample] == pytest.approx(expected, abs=1e-12)


def test_interquartile_mean_by_hand():
    # of 8 values the middle 4
    assert iqm(np.array([[100.0, 1, 2, 3], [4, 5, 6, -100]])).estimate == 3.5
    # of 5 one is left out at either end
    assert iqm(np.array([[9.0], [1], [2], [4], [3]])).estimate == 3


def test_intervals_are_those_of_all_resamples():
    # two runs a task: the mean of each is 1, 2 or 3 with chances 1/4, 1/2, 1/4
    scores = np.array([[1.0], [3.0]])
    narrow, wide = iqm(scores, confidence=0.4, resamples=4000), iqm(scores, resamples=4000)
    assert (narrow.low, narrow.high) == (2, 2)
    assert (wide.low, wide.high) == (1, 3)
    found = improvement(scores, np.array([[2.0], [2.0]]), resamples=4000)
    assert (found.low, found.estimate, found.high) == (0, 0.5, 1)
    band = performance_profile(scores, [0, 2, 3], generator=seeded(), resamples=4000)
    assert band[["low", "share", "high"]].to_numpy().tolist() == [[1, 1, 1], [0, 0.5, 1], [0, 0, 0]]


def test_equal_scores_have_an_interval_without_width():
    found = iqm(np.full((3, 2), 0.1))
    assert found.low == found.high == pytest.approx(found.estimate, abs=1e-15)


@given(
    shape=SHAPES,
    seed=st.integers(0, 2**32),
    shift=st.integers(-9, 9),
    scale=st.sampled_from([0.5, 2.0, 64.0]),
)
def test_interquartile_mean_follows_unit_and_origin(shape, seed, shift, scale):
    scores = draw(seed, shape)
    plain, moved = iqm(scores), iqm((scores + shift) * scale)
    for end in ("estimate", "low", "high"):
        expected = (getattr(plain, end) + shift) * scale
        assert getattr(moved, end) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_the_order_of_runs_and_tasks_does_not_matter(shape, seed):
    scores = draw(seed, shape)
    mixed = seeded(seed).permuted(scores, axis=0)[:, ::-1]
    assert iqm(mixed).estimate == pytest.approx(iqm(scores).estimate, abs=1e-12)
    reference = draw(seed + 1, shape)
    found = improvement(mixed, reference[:, ::-1]).estimate
    assert found == pytest.approx(improvement(scores, reference).estimate, abs=1e-12)


@given(shape=SHAPES, seed=st.integers(0, 2**32), decimals=st.sampled_from([0, 9]))
def test_the_arms_exchanged_have_the_complement(shape, seed, decimals):
    first, second = draw(seed, shape, decimals), draw(seed + 1, shape, decimals)
    one, other = improvement(first, second), improvement(second, first)
    assert one.estimate + other.estimate == pytest.approx(1, abs=1e-12)
    assert improvement(first, first).estimate == pytest.approx(0.5, abs=1e-12)
    assert improvement(first**3, second**3).estimate == pytest.approx(one.estimate, abs=1e-12)


@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_a_profile_falls_from_one_to_nothing(shape, seed):
    scores = draw(seed, shape)
    levels = np.linspace(scores.min() - 1, scores.max(), 9)
    found = performance_profile(scores, levels, generator=seeded(), resamples=20)
    assert (found["share"].iloc[0], found["share"].iloc[-1]) == (1, 0)
    for column in ("low", "share", "high"):
        assert (np.diff(found[column]) <= 1e-12).all()
    assert (found["low"] <= found["high"]).all()


def test_the_same_seed_gives_the_same_interval_whatever_the_global_state():
    first, second = draw(1, (5, 3)), draw(2, (5, 3))

    def all_of_them(seed):
        return (
            interquartile_mean(first, generator=seeded(seed), resamples=300),
            probability_of_improvement(first, second, generator=seeded(seed), resamples=300),
            performance_profile(first, [0.1], generator=seeded(seed), resamples=300).to_json(),
        )

    np.random.seed(1)  # noqa: NPY002
    one = all_of_them(7)
    np.random.seed(2)  # noqa: NPY002
    assert all_of_them(7) == one
    assert all_of_them(8)[:2] != one[:2]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.empty((0, 2)), "expected 2 dimensions and at least one value"),
        (np.zeros((2, 0)), "expected 2 dimensions and at least one value"),
        (np.zeros(3), r"expected 2 dimensions .* got shape \(3,\)"),
        (np.zeros((1, 3)), "expected 2 or more runs per task"),
        (np.array([[0.1], [math.nan]]), "expected finite numbers"),
        (np.array([["a"], ["b"]]), "expected an array of numbers"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_in_one_line(scores, message):
    for refused in (
        lambda: iqm(scores),
        lambda: improvement(scores, np.zeros((2, 1))),
        lambda: performance_profile(scores, [0.5], generator=seeded()),
    ):
        with pytest.raises(InputError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_other_input_that_cannot_be_used():
    scores = draw(1, (3, 2))
    with pytest.raises(InputError, match="expected 3 tasks as in the reference, got 2"):
        improvement(scores, draw(2, (3, 3)))
    with pytest.raises(InputError, match="confidence"):
        iqm(scores, confidence=1)
    with pytest.raises(InputError, match="resamples"):
        iqm(scores, resamples=0)
    with pytest.raises(InputError, match="thresholds: expected finite"):
        performance_profile(scores, [math.nan], generator=seeded())
    with pytest.raises(InputError, match="thresholds: expected 1 dimension"):
        performance_profile(scores, [], generator=seeded())
