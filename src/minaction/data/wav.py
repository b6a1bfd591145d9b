"""Reading WAV recordings, and their log-mel features."""

from __future__ import annotations

import io
import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.signals import settled
from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

# Speech is taken as stationary for 20 to 40 ms; at 8 kHz this is a power of two.
_WINDOW_SECONDS = 0.032
# Energies more than 60 dB below the loudest are the room and the microphone, not the voice.
_FLOOR_DECIBELS = 60.0
_LOWEST_HZ = 20.0


def read_wav(contents: bytes, path: Path, rate_hz: int) -> NDArray[np.float64]:
    """Return the samples of a mono recording of 16-bit integers, in [-1, 1).

    Args:
        contents: the file.
        path: where it is from, for the message.
        rate_hz: expected sampling rate.

    Raises:
        DataFileError: it is not such a recording, or holds fewer samples than it announces.
    """
    try:
        with wave.open(io.BytesIO(contents)) as file:
            found = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            announced = file.getnframes()
            samples = np.frombuffer(file.readframes(announced), dtype="<i2")
    except (wave.Error, EOFError, ValueError) as error:
        raise DataFileError(
            path, f"is not a WAV recording ({error}); {refetch_hint(path)}"
        ) from error
    if found != (1, 2, rate_hz):
        raise DataFileError(
            path,
            f"has {found[0]} channels of {8 * found[1]} bits at {found[2]} Hz, expected one of "
            f"16 bits at {rate_hz} Hz; {refetch_hint(path)}",
        )
    if len(samples) != announced or not announced:
        raise DataFileError(
            path,
            f"has {len(samples)} samples, its header announces {announced}; {refetch_hint(path)}",
        )
    return samples / 32768.0


def log_mel(
    samples: NDArray[np.float64], rate_hz: int, frames: int, bands: int
) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of one recording, float32 [frames, bands] in [-2, 2].

    `frames` Hann windows of 32 ms, their starts spread evenly from the recording's first sample
    to its last window, so that long and short utterances have the same number of frames. Of each
    the power spectrum |FFT|^2 of twice the window's length, zero-padded, summed in triangular
    bands evenly spaced on the mel scale m(f) = 2595 log10(1 + f / 700) from 20 Hz to half the
    sampling rate. Energies are in decibels below the recording's largest, cut at -60 dB, and
    mapped linearly from [-60, 0] dB to [-2, 2]; so neither loudness nor any statistic of other
    recordings matters.

    Reference:
        Davis, Mermelstein, IEEE Trans. ASSP 28(4):357-366, 1980; O'Shaughnessy, Speech
        Communication, 1987 (the mel formula).
    """
    width = round(_WINDOW_SECONDS * rate_hz)
    padded = np.pad(samples, (0, max(0, width - len(samples))))
    starts = np.round(np.linspace(0, len(padded) - width, frames)).astype(int)
    windows = padded[starts[:, None] + np.arange(width)] * np.hanning(width)
    power = np.abs(np.fft.rfft(windows, 2 * width)) ** 2
    energy = power @ _mel_bands(rate_hz, 2 * width, bands)
    # A silent recording is at the floor everywhere.
    relative = energy / max(float(energy.max()), np.finfo(np.float64).tiny)
    decibels = 10 * np.log10(np.maximum(relative, 10 ** (-_FLOOR_DECIBELS / 10)))
    return settled(4 * decibels / _FLOOR_DECIBELS + 2)


@cache
def _mel_bands(rate_hz: int, points: int, bands: int) -> NDArray[np.float64]:
    """Return the weights of triangular mel bands, [points // 2 + 1, bands]."""
    mel = _mel(np.linspace(0, rate_hz / 2, points // 2 + 1))[:, None]
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(rate_hz / 2), bands + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    return np.clip(np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)), 0, 1)


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)
