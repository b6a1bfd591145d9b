from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minaction.data.windows import cut_windows, parts_by_group, window_starts


def naive_starts(labels, length, step, settle):
    found, begin = [], 0
    for i in range(1, len(labels) + 1):
        if i == len(labels) or labels[i] != labels[i - 1]:
            start = begin + (settle if begin else 0)
            while start + length <= i:
                found.append(start)
                start += step
            begin = i
    return found


@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=8),
    length=st.integers(1, 5),
    step=st.integers(1, 5),
    settle=st.integers(0, 4),
)
def test_window_starts_like_the_naive_twin(runs, length, step, settle):
    labels = np.repeat(*zip(*runs, strict=True))
    starts = window_starts(labels, length, step, settle)
    assert starts.tolist() == naive_starts(labels, length, step, settle)
    for start in starts:
        assert len(set(labels[start : start + length])) == 1


def test_cut_windows():
    signal = np.arange(20.0).reshape(10, 2)
    windows = cut_windows(signal, np.array([0, 7]), 3)
    assert np.array_equal(windows, [signal[0:3], signal[7:10]])


def test_parts_by_group():
    parts = parts_by_group(np.array([0, 1, 2, 1, 3]), validation=[1], test=[3])
    assert parts["train"].tolist() == [True, False, True, False, False]
    assert parts["validation"].tolist() == [False, True, False, True, False]
    assert parts["test"].tolist() == [False, False, False, False, True]
