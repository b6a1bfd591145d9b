"""Wearables: stress from what a wristband measures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.physiology import second_means, standardised
from minaction.data.signals import labelled_parts, settled
from minaction.data.sources import refetch_hint
from minaction.data.windows import cut_windows, parts_by_group, window_starts
from minaction.errors import DataFileError

_LABELS = "Improved_All_Combined_hr_rsp_binary.csv"
_COLUMNS = ("Participant", "HR", "respr", "Time(sec)", "Label")
_RATE_HZ = 4
# Half a window, so that every second but those at the ends counts twice.
_STEP = 30
# More of a person's recording than this must not be filled in.
_MAX_MISSING = 0.01
_VERSION = 1


def load_stress_predict(name: str = "stress-predict", root: str | Path | None = None) -> Dataset:
    """Load Stress-Predict: a wristband on 34 people who rest and do stressful tasks in turn.

    A sample is [60, 5]: 60 s at 1 Hz of heart rate, breathing rate, skin conductance, skin
    temperature and interval between beats. Windows overlap by half and lie inside one run of a
    label. Conductance and temperature, sent at 4 Hz, are means over each second; the intervals
    are interpolated linearly between the beats that the wristband was sure of. Each channel has
    mean 0 and deviation 1 over all labelled seconds of its person, which takes no labels: what
    is left are changes within a person.

    NaN: the heart rate lacks a second here and there (44 in all). Up to 1 % of a person's seconds
    are interpolated linearly in time (at the ends the nearest value); more are refused, and so
    is any other channel with a NaN.

    Groups are people. Test are those whose number is divisible by 5, validation those with a
    remainder of 1, the rest trains. The first of the 35 people has no labels.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: a file is missing or damaged, lacks columns, has too many NaN or a time
            out of order.
        StorageError: a download could not be written.

    Reference:
        Iqbal et al., Stress Monitoring Using Wearable Sensors: A Pilot Study and Stress-Predict
        Dataset, Sensors 22(21):8135, 2022.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read(files, spec.shape[0]))
    groups = arrays["groups"]
    people = np.unique(groups)
    parts = parts_by_group(groups, people[people % 5 == 1], people[people % 5 == 0])
    origin = next(iter(files.values())).parents[1]
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, origin, groups)


def _read(files: dict[str, Path], length: int) -> Arrays:
    table = _read_labels(files[f"Processed_data/{_LABELS}"])
    x, y, groups = [], [], []
    for person in np.unique(table[:, 0]).astype(np.int64).tolist():
        folder = f"Raw_data/S{person:02}"
        if f"{folder}/EDA.csv" not in files:
            path = files[f"Processed_data/{_LABELS}"]
            raise _damaged(path, f"has a participant {person}, who has no recordings")
        _, rate, breathing, second, label = table[table[:, 0] == person].T
        channels = (
            _filled(rate, files[f"Processed_data/{_LABELS}"], person),
            breathing,
            *(_read_seconds(files[f"{folder}/{kind}.csv"], second) for kind in ("EDA", "TEMP")),
            _read_intervals(files[f"{folder}/IBI.csv"], second),
        )
        signal = standardised(np.column_stack(channels))
        labels = label.astype(np.int64)
        starts = window_starts(labels, length, _STEP)
        x.append(settled(cut_windows(signal, starts, length)))
        y.append(labels[starts])
        groups.append(np.full(len(starts), person))
    return {
        "x": np.concatenate(x),
        "y": np.concatenate(y).astype(np.int64),
        "groups": np.concatenate(groups).astype(np.int64),
    }


def _read_labels(path: Path) -> NDArray[np.float64]:
    """Return person, heart rate, breathing rate, time and label of every second, [n, 5]."""
    # Imported here, as it takes half a second that no other data set should pay.
    import pandas as pd

    try:
        table = pd.read_csv(io.BytesIO(_contents(path)))
    except (ValueError, pd.errors.ParserError) as error:
        raise _damaged(path, f"is not a table ({str(error).splitlines()[0]})") from error
    if absent := [column for column in _COLUMNS if column not in table]:
        raise _damaged(path, f"has no column {absent[0]!r}")
    columns = [np.asarray(pd.to_numeric(table[key], errors="coerce")) for key in _COLUMNS]
    rows = np.column_stack(columns).astype(np.float64)
    person, rate, _, second, label = rows.T
    if not np.isfinite(np.delete(rows, 1, axis=1)).all() or np.isinf(rate).any():
        raise _damaged(path, "has NaN or text outside the heart rate")
    if not len(rows) or not np.isin(label, (0, 1)).all():
        raise _damaged(path, "has labels other than 0 and 1, or none")
    if ((np.diff(second) <= 0) & (np.diff(person) == 0)).any():
        raise _damaged(path, "has times out of order")
    return rows


def _filled(rate: NDArray[np.float64], path: Path, person: int) -> NDArray[np.float64]:
    known = np.isfinite(rate)
    if known.mean() < 1 - _MAX_MISSING:
        raise _damaged(path, f"lacks {(~known).mean():.0%} of the heart rate of {person}")
    index = np.arange(len(rate))
    return np.interp(index, index[known], rate[known])


def _read_seconds(path: Path, second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of every second of a signal sent at 4 Hz."""
    rows = _numbers(path, 1)[:, 0]
    if len(rows) < 2 + _RATE_HZ or rows[1] != _RATE_HZ:
        raise _damaged(path, f"is not a recording of at least a second at {_RATE_HZ} Hz")
    means = second_means(rows[2:], _RATE_HZ)
    return np.interp(second, rows[0] + np.arange(len(means)) + 0.5, means)


def _read_intervals(path: Path, second: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = _numbers(path, 2)
    if len(rows) < 2:
        raise _damaged(path, "has no intervals between beats")
    start, (after, interval) = rows[0, 0], rows[1:].T
    if (np.diff(after) <= 0).any():
        raise _damaged(path, "has times out of order")
    return np.interp(second, start + after, interval)


def _numbers(path: Path, columns: int) -> NDArray[np.float64]:
    # The header of the intervals names them in its second column.
    text = _contents(path).replace(b" IBI", b"0")
    try:
        rows = [[float(value) for value in line.split(b",")] for line in text.splitlines() if line]
    except ValueError as error:
        raise _damaged(path, f"is not a table of numbers ({error})") from error
    if not rows or any(len(row) != columns for row in rows):
        raise _damaged(path, f"has rows without {columns} columns, or none")
    numbers = np.array(rows)
    if not np.isfinite(numbers).all():
        raise _damaged(path, "has NaN")
    return numbers


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
