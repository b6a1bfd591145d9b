from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_samples import (
    MPG_AUTOMATIC,
    MPG_MANUAL,
    SLEEP_1,
    SLEEP_2,
    WEIGHT_AUTOMATIC,
    WEIGHT_MANUAL,
    sample_of,
)
from scipy import integrate, special
from scipy.stats import chi

from minaction.errors import InputError
from minaction.stats.standardized_difference import hedges_g, noncentrality, small_sample_factor

VALUES = st.lists(st.integers(-1000, 1000), min_size=3, max_size=12, unique=True)


def test_two_samples_as_published_by_effectsize():
    # effectsize 1.0.3, tests/testthat/test-cohens_d.R: wt ~ am, to the relative 0.001 they state;
    # Cohen's d with its interval, and Hedges' g, whose interval is that of d times J
    found, factor = hedges_g(WEIGHT_AUTOMATIC, WEIGHT_MANUAL), small_sample_factor(30)
    assert found.n == 32
    assert found.estimate == pytest.approx(1.844, rel=1e-3)
    assert (found.low, found.high) == pytest.approx((1.030, 2.732), rel=1e-3)
    assert found.estimate / factor == pytest.approx(1.892, rel=1e-3)
    assert (factor * found.low, factor * found.high) == pytest.approx((1.004, 2.664), rel=1e-3)


def test_a_negative_difference_as_published_by_effectsize():
    # effectsize 1.0.3, README: mpg ~ am
    found = hedges_g(MPG_AUTOMATIC, MPG_MANUAL)
    assert found.estimate == pytest.approx(-1.44, abs=5e-3)
    assert (found.low, found.high) == pytest.approx((-2.27, -0.67), abs=5e-3)


def test_two_samples_as_published_by_howell():
    # Howell, Confidence intervals on effect size: data of Adams, Wright and Lohr (1996); d = 0.62,
    # as in effsize's tests (testCohenD.R)
    found = hedges_g(sample_of(35, 24, math.sqrt(148.87)), sample_of(29, 16.5, math.sqrt(139.16)))
    assert found.estimate / small_sample_factor(62) == pytest.approx(0.62, abs=5e-3)
    assert (found.low, found.high) == pytest.approx((0.117, 1.126), abs=1e-3)


def test_noncentralities_of_pairs_as_published_by_effsize():
    # effsize 0.8.1, tests/testthat/testCohenD.R: Howell's moon illusion data. It divides the
    # noncentralities by sqrt(n - 1); t = d sqrt(n) makes sqrt(n) the divisor. Its search for them
    # stops 1.5e-6 from where the probability is 0.025
    moon = np.array([1.73, 1.06, 2.03, 1.40, 0.95, 1.13, 1.41, 1.73, 1.63, 1.56])
    found = hedges_g(moon, np.ones(10), paired=True)
    assert found.n == 10
    published = math.sqrt(9 / 10) * np.array([0.4907785, 2.3358769])
    assert (found.low, found.high) == pytest.approx(published, rel=2e-6)
    assert found.estimate / small_sample_factor(9) == pytest.approx(1.359, abs=1e-3)


def test_pairs_as_published_by_toster():
    # TOSTER 0.9.0, vignette "Introduction to t_TOST": Hedges's g(z) of the sleep data
    assert hedges_g(SLEEP_1, SLEEP_2, paired=True).estimate == pytest.approx(-1.174, abs=5e-4)


def test_two_samples_as_published_by_borenstein():
    # Borenstein et al. (2009), Introduction to Meta-Analysis, chapter 4: d = 0.5970; the exact J
    # differs from the book's approximation in the fifth digit
    found = hedges_g(sample_of(50, 103, 5.5), sample_of(50, 100, 4.5))
    assert found.estimate == pytest.approx(0.5924, abs=5e-5)


def noncentral_t_cdf(t: float, df: int, nc: float) -> float:
    """P(T <= t) as the mean of the normal probability over the distribution of the scale."""
    scale = chi(df)
    return integrate.quad(
        lambda u: special.ndtr(t * scale.ppf(u) / math.sqrt(df) - nc), 0, 1, epsabs=1e-9, limit=200
    )[0]


@pytest.mark.parametrize("df", [2, 9, 60])
@pytest.mark.parametrize("t", [-4.0, -0.3, 0.0, 1.7, 40.0])
@pytest.mark.parametrize("p", [0.025, 0.95])
def test_noncentralities_by_integration(df, t, p):
    assert noncentral_t_cdf(t, df, noncentrality(t, df, p)) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize("df", [2, 30, 2000])
@pytest.mark.parametrize("t", [-3000.0, 800.0, 3000.0])
def test_far_noncentralities_are_those_of_the_scale_alone(df, t):
    # the normal part is 1 against t: its share of the spread is df / t² at most
    for p in (0.025, 0.975):
        scale = math.sqrt(special.chdtri(df, p if t > 0 else 1 - p) / df)
        assert noncentrality(t, df, p) == pytest.approx(t * scale, rel=2e-4)


@given(
    first=VALUES,
    second=VALUES,
    shift=st.integers(-100, 100),
    scale=st.sampled_from([0.25, 2.0, 1024.0]),
)
def test_unit_origin_and_order_change_nothing(first, second, shift, scale):
    one, other = np.array(first, np.float64), np.array(second, np.float64)
    plain = hedges_g(one, other)
    moved = hedges_g((one[::-1] + shift) * scale, (other[::-1] + shift) * scale)
    for end in ("estimate", "low", "high"):
        assert getattr(moved, end) == pytest.approx(getattr(plain, end), rel=1e-7, abs=1e-9)


@given(first=VALUES, second=VALUES)
def test_the_arms_exchanged_change_the_sign(first, second):
    one, other = hedges_g(first, second), hedges_g(second, first)
    assert (other.estimate, other.low, other.high) == pytest.approx(
        (-one.estimate, -one.high, -one.low), rel=1e-9, abs=1e-9
    )
    assert one.low < one.estimate < one.high


def test_unequal_sizes_pool_by_degrees_of_freedom():
    # variances 1 of 3 values and 10 of 5: pooled (2 * 1 + 4 * 10) / 6 = 7
    found = hedges_g(sample_of(3, 7, 1), sample_of(5, 0, math.sqrt(10)))
    assert found.estimate / small_sample_factor(6) == pytest.approx(7 / math.sqrt(7))


@pytest.mark.parametrize(
    ("first", "second", "paired", "message"),
    [
        ([], [1, 2], False, "treatment: expected 1 dimension"),
        ([1], [1, 2], False, "treatment: expected 2 or more values, got 1"),
        ([1, 2], [1, math.nan], False, "reference: expected finite numbers"),
        ([1, 2], [1, 3], True, "pairs: expected 3 or more, got 2"),
        ([1, 2, 3], [1, 2], True, "treatment: expected 2 values"),
        ([2, 2], [1, 1], False, "no spread"),
        ([2, 3, 4], [1, 2, 3], True, "no spread"),
        ([1e5, 1e5 + 1], [1, 2], False, "differ by 141420 standard errors"),
    ],
)
def test_what_has_no_g_is_refused_in_one_line(first, second, paired, message):
    with pytest.raises(InputError, match=message) as caught:
        hedges_g(first, second, paired=paired)
    assert "\n" not in str(caught.value)


def test_a_confidence_lies_between_0_and_1():
    with pytest.raises(InputError, match="confidence"):
        hedges_g([1, 2], [3, 4], confidence=95)
