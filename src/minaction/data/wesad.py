"""WESAD: stress and amusement from a chest strap and a wristband."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minaction.data.archives import read_members
from minaction.data.array_pickle import read_array_pickle
from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.physiology import heart_rate, neurokit, second_means, standardised
from minaction.data.signals import labelled_parts, settled
from minaction.data.sources import refetch_hint
from minaction.data.windows import cut_windows, parts_by_group, window_starts
from minaction.errors import DataFileError

_NAME = re.compile(r"(?:.*/)?S(\d+)/S\1\.pkl")
# The authors left out the first and the twelfth, whose sensors failed.
_PEOPLE = (*range(2, 12), *range(13, 18))
_CHEST_HZ, _WRIST_HZ = 700, 4
_CHANNELS = (
    ("chest", "ECG", _CHEST_HZ),
    ("chest", "Resp", _CHEST_HZ),
    ("wrist", "EDA", _WRIST_HZ),
    ("wrist", "TEMP", _WRIST_HZ),
)
# Half a window, so that every second but those at the ends counts twice.
_STEP = 30
_MAX_LABEL = 7
_VERSION = 1


def load_wesad(name: str = "wesad", root: str | Path | None = None) -> Dataset:
    """Load WESAD: a chest strap and a wristband on 15 people at rest, under stress and amused.

    A sample is [60, 4]: 60 s at 1 Hz of heart rate (from the beats neurokit2 finds in the ECG of
    the chest), breathing (chest, mean over each second), skin conductance and skin temperature
    (wrist, means over each second). Windows overlap by half and lie inside one run of a label;
    meditation and what has no label are left out. Each channel has mean 0 and deviation 1 over
    all seconds of its person in the three states. Baseline lasts three times as long as
    amusement, so balanced accuracy counts.

    Groups are people. Test are those whose number is divisible by 5, validation those with a
    remainder of 1, the rest trains.

    Read is `S2/S2.pkl` and so on of the official archive, or of the folder `WESAD` unpacked from
    it. These are pickles, which could run anything: they are read by
    `minaction.data.array_pickle`, which knows arrays only. The archive's own checksums are all
    there are. Reading takes up to 3 GB of memory, once.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: a person is missing; a pickle is damaged or names anything but arrays; a
            signal is missing, has NaN, another length than the labels or no heart beat.
        StorageError: a download could not be written.

    Reference:
        Schmidt, Reiss, Duerichen, Marberger, Van Laerhoven, Introducing WESAD, a Multimodal
        Dataset for Wearable Stress and Affect Detection, ICMI 2018.
    """
    files = fetch_files(name, root)
    (path,) = files.values()
    spec = DataSpec.of_source(name)
    arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read(path, spec))
    groups = arrays["groups"]
    people = np.array(_PEOPLE)
    parts = parts_by_group(groups, people[people % 5 == 1], people[people % 5 == 0])
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, path, groups)


def _read(path: Path, spec: DataSpec) -> Arrays:
    found = {}
    for member, contents in read_members(path, lambda name: _person(name) in _PEOPLE):
        found[_person(member)] = _windows(contents, path / member, spec)
    if missing := [person for person in _PEOPLE if person not in found]:
        raise _damaged(path, f"has no S{missing[0]}/S{missing[0]}.pkl")
    return {
        "x": np.concatenate([found[person][0] for person in _PEOPLE]),
        "y": np.concatenate([found[person][1] for person in _PEOPLE]),
        "groups": np.repeat(_PEOPLE, [len(found[person][1]) for person in _PEOPLE]).astype(
            np.int64
        ),
    }


def _person(name: str) -> int | None:
    matched = _NAME.fullmatch(name)
    return int(matched[1]) if matched else None


def _windows(
    contents: bytes, path: Path, spec: DataSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    recording = read_array_pickle(contents, path)
    labels = _second_labels(_part(recording, ("label",), path), path)
    heart, *others = (
        _signal(recording, device, kind, rate_hz, len(labels), path)
        for device, kind, rate_hz in _CHANNELS
    )
    beats = _heart_rate(heart, len(labels), path)
    means = [
        second_means(signal, rate_hz)
        for signal, (_, _, rate_hz) in zip(others, _CHANNELS[1:], strict=True)
    ]
    signal = np.column_stack([channel[: len(labels)] for channel in (beats, *means)])
    # 1 baseline, 2 stress, 3 amusement: the classes in their order.
    states = (labels >= 1) & (labels <= spec.classes)
    starts = window_starts(labels, spec.shape[0], _STEP)
    starts = starts[states[starts]]
    if not len(starts):
        raise _damaged(path, f"has no {spec.shape[0]} s of baseline, stress or amusement")
    signal[states] = standardised(signal[states])
    return settled(cut_windows(signal, starts, spec.shape[0])), labels[starts] - 1


def _second_labels(label: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Return the label of every second, 0 (none) where it changes within."""
    whole = label.reshape(-1)[: len(label.reshape(-1)) // _CHEST_HZ * _CHEST_HZ]
    if not np.issubdtype(label.dtype, np.integer) or not len(whole):
        raise _damaged(path, f"has labels of type {label.dtype} for {len(whole)} samples")
    if whole.min() < 0 or whole.max() > _MAX_LABEL:
        raise _damaged(path, f"has labels {whole.min()} to {whole.max()}, not 0 to {_MAX_LABEL}")
    seconds = whole.reshape(-1, _CHEST_HZ).astype(np.int64)
    return np.where(seconds.min(1) == seconds.max(1), seconds[:, 0], 0)


def _signal(
    recording: object, device: str, kind: str, rate_hz: int, seconds: int, path: Path
) -> NDArray[np.float64]:
    array = _part(recording, ("signal", device, kind), path)
    what = f"{kind} of the {device}"
    if array.size != len(array) or not np.issubdtype(array.dtype, np.number):
        raise _damaged(path, f"has {what} of shape {array.shape}, expected one column of numbers")
    if abs(len(array) / rate_hz - seconds) >= 2:
        raise _damaged(
            path,
            f"has {len(array) / rate_hz:g} s of {what} at {rate_hz} Hz and {seconds} s of labels",
        )
    signal = array.reshape(-1).astype(np.float64)
    if not np.isfinite(signal).all():
        raise _damaged(path, f"has NaN in {what}")
    # So that all channels have as many whole seconds as the labels.
    return np.pad(signal, (0, max(0, seconds * rate_hz - len(signal))), mode="edge")


def _part(recording: object, keys: tuple[str, ...], path: Path) -> NDArray[Any]:
    found = recording
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise _damaged(path, f"has no {' / '.join(keys)}")
        found = found[key]
    if not isinstance(found, np.ndarray) or not found.ndim:
        raise _damaged(path, f"has a {' / '.join(keys)} that is no array")
    return found


def _heart_rate(ecg: NDArray[np.float64], seconds: int, path: Path) -> NDArray[np.float64]:
    toolbox = neurokit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = toolbox.ecg_clean(ecg, sampling_rate=_CHEST_HZ)
        peaks = toolbox.ecg_findpeaks(clean, sampling_rate=_CHEST_HZ)["ECG_R_Peaks"]
    rate = heart_rate(np.asarray(peaks) / _CHEST_HZ, seconds)
    if rate is None:
        raise _damaged(path, "has no heart beats in ECG of the chest")
    return rate


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
