"""Recordings of event cameras: reading them, binning them, and simulating such a camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

_BYTES_PER_EVENT = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """One recording.

    Attributes:
        x: columns, int64 [n].
        y: rows, int64 [n].
        polarity: 1 where the pixel grew brighter, 0 where darker, int64 [n].
        microseconds: times since the start, int64 [n], never falling.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    polarity: NDArray[np.int64]
    microseconds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)


def decode_events(contents: bytes, path: Path, side: int) -> Events:
    """Return the events of a recording in the format of N-MNIST.

    Five bytes per event: column, row, then the polarity in the highest bit and a time of 23 bits,
    big-endian.

    Args:
        contents: the file.
        path: where it is from, for the message.
        side: height and width of the sensor in pixels.

    Raises:
        DataFileError: the file is cut, holds no event, an event outside the sensor or times out
            of order.

    Reference:
        Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015.
    """
    if len(contents) % _BYTES_PER_EVENT:
        raise _damaged(path, f"has {len(contents)} bytes, no whole number of events of 5 bytes")
    rows = np.frombuffer(contents, dtype=np.uint8).reshape(-1, _BYTES_PER_EVENT).astype(np.int64)
    if not len(rows):
        raise _damaged(path, "has no events")
    x, y, high, middle, low = rows.T
    if max(x.max(), y.max()) >= side:
        raise _damaged(path, f"has an event at ({x.max()}, {y.max()}), outside {side} x {side}")
    microseconds = (high & 0x7F) << 16 | middle << 8 | low
    backwards = np.flatnonzero(np.diff(microseconds) < 0)
    if len(backwards):
        raise _damaged(path, f"has times out of order at event {backwards[0] + 1}")
    return Events(x=x, y=y, polarity=high >> 7, microseconds=microseconds)


def binned(
    events: Events, frames: int, frame_microseconds: int, side: int, cell: int
) -> NDArray[np.float32]:
    """Return ln(1 + number of events) per frame, polarity and cell of pixels.

    The logarithm keeps a few busy cells from drowning the others, and needs no statistic of other
    recordings. Events after the last frame's end count in the last frame.

    Args:
        events: the recording.
        frames: number of frames T.
        frame_microseconds: length of a frame.
        side: height and width of the sensor in pixels.
        cell: height and width of a cell in pixels.

    Returns:
        float32 [T, 2, side / cell, side / cell].
    """
    shape = (frames, 2, side // cell, side // cell)
    frame = np.minimum(events.microseconds // frame_microseconds, frames - 1)
    index = (frame, events.polarity, events.y // cell, events.x // cell)
    counts = np.bincount(np.ravel_multi_index(index, shape), minlength=int(np.prod(shape)))
    return log_counts(counts).reshape(shape)


def log_counts(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return ln(1 + counts) as float32, each value taken from one table."""
    return np.log1p(np.arange(counts.max() + 1)).astype(np.float32)[counts]


def simulated_counts(
    log_intensity: NDArray[np.float64], threshold: float, frames: int
) -> NDArray[np.int64]:
    """Return how many events a simulated sensor sends in each frame.

    Every pixel remembers the logarithm of the intensity at its last event. When the present one
    is k thresholds above (below) it, the pixel sends k brighter (darker) events and moves its
    memory by as many thresholds.

    Args:
        log_intensity: [steps, n, height, width], the first step sets the memories; the steps
            after it are divided evenly among the frames.
        threshold: contrast that makes an event.
        frames: number of frames T.

    Returns:
        int64 [n, T, 2, height, width], polarity 1 = brighter.

    Reference:
        Lichtsteiner, Posch, Delbruck, IEEE J. Solid-State Circuits 43(2):566-576, 2008.
    """
    steps, n, height, width = log_intensity.shape
    counts = np.zeros((n, frames, 2, height, width), dtype=np.int64)
    memory = log_intensity[0].copy()
    for step in range(1, steps):
        change = (log_intensity[step] - memory) / threshold
        # Rounded, so that a machine's last bit does not decide about an event.
        sent = np.trunc(np.round(change, 6))
        memory += sent * threshold
        frame = (step - 1) * frames // (steps - 1)
        counts[:, frame, 1] += np.maximum(sent, 0).astype(np.int64)
        counts[:, frame, 0] += np.maximum(-sent, 0).astype(np.int64)
    return counts


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
