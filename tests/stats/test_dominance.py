from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from minaction.errors import InputError
from minaction.stats.dominance import asymmetric, cliffs_delta, dominance, variance

# the example of Macbeth, Razumiejczyk and Ledesma (2011), Cliff's Delta Calculator, Universitas
# Psychologica 10(2), and of R's effsize
TREATMENT = np.array([10, 10, 20, 20, 20, 30, 30, 30, 40, 50])
CONTROL = np.array([10, 20, 30, 40, 40, 50])

VALUES = st.lists(st.integers(-50, 50), min_size=2, max_size=12)


def matrix(first, second) -> np.ndarray:
    """Cliff's dominance matrix, value by value."""
    return np.array([[int(x > y) - int(x < y) for y in second] for x in first], np.float64)


def naive_variance(first, second) -> float:
    signs = matrix(first, second)
    (n, m), delta = signs.shape, signs.mean()
    rows = sum((row.mean() - delta) ** 2 for row in signs) / (n - 1)
    columns = sum((column.mean() - delta) ** 2 for column in signs.T) / (m - 1)
    single = sum((sign - delta) ** 2 for sign in signs.flat) / ((n - 1) * (m - 1))
    return ((m - 1) * rows + (n - 1) * columns + single) / (n * m)


def test_delta_and_its_variance_as_published_by_effsize():
    # effsize 0.8.1, tests/testthat/testCliff.R and the comments of R/CliffDelta.R: the three terms
    found = cliffs_delta(TREATMENT, CONTROL)
    assert (found.n, found.estimate) == (16, -0.25)
    rows, ties = dominance(TREATMENT, CONTROL)
    columns, _ = dominance(CONTROL, TREATMENT)
    published = (5 * 0.2669753 + 9 * 0.447 + 1.0055556) / 60
    assert variance(rows, columns, ties) == pytest.approx(published, abs=1e-7)


def test_the_interval_as_published_by_effsize():
    # effsize 0.8.1, tests/testthat/testCliff.R: from the unbiased variance
    signs = matrix(TREATMENT, CONTROL)
    rows = ((signs.mean(1) + 0.25) ** 2).sum()
    columns = ((signs.mean(0) + 0.25) ** 2).sum()
    unbiased = (36 * rows + 100 * columns - ((signs + 0.25) ** 2).sum()) / (10 * 6 * 9 * 5)
    quantile = special.stdtrit(14, 0.975)
    published = (-0.7265846, 0.3890062)
    assert asymmetric(-0.25, quantile**2 * unbiased) == pytest.approx(published, abs=5e-8)


def test_another_delta_as_published_by_effsize():
    # effsize 0.8.1, tests/testthat/testCliff.R
    found = cliffs_delta([10, 20, 20, 20, 30, 30, 30, 40, 50, 100], CONTROL)
    assert found.estimate == pytest.approx(-0.06666, abs=1e-5)


@given(first=VALUES, second=VALUES)
def test_delta_and_variance_are_those_of_the_dominance_matrix(first, second):
    rows, ties = dominance(np.array(first), np.array(second))
    columns, same = dominance(np.array(second), np.array(first))
    signs = matrix(first, second)
    assert rows == pytest.approx(signs.mean(1))
    assert columns == pytest.approx(-signs.mean(0))
    assert ties == same == (signs == 0).sum()
    expected = naive_variance(first, second)
    assert variance(rows, columns, ties) == pytest.approx(expected, abs=1e-12)


def test_samples_that_do_not_overlap_by_hand():
    # (k - t²) / (k + t²), k the smaller sample, t(0.975; 5) = 2.570582: documentation of R's orddom
    t = 2.570582
    found = cliffs_delta([1, 2, 3], [4, 5, 6, 7])
    assert (found.estimate, found.low) == (-1, -1)
    assert found.high == pytest.approx(-(3 - t**2) / (3 + t**2), abs=1e-6)
    other = cliffs_delta(np.arange(100), np.arange(100) + 100.0)
    assert (other.low, other.high) == (-1, pytest.approx(-0.925, abs=5e-4))
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
