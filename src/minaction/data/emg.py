"""Muscles: gestures from the electromyogram of the forearm."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.physiology import standardised
from minaction.data.signals import labelled_parts, settled
from minaction.data.sources import refetch_hint
from minaction.data.windows import cut_windows, parts_by_group, window_starts
from minaction.errors import DataFileError

# 0.5 s at about 200 Hz. Balanced accuracy of a linear discriminant on one frame per window, fitted
# to each person's other two sessions: 0.884 with windows of 0.25 s, 0.906 with windows of 0.5 s,
# 0.922 when sessions are standardised. Fitted to the other sessions of all people: 0.572.
_LENGTH = 100
_STEP = 50
# As long as it takes to follow the cue.
_SETTLE = 50
_VERSION = 2


def load_myo_readings(name: str = "myo-readings", root: str | Path | None = None) -> Dataset:
    """Load myo-readings: eight electrodes around the forearm while the hand makes a gesture.

    A sample is [5, 16]: a window of 0.5 s at about 200 Hz as five frames of 0.1 s, each ln(1 + mean
    absolute value) of the eight electrodes and then ln(1 + mean absolute difference of neighbouring
    samples) of the same: the strength of a contraction and, with it, its frequency. The signal
    itself is noise whose variance says what the hand does. Each of the 16 has mean 0 and deviation
    1 over all windows of its session, which takes no labels and nothing of other sessions: skin and
    seat of the armband change from one to the next. Windows overlap by half and lie inside one run
    of a label; the 0.25 s after each change are left out. Rest is 57 % of the samples, so balanced
    accuracy counts.

    Groups are sessions, so nobody's armband is worn in the same place in two parts: test is the
    third session of each of the five people, validation the second of every other person, and
    the rest trains. Everyone tested is known from another session; a person never seen is a
    much harder question, and one network for all people a harder one than a network for each,
    trained on that person's sessions only. The authors chose these sessions for good accuracy.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: a file is missing or damaged, has a row without nine columns, or values
            that no armband sends.
        StorageError: a download could not be written.

    Reference:
        Francic and contributors, myo-readings-dataset, GitHub, 2021-2024.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read(files, spec))
    groups = arrays["groups"]
    sessions = range(int(groups.max()) + 1)
    parts = parts_by_group(
        groups,
        validation=[session for session in sessions if session % 6 == 4],
        test=[session for session in sessions if session % 3 == 2],
    )
    origin = next(iter(files.values())).parents[2]
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, origin, groups)


def _read(files: dict[str, Path], spec: DataSpec) -> Arrays:
    sessions: dict[str, list[Path]] = {}
    for name, path in sorted(files.items()):
        sessions.setdefault(name.split("/")[-2], []).append(path)
    x, y, groups = [], [], []
    for group, paths in enumerate(sessions.values()):
        frames, labels = zip(
            *(_frames(_read_rows(path, spec), spec) for path in paths), strict=True
        )
        session = np.concatenate(frames)
        scaled = standardised(session.reshape(-1, spec.shape[1])).reshape(session.shape)
        x.append(settled(scaled))
        y.append(np.concatenate(labels))
        groups.append(np.full(len(session), group))
    return {
        "x": np.concatenate(x),
        "y": np.concatenate(y).astype(np.int64),
        "groups": np.concatenate(groups).astype(np.int64),
    }


def _frames(
    rows: NDArray[np.int64], spec: DataSpec
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the log amplitudes of a recording's windows and their labels."""
    signal, labels = rows[:, :-1], rows[:, -1]
    changes = np.diff(signal, axis=0, prepend=signal[:1])
    sizes = np.abs(np.concatenate([signal, changes], axis=1)).astype(np.float64)
    starts = window_starts(labels, _LENGTH, _STEP, _SETTLE)
    windows = cut_windows(sizes, starts, _LENGTH)
    amplitudes = windows.reshape(len(starts), spec.shape[0], -1, spec.shape[1]).mean(2)
    return np.log1p(amplitudes), labels[starts]


def _read_rows(path: Path, spec: DataSpec) -> NDArray[np.int64]:
    columns = spec.shape[1] // 2 + 1
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        with warnings.catch_warnings():
            # An empty file is a warning, and refused below.
            warnings.simplefilter("ignore", UserWarning)
            rows = np.loadtxt(
                io.BytesIO(text), delimiter=",", dtype=np.int64, comments=None, ndmin=2
            )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"is a cut or damaged gzip file ({error})") from error
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        problem = str(error).split(";")[0]
        raise _damaged(path, f"is not {columns} columns of integers ({problem})") from error
    if rows.shape[1] != columns or not len(rows):
        raise _damaged(path, f"has {len(rows)} rows of {rows.shape[1]} columns, not {columns}")
    signal, labels = rows[:, :-1], rows[:, -1]
    if signal.min() < -128 or signal.max() > 127:
        raise _damaged(path, f"has values {signal.min()} to {signal.max()}, not -128 to 127")
    if labels.min() < 0 or labels.max() >= spec.classes:
        raise _damaged(path, f"has labels {labels.min()} to {labels.max()}, not 0 to 7")
    return rows


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
