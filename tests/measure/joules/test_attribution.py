"""Shares of a fused group: they add up exactly, and say that they are shares."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minaction.errors import InputError
from minaction.measure.joules.attribution import attribute
from minaction.measure.joules.reading import Reading, Source, Validity

GROUP = Reading(
    value=10.0, unit="joules", source=Source.COUNTER, scope="gpu 0", window_seconds=7.0, idle=2.0
)


def test_runs_get_their_share_of_the_macs():
    shares = attribute(GROUP, {"a": 1e9, "b": 3e9})
    assert {run: (r.value, r.idle, r.above_idle) for run, r in shares.items()} == {
        "a": (2.5, 0.5, 2.0),
        "b": (7.5, 1.5, 6.0),
    }


def test_shares_are_marked_and_keep_where_the_joules_come_from():
    share = attribute(replace(GROUP, source=Source.MODEL), {"a": 1.0})["a"]
    assert share.attributed
    assert not GROUP.attributed
    assert (share.source, share.scope, share.window_seconds) == (Source.MODEL, "gpu 0", 7.0)


@given(
    value=st.floats(1e-12, 1e12),
    macs=st.lists(st.floats(1, 1e9), min_size=1, max_size=60),
    seed=st.randoms(use_true_random=False),
)
def test_shares_add_up_exactly_in_any_order(value, macs, seed):
    shares = attribute(replace(GROUP, value=value), {str(i): m for i, m in enumerate(macs)})
    values = [share.value for share in shares.values()]
    part = value * 2**-52  # the smallest that is dealt out
    for share, count in zip(values, macs, strict=True):
        assert share == pytest.approx(value * count / math.fsum(macs), rel=1e-12, abs=part)
    seed.shuffle(values)
    assert sum(values) == value
    assert list(itertools.accumulate(values))[-1] == value


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=20))
def test_the_order_of_the_runs_does_not_matter(macs):
    assume(len(set(macs)) == len(macs))
    forwards = attribute(GROUP, {str(m): m for m in macs})
    backwards = attribute(GROUP, {str(m): m for m in reversed(macs)})
    for run, share in forwards.items():
        assert backwards[run].value == pytest.approx(share.value, rel=1e-9)


def test_a_group_that_was_not_measured_gives_no_run_joules():
    lost = replace(GROUP, value=None, validity=Validity.LOST, reason="gone")
    for share in attribute(lost, {"a": 1, "b": 2}).values():
        assert (share.value, share.reason, share.attributed) == (None, "gone", True)


@pytest.mark.parametrize(
    ("macs", "problem"),
    [
        ({}, "macs is empty"),
        ({"a": 0}, "run 'a' has 0 MACs"),
        ({"a": 1, "b": -2}, "run 'b' has -2 MACs"),
        ({"a": float("nan")}, "run 'a' has nan MACs"),
        ({"a": float("inf")}, "run 'a' has inf MACs"),
        ({"a": 1e-30, "b": 1e30}, "the share of run 'a' is too small to be told"),
        ({"b": 1e30, "a": 1e-30}, "the share of run 'a' is too small to be told"),
    ],
)
def test_shares_that_cannot_be_told(macs, problem):
    with pytest.raises(InputError, match=problem):
        attribute(GROUP, macs)
