from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_samples import SLEEP_1, SLEEP_2, sample_of
from scipy import stats

from minaction.errors import InputError
from minaction.stats.equivalence import equivalence_test, noninferiority_test

VALUES = st.lists(st.integers(-1000, 1000), min_size=3, max_size=12, unique=True)


def test_welch_as_published_by_toster():
    # TOSTER 0.9.0, vignette "Introduction to t_TOST": sleep data, eqb = 0.5
    found = equivalence_test(SLEEP_1, SLEEP_2, margin=0.5, paired=False)
    assert found.n == 20
    assert found.difference == pytest.approx(-1.58)
    assert found.t_lower == pytest.approx(-1.2719, abs=5e-5)
    assert found.t_upper == pytest.approx(-2.450, abs=5e-4)
    assert found.df == pytest.approx(17.776, abs=5e-4)
    assert found.p_lower == pytest.approx(0.8901, abs=5e-5)
    assert found.p_upper == pytest.approx(0.012, abs=5e-4)
    assert found.p == found.p_lower
    assert (found.low, found.high) == pytest.approx((-3.0533815, -0.1066185), abs=5e-8)
    assert not found.equivalent


def test_pairs_as_published_by_toster():
    # TOSTER 0.9.0, vignette "Introduction to t_TOST": sleep data, paired = TRUE, eqb = 0.5
    found = equivalence_test(SLEEP_1, SLEEP_2, margin=0.5, paired=True)
    assert (found.n, found.df) == (10, 9)
    assert found.t_lower == pytest.approx(-2.7766, abs=5e-5)
    assert found.t_upper == pytest.approx(-5.348, abs=5e-4)
    assert found.p == pytest.approx(0.9892, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-2.2930053, -0.8669947), abs=5e-8)


def test_equivalence_as_published_for_two_samples():
    # example of Lakens (2017), Soc Psychol Personal Sci 8(4); figures of TOSTER's own tests
    # (test-known_results.R: TOSTtwo.raw), 7 digits
    first, second = sample_of(95, 5.25, 0.95), sample_of(89, 5.22, 0.83)
    found = equivalence_test(first, second, margin=0.384, paired=False)
    assert found.t_lower == pytest.approx(3.153015, abs=5e-7)
    assert found.p_lower == pytest.approx(0.0009458745, abs=5e-11)
    assert found.t_upper == pytest.approx(-2.696056, abs=5e-7)
    assert found.p_upper == pytest.approx(0.003838994, abs=5e-10)
    assert found.df == pytest.approx(181.1344, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.1870843, 0.2470843), abs=5e-8)
    assert found.equivalent


def test_equivalence_as_published_for_pairs():
    # TOSTER's documentation of TOSTpaired, figures of its own tests (test-known_results.R)
    spread = math.sqrt(1.17**2 + 1.29**2 - 2 * 0.75 * 1.17 * 1.29)
    differences = sample_of(65, 0.08, spread)
    found = equivalence_test(differences, np.zeros(65), margin=0.4 * spread, paired=True)
    assert found.t_lower == pytest.approx(3.960381, abs=5e-7)
    assert found.p_lower == pytest.approx(0.00009531728, abs=5e-12)
    assert found.t_upper == pytest.approx(-2.489426, abs=5e-7)
    assert found.p_upper == pytest.approx(0.00770235, abs=5e-9)
    assert found.df == 64
    assert found.equivalent


def test_noninferiority_is_one_of_the_two_tests():
    both = equivalence_test(SLEEP_2, SLEEP_1, margin=0.5, paired=True)
    one = noninferiority_test(SLEEP_2, SLEEP_1, margin=0.5, paired=True)
    assert (one.t, one.p, one.lower) == (both.t_lower, both.p_lower, both.low)
    assert (one.n, one.df, one.difference) == (10, 9, both.difference)
    assert one.non_inferior
    assert not both.equivalent


@given(first=VALUES, second=VALUES, margin=st.integers(1, 500))
def test_welch_agrees_with_scipy(first, second, margin):
    found = noninferiority_test(first, second, margin=margin, paired=False)
    scipy = stats.ttest_ind(
        np.array(first) + margin, second, equal_var=False, alternative="greater"
    )
    assert found.t == pytest.approx(scipy.statistic, rel=1e-9, abs=1e-12)
    assert found.p == pytest.approx(scipy.pvalue, rel=1e-9, abs=1e-300)
    assert found.df == pytest.approx(scipy.df, rel=1e-9)


@given(pairs=st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=3))
def test_pairs_agree_with_scipy(pairs):
    first, second = np.array(pairs, np.float64).T
    if np.ptp(first - second) == 0:
        return
    found = noninferiority_test(first, second, margin=2, paired=True)
    scipy = stats.ttest_rel(first + 2, second, alternative="greater")
    assert found.t == pytest.approx(scipy.statistic, rel=1e-9, abs=1e-12)
    assert found.p == pytest.approx(scipy.pvalue, rel=1e-9, abs=1e-300)


