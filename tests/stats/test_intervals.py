from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minaction.errors import InputError
from minaction.stats.intervals import (
    mean_interval,
    paired_difference,
    paired_ratio,
    proportion_interval,
    ratio_of_means,
)

# Student (1908), hours of sleep gained by ten patients under two drugs: R's data set `sleep`.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
positive = st.floats(1e-6, 1e6)


def test_mean_interval_of_the_nist_heat_flow_data():
    # NIST/SEMATECH e-Handbook 1.3.5.2: n = 195, mean 9.261460, s 0.022789,
    # 95 % limits 9.258242 and 9.264679. Any sample with these moments has these limits.
    sample = np.random.default_rng(0).normal(size=195)
    sample = 9.261460 + 0.022789 * (sample - sample.mean()) / sample.std(ddof=1)
    interval = mean_interval(sample)
    assert interval.n == 195
    assert interval.low == pytest.approx(9.258242, abs=1e-6)
    assert interval.high == pytest.approx(9.264679, abs=1e-6)


def test_paired_difference_of_the_sleep_data():
    # R: t.test(SLEEP_1, SLEEP_2, paired = TRUE): -1.58, interval -2.4598858 to -0.7001142.
    interval = paired_difference(pd.Series(SLEEP_1), pd.Series(SLEEP_2))
    assert interval.estimate == pytest.approx(-1.58)
    assert interval.low == pytest.approx(-2.4598858, abs=1e-7)
    assert interval.high == pytest.approx(-0.7001142, abs=1e-7)


def test_pairs_are_matched_by_seed_and_not_by_position():
    treatment = pd.Series([30.0, 10.0, 20.0, 99.0], index=[3, 1, 2, 7])
    reference = pd.Series([1.0, 2.0, 3.0, 5.0], index=[1, 2, 3, 9])
    interval = paired_difference(treatment, reference)
    assert interval.n == 3
    assert interval.estimate == pytest.approx(18.0)


def test_a_constant_ratio_has_a_degenerate_interval():
    reference = pd.Series([5.0, 700.0, 0.03])
    interval = paired_ratio(reference / 1000, reference)
    assert [interval.low, interval.estimate, interval.high] == pytest.approx([1e-3] * 3)


def test_ratio_by_hand():
    # log ratios are log 2 and log 8: geometric mean 4; half width t(0.975; 1) * log(4) / 2.
    interval = paired_ratio(pd.Series([2.0, 8.0]), pd.Series([1.0, 1.0]))
    factor = math.exp(12.706204736 * math.log(4) / 2)
    assert interval.estimate == pytest.approx(4.0)
    assert interval.low == pytest.approx(4 / factor)
    assert interval.high == pytest.approx(4 * factor)


def test_one_value_has_an_estimate_and_no_interval():
    interval = mean_interval([3.0])
    assert (interval.n, interval.estimate) == (1, 3.0)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_no_value_has_no_estimate():
    interval = paired_difference(pd.Series([1.0], index=[1]), pd.Series([1.0], index=[2]))
    assert interval.n == 0
    assert math.isnan(interval.estimate)


def test_proportion_interval_by_hand():
    # m 0.98, s 0.01, t(0.975; 2) 4.3026527, h 0.0248414 and h / (0.98 * 0.02) 1.2674159 on the
    # logit of 0.98, 3.8918203; the plain interval would end at 1.0048.
    interval = proportion_interval([0.97, 0.98, 0.99])
    assert (interval.n, interval.estimate) == (3, pytest.approx(0.98))
    assert interval.low == pytest.approx(1 / (1 + math.exp(-3.8918203 + 1.2674159)), abs=1e-7)
    assert interval.high == pytest.approx(1 / (1 + math.exp(-3.8918203 - 1.2674159)), abs=1e-7)
    assert mean_interval([0.97, 0.98, 0.99]).high > 1


def test_a_narrow_interval_of_proportions_is_the_plain_one():
    values = 0.7 + 1e-5 * np.arange(5)
    logit, plain = proportion_interval(values), mean_interval(values)
    assert logit.high - logit.low == pytest.approx(plain.high - plain.low, rel=1e-6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_an_interval_of_proportions_is_within_0_and_1_and_holds_the_mean(values):
    interval = proportion_interval(values)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_equal_proportions_have_a_degenerate_interval(value):
    interval = proportion_interval([value] * 4)
    assert interval.low == interval.estimate == interval.high == value


def test_one_proportion_has_no_interval():
    assert math.isnan(proportion_interval([0.9]).low)


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan])
def test_what_is_no_proportion_is_refused(bad):
    with pytest.raises(InputError, match="values"):
        proportion_interval([0.5, bad])


