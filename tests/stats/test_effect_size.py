from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minaction.errors import InputError
from minaction.stats.effect_size import partial_eta_squared, partial_omega_squared


def test_limits_of_a_published_noncentrality_interval():
    # effectsize 0.8.3: F_to_eta2(4.106991094, 2, 54, ci = 0.95, alternative = "two.sided").
    eta = partial_eta_squared(4.106991094, 2, 54, 60)
    assert eta.estimate == pytest.approx(0.1320279124)
    assert (eta.low, eta.high) == pytest.approx((0.001465562343, 0.2949720238), rel=1e-3)


@given(
    f=st.floats(0, 200),
    df=st.integers(1, 30),
    df_error=st.integers(1, 3000),
    confidence=st.floats(0.5, 0.99),
)
def test_the_limits_are_where_the_noncentral_f_has_its_tails(f, df, df_error, confidence):
    n = df + df_error + 1
    eta = partial_eta_squared(f, df, df_error, n, confidence)
    tail = (1 - confidence) / 2
    for end, p in ((eta.low, 1 - tail), (eta.high, tail)):
        nc = end / (1 - end) * df_error
        if nc > 0:
            assert stats.ncf.cdf(f, df, df_error, nc) == pytest.approx(p, abs=1e-6)
        else:
            assert stats.f.cdf(f, df, df_error) <= p + 1e-9


def test_conventions_differ_by_their_denominators():
    eta = {
        name: partial_eta_squared(8.0, 2, 50, 60, convention=name)
        for name in ("effectsize", "smithson", "steiger")
    }
    nc = {
        name: eta[name].high / (1 - eta[name].high) * extra
        for name, extra in (("effectsize", 50), ("smithson", 53), ("steiger", 60))
    }
    assert nc["effectsize"] == pytest.approx(nc["smithson"]) == pytest.approx(nc["steiger"])


def test_omega_squared_has_the_interval_of_the_population_share():
    omega = partial_omega_squared(8.0, 2, 50, 60)
    eta = partial_eta_squared(8.0, 2, 50, 60, convention="steiger")
    assert (omega.low, omega.high) == (eta.low, eta.high)
    assert omega.estimate == pytest.approx(14 / 74)


def test_an_f_below_one_has_a_negative_omega_squared_and_an_interval_from_zero():
    omega = partial_omega_squared(0.5, 2, 50, 60)
    assert omega.estimate < 0 == omega.low < omega.high


def test_an_f_near_zero_has_the_interval_at_zero():
    eta = partial_eta_squared(1e-5, 2, 50, 60)
    assert (eta.low, eta.high) == (0.0, 0.0)


def test_large_samples_and_effects_keep_their_digits():
    eta = partial_eta_squared(1e6, 1, 10**6, 10**6 + 2)
    assert eta.estimate == pytest.approx(0.5)
    # normal approximation: sd(nc) = sqrt(4 nc + 2 nc^2 / df_error)
    assert eta.high - eta.low == pytest.approx(2 * 1.96 * 6**0.5 * 1e6**0.5 / 4e6, rel=1e-2)


def test_confidence_must_be_a_share():
    with pytest.raises(InputError, match="confidence: expected a number between 0 and 1, got 0"):
        partial_omega_squared(1.0, 1, 10, 12, confidence=0)
