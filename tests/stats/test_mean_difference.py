from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from minaction.stats.mean_difference import MeanDifference


def test_bounds_are_the_ends_of_the_two_sided_interval_of_twice_the_level():
    values = np.array([1.0, 2, 4, 8])
    found = MeanDifference.paired(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.lower(0.05), found.upper(0.05)) == pytest.approx((low, high))


def test_both_tests_of_a_bound_share_all_probability():
    found = MeanDifference.welch(np.array([1.0, 2, 4, 8]), np.array([3.0, 1, 1]))
    assert found.p_above(0.3) + found.p_below(0.3) == pytest.approx(1)
    assert found.p_above(found.estimate) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-100, 1e-9, 1e100])
def test_degrees_of_freedom_do_not_depend_on_the_unit(scale):
    first, second = np.array([1.0, 2, 4, 8]), np.array([3.0, 1, 1])
    expected = stats.ttest_ind(first, second, equal_var=False).df
    assert MeanDifference.welch(first * scale, second * scale).df == pytest.approx(expected)


def test_without_spread_p_values_are_limits():
    found = MeanDifference.paired(np.array([0.5, 0.5]))
    assert (found.p_above(0.4), found.p_below(0.4)) == (0, 1)
    assert (found.p_above(0.6), found.p_below(0.6)) == (1, 0)
    assert (found.p_above(0.5), found.p_below(0.5)) == (1, 1)
    assert (found.lower(0.05), found.upper(0.05)) == (0.5, 0.5)
    assert math.isnan(found.t(0.5))
