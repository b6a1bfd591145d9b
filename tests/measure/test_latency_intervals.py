"""Bootstrap intervals of medians."""

from __future__ import annotations

import numpy as np
import pytest

from minaction.measure.intervals import median_interval


def test_the_interval_holds_the_median_and_is_the_same_every_time():
    values = [3.0, 1.0, 2.0, 10.0, 2.5]
    low, high = median_interval(values)
    assert low <= 2.5 <= high
    np.random.seed(1)  # noqa: NPY002  (somebody else's state)
    assert median_interval(values) == (low, high)


def test_one_value_is_its_own_interval():
    assert median_interval([4.0]) == (4.0, 4.0)


@pytest.mark.slow
def test_it_covers_the_true_median_about_as_often_as_it_says():
    draws = np.random.default_rng(7).exponential(size=(1000, 41))
    covered = [low <= np.log(2) <= high for low, high in map(median_interval, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
