"""Spiking Heidelberg Digits: spoken digits as the spikes of a model cochlea."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minaction.data.archives import read_members
from minaction.data.dataset import Dataset, DataSpec
from minaction.data.events import log_counts
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts
from minaction.data.sources import refetch_hint
from minaction.data.split import stratified_holdout
from minaction.errors import DataFileError, InputError

_UNITS = 700
# The longest recording lasts 1.4 s.
_SECONDS = 1.4
_VALIDATION_EVERY = 10
_DATASETS = ("spikes/times", "spikes/units", "labels")
_VERSION = 1


def load_shd(name: str = "shd", root: str | Path | None = None) -> Dataset:
    """Load the Spiking Heidelberg Digits: 8156 + 2264 spoken digits, German and English.

    A sample is [50, 140]: ln(1 + spikes) in 50 steps of 28 ms and 140 groups of five neighbouring
    units of the 700. Test is the official test file; it holds two speakers who are not in the
    training file beside others who are, so there are no groups. Validation is a fixed, stratified
    10 % of the training file. Needs the package h5py.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        InputError: h5py is not installed.
        DataFileError: a file is missing, damaged or lacks a data set; a recording has no spikes
            or spikes outside the 700 units.
        StorageError: a download could not be written.

    Reference:
        Cramer, Stradmann, Schemmel, Zenke, The Heidelberg Spiking Data Sets for the Systematic
        Evaluation of Spiking Neural Networks, IEEE TNNLS 33(7):2744-2757, 2022.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read(files, spec))
    test = arrays["test"] == 1
    validation = np.zeros(len(test), dtype=np.bool_)
    official = np.flatnonzero(~test)
    validation[official[stratified_holdout(arrays["y"][official], _VALIDATION_EVERY)]] = True
    parts = {"train": ~test & ~validation, "validation": validation, "test": test}
    origin = next(iter(files.values())).parent
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, origin)


def _read(files: dict[str, Path], spec: DataSpec) -> Arrays:
    train, test = (_read_file(path, spec) for path in files.values())
    return {
        "x": np.concatenate([train[0], test[0]]),
        "y": np.concatenate([train[1], test[1]]),
        "test": np.repeat([0, 1], [len(train[1]), len(test[1])]).astype(np.int64),
    }


def _read_file(path: Path, spec: DataSpec) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise InputError(
            "shd needs h5py; install with: pip install 'minaction[neuromorphic]'"
        ) from error

    try:
        with h5py.File(_opened(path), "r") as file:
            if absent := [key for key in _DATASETS if not isinstance(file.get(key), h5py.Dataset)]:
                raise _damaged(path, f"has no data set {absent[0]!r}")
            times, units, labels = (np.asarray(file[key]) for key in _DATASETS)
    except OSError as error:
        raise _damaged(path, f"is not an HDF5 file ({error})".replace("\n", " ")) from error
    if not len(times) == len(units) == len(labels):
        raise _damaged(path, f"has {len(times)} times, {len(units)} units and {len(labels)} labels")
    if not np.issubdtype(labels.dtype, np.integer):
        raise _damaged(path, f"has labels of type {labels.dtype}, expected integers")
    y = labels.astype(np.int64)
    if len(y) and not 0 <= y.min() <= y.max() < spec.classes:
        raise _damaged(path, f"has labels {y.min()} to {y.max()}, expected 0 to 19")
    rows = zip(times, units, strict=True)
    x = [_binned(path, i, t, u, spec.shape) for i, (t, u) in enumerate(rows)]
    if not x:
        raise _damaged(path, "holds no recordings")
    return np.stack(x), y


def _opened(path: Path) -> Path | io.BytesIO:
    if path.suffix == ".h5":
        return path
    for _, contents in read_members(path, lambda name: name.endswith(".h5")):
        return io.BytesIO(contents)
    raise _damaged(path, "holds no .h5 file")


def _binned(
    path: Path, index: int, times: Any, units: Any, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    steps, groups = shape
    seconds, unit = np.asarray(times, dtype=np.float64), np.asarray(units)
    if not len(seconds) or len(seconds) != len(unit):
        problem = "no spikes" if not len(seconds) else "not one unit per spike"
        raise _damaged(path, f"recording {index} has {problem}")
    if not np.isfinite(seconds).all() or seconds.min() < 0:
        raise _damaged(path, f"recording {index} has a time that is negative or not finite")
    if not np.issubdtype(unit.dtype, np.integer) or not 0 <= unit.min() <= unit.max() < _UNITS:
        raise _damaged(path, f"recording {index} has a spike outside units 0 to {_UNITS - 1}")
    step = np.minimum((seconds * (steps / _SECONDS)).astype(np.int64), steps - 1)
    cell = step * groups + unit.astype(np.int64) * groups // _UNITS
    return log_counts(np.bincount(cell, minlength=steps * groups)).reshape(shape)


def _damaged(path: Path, problem: str) -> DataFileError:
    return DataFileError(path, f"{problem}; {refetch_hint(path)}")