@given(
    first=VALUES,
    second=VALUES,
    margin=st.integers(1, 500),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_equivalent_is_where_the_interval_lies_within_the_margins(first, second, margin, alpha):
    found = equivalence_test(first, second, margin=margin, paired=False, alpha=alpha)
    assert found.equivalent == (-margin < found.low and found.high < margin)
    assert found.equivalent == (found.p < alpha)


@given(
    first=VALUES,
    second=VALUES,
    shift=st.integers(-100, 100),
    scale=st.sampled_from([0.25, 2.0, 1024.0]),
    paired=st.booleans(),
)
def test_unit_origin_and_order_change_nothing(first, second, shift, scale, paired):
    if paired:
        n = min(len(first), len(second))
        first, second = first[:n], second[:n]
        if np.ptp(np.subtract(first, second)) == 0:
            return
    one, other = np.array(first, np.float64), np.array(second, np.float64)
    plain = equivalence_test(one, other, margin=3, paired=paired)
    moved = equivalence_test(
        (one[::-1] + shift) * scale,
        (other[::-1] + shift) * scale,
        margin=3 * scale,
        paired=paired,
    )
    assert moved.p == pytest.approx(plain.p, rel=1e-6, abs=1e-300)
    assert moved.low == pytest.approx(plain.low * scale, rel=1e-9, abs=1e-6 * scale)


@given(first=VALUES, second=VALUES)
def test_the_arms_exchanged_exchange_the_tests(first, second):
    one = equivalence_test(first, second, margin=20, paired=False)
    other = equivalence_test(second, first, margin=20, paired=False)
    assert other.difference == pytest.approx(-one.difference)
    assert (other.t_lower, other.p_lower) == pytest.approx((-one.t_upper, one.p_upper))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert other.equivalent == one.equivalent


def test_series_are_paired_by_seed_whatever_their_order():
    reference = pd.Series(SLEEP_1, index=range(10))
    treatment = pd.Series(SLEEP_2, index=range(10)).sample(frac=1, random_state=1)
    found = equivalence_test(treatment, reference, margin=0.5, paired=True)
    assert found == equivalence_test(SLEEP_2, SLEEP_1, margin=0.5, paired=True)


def test_seeds_that_only_one_arm_has_are_left_out_and_n_says_so():
    reference = pd.Series(SLEEP_1, index=range(10))
    treatment = pd.Series(SLEEP_2, index=range(10)).iloc[:8]
    assert noninferiority_test(treatment, reference, margin=0.5, paired=True).n == 8


@pytest.mark.parametrize("test", [equivalence_test, noninferiority_test])
@pytest.mark.parametrize(
    ("first", "second", "paired", "message"),
    [
        ([], [1, 2], False, "treatment: expected 1 dimension and at least one value"),
        ([1, 2], [], True, "reference: expected 1 dimension and at least one value"),
        ([1], [1, 2], False, "treatment: expected 2 or more values, got 1"),
        ([1, 2], [1], True, "reference: expected 2 or more values, got 1"),
        ([1, math.nan], [1, 2], False, "treatment: expected finite numbers"),
        ([1, 2], [1, math.inf], True, "reference: expected finite numbers"),
        ([1, 2, 3], [1, 2], True, "treatment: expected 2 values as in the reference, got 3"),
        ([2, 3, 4], [1, 2, 3], True, "all differences are equal"),
        ([2, 2], [1, 1], False, "all values of each sample are equal"),
        (["a", "b"], [1, 2], False, "treatment: expected an array of numbers"),
        ([[1, 2], [3, 4]], [1, 2], False, r"treatment: expected 1 dimension .* got shape \(2, 2\)"),
        (pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0], index=[1, 5]), True, "pairs: expected 2"),
        (pd.Series([1.0, 2.0], index=[1, 1]), pd.Series([1.0, 2.0]), True, "a seed occurs twice"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(test, first, second, paired, message):
    with pytest.raises(InputError, match=message) as caught:
        test(first, second, margin=1, paired=paired)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("test", [equivalence_test, noninferiority_test])
@pytest.mark.parametrize("margin", [0, -1, math.nan, math.inf])
def test_a_margin_has_to_be_positive(test, margin):
    with pytest.raises(InputError, match="margin: expected a positive, finite number"):
        test(SLEEP_1, SLEEP_2, margin=margin, paired=True)


@pytest.mark.parametrize("test", [equivalence_test, noninferiority_test])
@pytest.mark.parametrize("alpha", [0, 0.5, math.nan])
def test_a_level_lies_between_0_and_one_half(test, alpha):
    with pytest.raises(InputError, match="alpha: expected a level"):
        test(SLEEP_1, SLEEP_2, margin=1, paired=True, alpha=alpha)
