from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.report.paper.axes import (
    MOST_TICKS,
    arms,
    linear_limits,
    log_limits,
    power,
    short_number,
    short_ticks,
)


@given(low=st.floats(1e-9, 1e9), factor=st.floats(1.02, 40))
def test_short_axes_have_a_few_round_ticks(low, factor):
    limits = (low, low * factor)
    ticks = short_ticks(limits)
    assert 2 <= len(ticks) <= MOST_TICKS
    assert all(limits[0] <= tick <= limits[1] for tick in ticks)
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("limits", "ticks"),
    [((7, 30), [10, 20]), ((60, 250), [100, 200]), ((1.1, 1.9), [1.1, 1.4, 1.7])],
)
def test_ticks_by_hand(limits, ticks):
    assert short_ticks(limits) == pytest.approx(ticks)


def test_limits_leave_room():
    low, high = log_limits([0.0, 1.0, 100.0])
    assert 0.5 < low < 1
    assert 100 < high < 200
    assert linear_limits([3.0]) == (2.5, 3.5)


def test_a_missing_end_has_no_arm():
    found = arms(
        [
            {"estimate": 2.0, "low": 1.0, "high": 4.0},
            {"estimate": 2.0, "low": None, "high": None},
        ]
    )
    assert np.array_equal(found, [[1, math.nan], [2, math.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (1e-3, "$10^{-3}$"), (2.5e-5, r"$2.5\times10^{-5}$"), ("budget", "budget")],
)
def test_lambdas_are_mathematics(value, written):
    assert power(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0.2, "0.2"), (50, "50"), (13_000, "13,000"), (2e7, r"$2\times10^{7}$")]
)
def test_ticks_are_short(value, written):
    assert short_number(value) == written
