from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from minaction.data.events import Events, binned, decode_events, log_counts, simulated_counts
from minaction.errors import DataFileError

PATH = Path("data/n-mnist/Train/3/00008.bin")


def pack(rows):
    """Events (x, y, polarity, microseconds) in the format of N-MNIST."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in rows)


ROWS = [(0, 33, 1, 0), (5, 7, 0, 65_536), (33, 0, 1, 65_536), (2, 2, 0, 8_388_607)]


def test_decodes_what_was_packed():
    events = decode_events(pack(ROWS), PATH, 34)
    found = zip(events.x, events.y, events.polarity, events.microseconds, strict=True)
    assert [tuple(map(int, row)) for row in found] == ROWS
    assert len(events) == 4


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "has no events"),
        (pack(ROWS)[:-1], "has 19 bytes, no whole number of events"),
        (pack([(0, 0, 1, 9), (0, 0, 1, 8)]), "has times out of order at event 1"),
        (pack([(34, 0, 1, 9)]), "outside 34 x 34"),
        (pack([(0, 200, 1, 9)]), "outside 34 x 34"),
    ],
)
def test_names_file_and_fix(contents, problem):
    with pytest.raises(DataFileError) as caught:
        decode_events(contents, PATH, 34)
    message = str(caught.value)
    assert message.startswith(f"{PATH}: ")
    assert problem in message
    assert message.endswith("delete it and run `minaction data fetch n-mnist`")


def test_binned_equals_its_naive_twin():
    generator = np.random.default_rng(0)
    n = 500
    events = Events(
        x=generator.integers(0, 8, n),
        y=generator.integers(0, 8, n),
        polarity=generator.integers(0, 2, n),
        microseconds=np.sort(generator.integers(0, 400, n)),
    )
    expected = np.zeros((3, 2, 4, 4))
    for x, y, p, t in zip(events.x, events.y, events.polarity, events.microseconds, strict=True):
        expected[min(t // 100, 2), p, y // 2, x // 2] += 1
    found = binned(events, 3, 100, 8, 2)
    np.testing.assert_allclose(found, np.log(1 + expected), rtol=1e-6)


def test_log_counts():
    assert log_counts(np.array([[0, 1], [6, 0]])).tolist() == [
        [0, np.float32(math.log(2))],
        [np.float32(math.log(7)), 0],
    ]


def naive_pixel(values, threshold, frames):
    """One pixel, one event at a time."""
    counts = [[0, 0] for _ in range(frames)]
    memory = values[0]
    for step, value in enumerate(values[1:]):
        frame = step * frames // (len(values) - 1)
        while value - memory > threshold - 1e-7:
            memory += threshold
            counts[frame][1] += 1
        while memory - value > threshold - 1e-7:
            memory -= threshold
            counts[frame][0] += 1
    return counts


def test_simulated_sensor_equals_its_naive_twin():
    values = np.cumsum(np.random.default_rng(0).normal(size=(13, 2, 3, 3)), axis=0)
    found = simulated_counts(values, 0.4, 4)
    for n, row, column in np.ndindex(2, 3, 3):
        expected = naive_pixel(values[:, n, row, column], 0.4, 4)
        assert found[n, :, :, row, column].tolist() == expected


def test_constant_light_sends_nothing():
    assert not simulated_counts(np.ones((7, 1, 2, 2)), 0.2, 3).any()
