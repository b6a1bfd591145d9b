from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from minaction.errors import InputError
from minaction.stats.dominance import cliffs_delta, dominance, model_variance

# the example of Macbeth, Razumiejczyk and Ledesma (2011), Cliff's Delta Calculator, Universitas
# Psychologica 10(2), and of R's effsize
TREATMENT = np.array([10, 10, 20, 20, 20, 30, 30, 30, 40, 50])
CONTROL = np.array([10, 20, 30, 40, 40, 50])

VALUES = st.lists(st.integers(-50, 50), min_size=2, max_size=12)


def matrix(first, second) -> np.ndarray:
    """Cliff's dominance matrix, value by value."""
    return np.array([[int(x > y) - int(x < y) for y in second] for x in first], np.float64)


def test_delta_as_published_by_effsize():
    # effsize 0.8.1, tests/testthat/testCliff.R
    found = cliffs_delta(TREATMENT, CONTROL)
    assert (found.n, found.estimate) == (16, -0.25)
    found = cliffs_delta([10, 20, 20, 20, 30, 30, 30, 40, 50, 100], CONTROL)
    assert found.estimate == pytest.approx(-0.06666, abs=1e-5)


@pytest.mark.parametrize("chance", [0.5, 0.7, 0.95])
def test_the_variance_of_the_model_is_that_of_exponential_samples(chance):
    # X of rate 1 - chance exceeds Y of rate chance so often; both of two X exceed one Y with
    # E exp(-2 (1 - chance) Y), one X exceeds both of two Y with E (1 - exp(-chance X))^2
    n = 7
    two_first = chance / (chance + 2 * (1 - chance))
    two_second = 1 - 2 * (1 - chance) + (1 - chance) / (1 - chance + 2 * chance)
    exact = chance * (1 - chance) + (n - 1) * (two_first + two_second - 2 * chance**2)
    assert model_variance(2 * chance - 1, n, n) == pytest.approx(4 * exact / n**2, rel=1e-12)
    # with samples of two sizes the terms of both have the same weight, whatever their order
    assert model_variance(2 * chance - 1, 4, 10) * 40 == pytest.approx(
        model_variance(2 * chance - 1, n, n) * 49
    )


@given(first=VALUES, second=VALUES)
def test_mean_signs_are_those_of_the_dominance_matrix(first, second):
    signs = matrix(first, second)
    assert dominance(np.array(first), np.array(second)) == pytest.approx(signs.mean(1))
    assert dominance(np.array(second), np.array(first)) == pytest.approx(-signs.mean(0))


@given(first=VALUES, second=VALUES)
def test_the_ends_solve_the_equation_of_the_score(first, second):
    if min(first + second) == max(first + second):
        return
    found, signs = cliffs_delta(first, second), matrix(first, second)
    (n, m), delta = signs.shape, signs.mean()
    rho = 1.0
    if abs(delta) < 1:
        estimated = signs.mean(1).var(ddof=1) / n + signs.mean(0).var(ddof=1) / m
        rho = np.clip(estimated / model_variance(delta, n, m), 1 / 5, 5) ** (1 / 3)
    for end in (found.low, found.high):
        reach = special.ndtri(0.975) ** 2 * rho * model_variance(end, n, m)
        assert (delta - end) ** 2 == pytest.approx(reach, abs=1e-9)


def test_samples_that_do_not_overlap_by_hand():
    # (1 - d)(9 - d^2) = z^2 (1 + d)((9 - d^2) + (n + m - 2)(3 - d^2)) / (n m)
    found = cliffs_delta([4, 5, 6, 7], [1, 2, 3])
    assert (found.estimate, found.high) == (1, 1)
    d, z = found.low, special.ndtri(0.975)
    assert (1 - d) * (9 - d**2) == pytest.approx(
        z**2 * (1 + d) * ((9 - d**2) + 5 * (3 - d**2)) / 12, abs=1e-9
    )
    other = cliffs_delta([1, 2, 3], [4, 5, 6, 7])
    assert (other.low, other.high) == (-1, pytest.approx(-d))
    assert cliffs_delta([2, 2], [1, 1]).high == 1


@given(first=VALUES, second=VALUES, offset=st.integers(-20, 20))
def test_the_unit_may_change_by_any_increasing_function(first, second, offset):
    if min(first + second) == max(first + second):
        return
    one, other = np.array(first, np.float64), np.array(second, np.float64)
    plain = cliffs_delta(one, other)
    moved = cliffs_delta(one[::-1] ** 3 + offset, other**3 + offset)
    for end in ("estimate", "low", "high"):
        assert getattr(moved, end) == pytest.approx(getattr(plain, end), abs=1e-12)
    assert -1 <= plain.low <= plain.estimate <= plain.high <= 1


@given(first=VALUES, second=VALUES)
def test_the_arms_exchanged_change_the_sign(first, second):
    if min(first + second) == max(first + second):
        return
    one, other = cliffs_delta(first, second), cliffs_delta(second, first)
    assert (other.estimate, other.low, other.high) == pytest.approx(
        (-one.estimate, -one.high, -one.low), abs=1e-12
    )


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [1, 2], "treatment: expected 1 dimension"),
        ([1, 2], [1], "reference: expected 2 or more values, got 1"),
        ([1, math.nan], [1, 2], "treatment: expected finite numbers"),
        ([1, 1], [1, 1, 1], "all are equal"),
    ],
)
def test_what_has_no_delta_is_refused_in_one_line(first, second, message):
    with pytest.raises(InputError, match=message) as caught:
        cliffs_delta(first, second)
    assert "\n" not in str(caught.value)
