"""What loaders of the body's signals share: one value per second, each person's own scale."""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

# 30 to 220 beats per minute; what is outside is a beat missed or one too many.
_INTERVAL_SECONDS = (60 / 220, 2.0)
_MIN_INTERVALS = 2


def neurokit() -> ModuleType:
    """Return neurokit2; it takes seconds to import, so only what uses it does."""
    with warnings.catch_warnings():
        # It still imports what scipy is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        import neurokit2
    return neurokit2


def second_means(signal: NDArray[np.floating], rate_hz: int) -> NDArray[np.float64]:
    """Return the mean of every whole second of a signal [n], [n // rate_hz]."""
    seconds = len(signal) // rate_hz
    whole = np.asarray(signal[: seconds * rate_hz], dtype=np.float64)
    return whole.reshape(seconds, rate_hz).mean(1)


def heart_rate(beats: NDArray[np.floating], seconds: int) -> NDArray[np.float64] | None:
    """Return the heart rate in the middle of every second, in beats per minute [seconds].

    60 over the interval that ends with a beat, interpolated linearly between beats (before the
    first and after the last the nearest value). Intervals no heart has, below 0.27 s and above
    2 s, are left out. None where fewer than two are left.

    Args:
        beats: times of the beats in seconds, rising.
        seconds: number of seconds of the recording.
    """
    intervals = np.diff(beats)
    low, high = _INTERVAL_SECONDS
    plausible = (intervals >= low) & (intervals <= high)
    if plausible.sum() < _MIN_INTERVALS:
        return None
    middles = np.arange(seconds) + 0.5
    return np.interp(middles, beats[1:][plausible], 60 / intervals[plausible])


def standardised(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the channels of one person's recording [n, channels] with mean 0 and deviation 1.

    People differ more than their states do, and this takes no labels. A channel that never changes
    is 0, as it says nothing and its deviation must not be divided by.
    """
    deviation = signal.std(0)
    return (signal - signal.mean(0)) / np.where(deviation > 0, deviation, 1)
