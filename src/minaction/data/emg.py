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
from minaction.data.signals import labelled_parts
from minaction.data.sources import refetch_hint
from minaction.data.windows import cut_windows, parts_by_group, window_starts
from minaction.errors import DataFileError

# 0.25 s at about 200 Hz. Balanced validation accuracy of extremely randomised trees on three
# log amplitudes per channel: 0.866 with windows of 0.25 s, 0.889 with windows of 0.5 s.
_STEP = 50
# As long as it takes to follow the cue.
_SETTLE = 50
# About the standard deviation of all samples, which are -128 to 127; a power of two is exact.
_SCALE = 16
_VERSION = 1


def load_myo_readings(name: str = "myo-readings", root: str | Path | None = None) -> Dataset:
    """Load myo-readings: eight electrodes around the forearm while the hand makes a gesture.

    A sample is [100, 8]: 0.5 s at about 200 Hz of the raw signal divided by 16, about its
    standard deviation. Windows overlap by half and lie inside one run of a label; the 0.25 s after
    each change are left out. Rest is 57 % of the samples, so balanced accuracy counts.

    Groups are sessions, so nobody's armband is worn in the same place in two parts: test is the
    third session of each of the five people, validation the second of every other person, and
    the rest trains. Everyone tested is known from another session; a person never seen is a
    much harder question. The authors chose these sessions for good accuracy.

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
    sessions = sorted({name.split("/")[-2] for name in files})
    x, y, groups = [], [], []
    for name, path in sorted(files.items()):
        rows = _read_rows(path, spec)
        labels = rows[:, -1]
        starts = window_starts(labels, spec.shape[0], _STEP, _SETTLE)
        x.append(cut_windows(rows[:, :-1].astype(np.float32) / _SCALE, starts, spec.shape[0]))
        y.append(labels[starts])
        groups.append(np.full(len(starts), sessions.index(name.split("/")[-2])))
    return {
        "x": np.concatenate(x).astype(np.float32),
        "y": np.concatenate(y).astype(np.int64),
        "groups": np.concatenate(groups).astype(np.int64),
    }


def _read_rows(path: Path, spec: DataSpec) -> NDArray[np.int64]:
    columns = spec.shape[1] + 1
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
