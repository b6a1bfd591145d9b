"""Counters that start again, watts that are added up, and domains that hold one another."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import MeterLostError
from minaction.measure.joules.meters import Integrated, Unwrapped, not_nested


@given(
    steps=st.lists(st.integers(0, 999), min_size=1, max_size=50),
    begin=st.integers(0, 999),
)
def test_a_counter_that_starts_again_is_followed_exactly(steps, begin):
    counter = Unwrapped("it", wraps_at=1000)
    truth = begin
    counter.add(truth % 1000, 0.0)
    for i, step in enumerate(steps):
        truth += step
        assert counter.add(truth % 1000, i + 1.0) == truth - begin


def test_a_counter_without_a_range_that_falls_was_reset():
    counter = Unwrapped("it")
    counter.add(10, 0)
    with pytest.raises(MeterLostError, match="it fell from 10 to 9: it was reset"):
        counter.add(9, 1)


@pytest.mark.parametrize("count", [-1, 1001, math.nan])
def test_a_counter_beyond_its_range_is_not_believed(count):
    with pytest.raises(MeterLostError, match="beyond its range of 1000"):
        Unwrapped("it", wraps_at=1000).add(count, 0)


def test_a_counter_that_may_have_started_again_twice_is_not_believed():
    counter = Unwrapped("it", wraps_at=1000, most_per_second=100)
    counter.add(0, 0)
    assert counter.add(500, 8.0) == 500
    with pytest.raises(MeterLostError, match=r"cannot be told over 9\.5 s"):
        counter.add(600, 17.5)


def test_a_counter_that_was_reset_runs_faster_than_it_can():
    counter = Unwrapped("it", wraps_at=1000, most_per_second=100)
    counter.add(600, 0)
    with pytest.raises(MeterLostError, match="been reset"):
        counter.add(10, 1.0)  # 410 in a second, if it had started again by itself


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 300)), min_size=2, max_size=30))
def test_watts_become_joules_by_trapezoids(samples):
    power = Integrated("it", max_gap_seconds=math.inf)
    now, exact, last = Fraction(0), Fraction(0), None
    for gap, watts in samples:
        now += Fraction(gap, 64)  # exact in binary
        if last is not None:
            exact += (last + watts) * Fraction(gap, 128)
        last = watts
        total = power.add(float(watts), float(now))
    assert total == exact


def test_watts_that_were_not_read_for_too_long_are_no_joules():
    power = Integrated("the sensor", max_gap_seconds=1.0)
    power.add(100, 0)
    power.add(100, 1.0)
    with pytest.raises(MeterLostError, match=r"the sensor was not read for 1\.5 s"):
        power.add(100, 2.5)


def test_domains_inside_others_are_not_added():
    names = ["package-0", "package-0/core", "package-0/dram", "package-1", "psys", "gpu-0"]
    assert not_nested(names) == ["package-0", "package-1", "gpu-0"]
