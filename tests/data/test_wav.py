from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from minaction.data.wav import log_mel, read_wav
from minaction.errors import DataFileError

RATE = 8000
PATH = Path("data/fsdd/recordings/0_x_0.wav")


def pack(samples, rate=RATE, channels=1, width=2):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype=f"<i{width}").tobytes())
    return stream.getvalue()


def tone(hertz, seconds=0.5, rate=RATE, loudness=0.5):
    return loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_reads_what_was_written():
    samples = np.array([0, 1, -1, 32767, -32768])
    assert np.array_equal(read_wav(pack(samples), PATH, RATE), samples / 32768)


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "is not a WAV recording"),
        (b"RIFF....WAVE", "is not a WAV recording"),
        (pack([1, 2])[:30], "is not a WAV recording"),
        (pack([1, 2, 3, 4])[:-4], "has 2 samples, its header announces 4"),
        (pack([]), "has 0 samples"),
        (pack([1, 2], rate=16000), "at 16000 Hz, expected one of 16 bits at 8000 Hz"),
        (pack([1, 2], channels=2), "has 2 channels"),
        (pack([1, 2], width=4), "of 32 bits"),
    ],
)
def test_names_file_and_fix(contents, problem):
    with pytest.raises(DataFileError) as caught:
        read_wav(contents, PATH, RATE)
    message = str(caught.value)
    assert message.startswith(f"{PATH}: ")
    assert problem in message
    assert message.endswith("delete it and run `minaction data fetch fsdd`")
    assert "\n" not in message


def naive_log_mel(samples, frames, bands):
    """One frame, one band, one frequency at a time."""
    width = 256
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    edges = [mel(20) + i * (mel(RATE / 2) - mel(20)) / (bands + 1) for i in range(bands + 2)]
    energy = np.zeros((frames, bands))
    for t in range(frames):
        start = round(t * (len(samples) - width) / (frames - 1))
        spectrum = np.fft.fft(samples[start : start + width] * np.hanning(width), 512)
        for k in range(257):
            m = mel(k * RATE / 512)
            for b in range(bands):
                rise = (m - edges[b]) / (edges[b + 1] - edges[b])
                fall = (edges[b + 2] - m) / (edges[b + 2] - edges[b + 1])
                energy[t, b] += max(0, min(rise, fall)) * abs(spectrum[k]) ** 2
    decibels = 10 * np.log10(energy / energy.max())
    return np.maximum(decibels, -60) / 15 + 2


def test_equals_its_naive_twin():
    samples = np.random.default_rng(0).normal(size=3000) * tone(300, 3000 / RATE)
    found = log_mel(samples, RATE, 12, 8)
    assert np.abs(found - naive_log_mel(samples, 12, 8)).max() <= 0.5001 / 4096


def test_a_tone_is_loudest_in_its_band():
    peaks = [log_mel(tone(hertz), RATE, 8, 24).mean(0).argmax() for hertz in (200, 800, 2500)]
    assert peaks == sorted(set(peaks))


def test_loudness_and_length_do_not_matter():
    quiet, loud = tone(440, loudness=0.01), tone(440, loudness=0.9)
    assert np.abs(log_mel(quiet, RATE, 8, 24) - log_mel(loud, RATE, 8, 24)).max() < 1e-3
    assert log_mel(tone(440, 0.3), RATE, 8, 24).shape == log_mel(tone(440, 2), RATE, 8, 24).shape


@pytest.mark.parametrize("samples", [np.zeros(1), np.zeros(4000), np.ones(100)])
def test_silent_and_short_recordings_are_finite(samples):
    features = log_mel(samples, RATE, 8, 24)
    assert features.shape == (8, 24)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 2
