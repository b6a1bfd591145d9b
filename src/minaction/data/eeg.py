"""Brains: rest and mental arithmetic in the electroencephalogram."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts, settled
from minaction.data.sources import refetch_hint
from minaction.data.windows import parts_by_group
from minaction.errors import DataFileError, InputError

_RATE_HZ = 500
_CHANNELS = 19
# As much of both recordings as the shorter one has, so that the classes are equal.
_SECONDS = 60
_WINDOW_SECONDS = 4
# Half-overlapping frames of 1 s resolve the slowest band. Balanced accuracy of a logistic
# regression on subjects left out: 0.680; 0.617 without the standardisation; 0.607 with one frame
# of 4 s.
_FRAME_SECONDS, _HOP_SECONDS = 1, 0.5
# Delta, theta, alpha, beta, and as much of gamma as the authors' 45 Hz filter left.
_BANDS_HZ = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))
_MICROVOLTS_PER_VOLT = 1e6
_VERSION = 1


def load_eegmat(name: str = "eegmat", root: str | Path | None = None) -> Dataset:
    """Load eegmat: the EEG of ten students who rest and then subtract numbers in their heads.

    A sample is [7, 95]: a window of 4 s as seven half-overlapping frames of 1 s (Hann), each the
    natural logarithm of 1 + the power in five bands (delta 1-4, theta 4-8, alpha 8-13, beta 13-30,
    gamma 30-45 Hz, in arbitrary units of squared microvolts) of the 19 scalp channels, channel by
    channel. Each of the 95 has mean 0 and deviation 1 over both recordings of its subject, which
    takes no labels: skulls differ more than states do. Windows do not overlap; used are the last
    60 s of rest and the first 60 s of arithmetic. The ECG channel is left out.

    Rest always came first, so what drifts with time also tells the classes apart.

    Groups are subjects: in their order the last two are the test, the two before them the
    validation, the first six the training part. Ten subjects are few: cross-validate with
    `minaction.data.folds`. Needs the package mne.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        InputError: mne is not installed.
        DataFileError: a recording is missing, cut, damaged, or not 19 channels at 500 Hz.
        StorageError: a download could not be written.

    Reference:
        Zyma et al., Electroencephalograms during Mental Arithmetic Task Performance,
        Data 4(1):14, 2019.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read(files))
    subjects = np.unique(arrays["groups"])
    parts = parts_by_group(arrays["groups"], subjects[-4:-2], subjects[-2:])
    origin = next(iter(files.values())).parent
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, origin, arrays["groups"])


def _read(files: dict[str, Path]) -> Arrays:
    x, y, groups = [], [], []
    for rest in (name for name in files if name.endswith("_1.edf")):
        arithmetic = rest.replace("_1.edf", "_2.edf")
        kept = _RATE_HZ * _SECONDS
        windows = np.concatenate(
            [
                _features(_read_signal(files[rest])[:, -kept:]),
                _features(_read_signal(files[arithmetic])[:, :kept]),
            ]
        )
        x.append(settled((windows - windows.mean((0, 1))) / windows.std((0, 1))))
        y.append(np.repeat([0, 1], len(windows) // 2))
        groups.append(np.full(len(windows), int(rest[len("Subject") :][:2])))
    return {
        "x": np.concatenate(x),
        "y": np.concatenate(y).astype(np.int64),
        "groups": np.concatenate(groups).astype(np.int64),
    }


def _features(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log power of [channels, samples], as [windows, frames, channels * bands]."""
    frame, hop = round(_RATE_HZ * _FRAME_SECONDS), round(_RATE_HZ * _HOP_SECONDS)
    windows = signal.reshape(len(signal), -1, _RATE_HZ * _WINDOW_SECONDS)
    frames = np.lib.stride_tricks.sliding_window_view(windows, frame, axis=2)[:, :, ::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(frame))) ** 2
    hertz = np.fft.rfftfreq(frame, 1 / _RATE_HZ)
    bands = [power[..., (hertz >= low) & (hertz < high)].mean(-1) for low, high in _BANDS_HZ]
    # [bands, channels, windows, frames] to [windows, frames, channels, bands].
    features = np.log1p(np.stack(bands)).transpose(2, 3, 1, 0)
    return features.reshape(*features.shape[:2], -1)


def _read_signal(path: Path) -> NDArray[np.float64]:
    """Return the scalp channels in microvolts, [19, samples]."""
    try:
        import mne
    except ModuleNotFoundError as error:
        raise InputError(
            "eegmat needs mne; install with: pip install 'minaction[physiology]'"
        ) from error

    try:
        with warnings.catch_warnings():
            # What mne warns of and then guesses: a header that does not fit the file.
            warnings.simplefilter("error", RuntimeWarning)
            raw = mne.io.read_raw_edf(path, preload=True, verbose="warning")
            signal = np.asarray(raw.get_data()) * _MICROVOLTS_PER_VOLT
    # mne raises whatever the damage leads to: its own errors, of NumPy, of text.
    except Exception as error:
        problem = (str(error) or type(error).__name__).splitlines()[0].replace(";", ",")
        raise _damaged(path, f"is a cut or damaged EDF file ({problem})") from error
    scalp = [
        index
        for index, channel in enumerate(raw.ch_names)
        if channel.startswith("EEG ") and channel != "EEG A2-A1"
    ]
    if len(scalp) != _CHANNELS or raw.info["sfreq"] != _RATE_HZ:
        found = f"{len(scalp)} scalp channels at {raw.info['sfreq']:g} Hz"
        raise _damaged(path, f"has {found}, expected {_CHANNELS} at {_RATE_HZ} Hz")
    if signal.shape[1] < _RATE_HZ * _SECONDS:
        seconds = signal.shape[1] / _RATE_HZ
        raise _damaged(path, f"lasts {seconds:g} s, expected at least {_SECONDS} s")
    signal = signal[scalp]
    if not np.isfinite(signal).all() or (signal.std(1) == 0).any():
        raise _damaged(path, "has a channel without a signal")
    return signal


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