def test_an_interval_of_proportions_near_1_covers_where_the_plain_one_does_not():
    # accuracies of 3 seeds, beta distributed with mean 0.985 and standard deviation 0.01
    size = 0.985 * 0.015 / 0.01**2 - 1
    samples = np.random.default_rng(0).beta(0.985 * size, 0.015 * size, size=(4000, 3))
    covered = {
        rule: np.mean([(i := rule(s)).low <= 0.985 <= i.high for s in samples])
        for rule in (proportion_interval, mean_interval)
    }
    assert covered[proportion_interval] == pytest.approx(0.95, abs=0.01)
    assert covered[mean_interval] < 0.935


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_missing_values_are_refused_and_not_skipped(bad):
    with pytest.raises(InputError, match="finite"):
        mean_interval([1.0, bad])


def test_bad_arguments():
    with pytest.raises(InputError, match="confidence"):
        mean_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InputError, match="positive"):
        paired_ratio(pd.Series([0.0, 1.0]), pd.Series([1.0, 1.0]))
    with pytest.raises(InputError, match="twice"):
        paired_difference(pd.Series([1.0, 2.0], index=[1, 1]), pd.Series([1.0]))


@given(st.lists(finite, min_size=2, max_size=20), st.floats(0.5, 0.999))
def test_mean_interval_equals_scipy(values, confidence):
    interval = mean_interval(values, confidence)
    error = stats.sem(values)
    if error == 0:
        assert interval.low == interval.high == interval.estimate
        return
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), error)
    assert interval.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert interval.high == pytest.approx(high, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=12))
def test_the_inverse_ratio_has_the_inverted_interval(pairs):
    treatment, reference = (pd.Series(column) for column in zip(*pairs, strict=True))
    if np.log(treatment / reference).std() > 10:
        return
    there, back = paired_ratio(treatment, reference), paired_ratio(reference, treatment)
    assert there.estimate == pytest.approx(1 / back.estimate)
    assert there.low == pytest.approx(1 / back.high)


@given(st.lists(finite, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(values, random):
    treatment = pd.Series(values)
    reference = pd.Series(range(len(values)), dtype=float)
    seeds = list(range(len(values)))
    random.shuffle(seeds)
    assert paired_difference(treatment.loc[seeds], reference) == paired_difference(
        treatment, reference
    )


def test_ratio_of_means_holds_what_a_paired_t_test_does_not_reject():
    generator = np.random.default_rng(3)
    bottom = generator.normal(-5.0, 0.8, size=9)
    top = 0.4 * bottom + generator.normal(0.0, 0.3, size=9)
    interval = ratio_of_means(top, bottom)
    assert interval.n == 9
    assert interval.estimate == pytest.approx(top.mean() / bottom.mean())
    for end in (interval.low, interval.high):
        assert stats.ttest_1samp(top - end * bottom, 0.0).pvalue == pytest.approx(0.05, rel=1e-6)
    inside = (interval.low + interval.high) / 2
    assert stats.ttest_1samp(top - inside * bottom, 0.0).pvalue > 0.05


def test_ratio_of_means_to_a_constant_is_the_scaled_t_interval():
    top = np.array(SLEEP_2)
    scaled, plain = ratio_of_means(top, np.full(10, 4.0)), mean_interval(top / 4)
    assert (scaled.low, scaled.estimate, scaled.high) == pytest.approx(
        (plain.low, plain.estimate, plain.high)
    )


def test_ratio_of_means_has_no_bounded_interval_over_what_may_be_zero():
    interval = ratio_of_means([1.0, 2.0, 3.0], [1.0, -1.0, 0.1])
    assert interval.estimate == pytest.approx(2.0 / (0.1 / 3))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_ratio_of_means_with_too_few_pairs():
    one = ratio_of_means([3.0], [2.0])
    assert (one.n, one.estimate) == (1, 1.5)
    assert math.isnan(one.low)
    none = ratio_of_means([], [])
    assert none.n == 0
    assert math.isnan(none.estimate)


def test_ratio_of_means_refuses_what_it_cannot_divide():
    with pytest.raises(InputError, match="denominator: expected a mean other than 0"):
        ratio_of_means([1.0, 2.0], [1.0, -1.0])
    with pytest.raises(InputError, match="numerator: expected shape"):
        ratio_of_means([1.0], [1.0, 2.0])


@given(
    st.lists(st.tuples(finite, st.floats(1.0, 1e3)), min_size=2, max_size=8),
    st.floats(0.1, 10.0),
)
def test_ratio_of_means_scales_with_the_numerator(pairs, factor):
    top, bottom = (np.array(column) for column in zip(*pairs, strict=True))
    interval, scaled = ratio_of_means(top, bottom), ratio_of_means(factor * top, bottom)
    size = np.abs(top).max() + 1
    assert scaled.estimate == pytest.approx(factor * interval.estimate, abs=1e-9 * size)
    if not math.isnan(interval.low) and not math.isnan(scaled.low):
        assert interval.low <= interval.estimate <= interval.high
