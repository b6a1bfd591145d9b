"""Event-camera data: N-MNIST, and digits moved past a simulated sensor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.archives import read_members
from minaction.data.dataset import Dataset, DataSpec
from minaction.data.events import binned, decode_events, log_counts, simulated_counts
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts
from minaction.data.sources import refetch_hint
from minaction.data.split import stratified_holdout
from minaction.errors import DataFileError

_SIDE = 34
_CELL = 2
# Three saccades of about 105 ms, three frames each.
_FRAME_MICROSECONDS = 35_000
_VALIDATION_EVERY = 10
_RECORDINGS = {"Train": 60_000, "Test": 10_000}
_NAME = re.compile(r"(?:.*/)?(Train|Test)/(\d)/(\d+)\.bin")
_VERSION = 1

_SENSOR = 16
_PIXELS_PER_DIGIT_PIXEL = 1.5
# Corners of the saccades' triangle, in pixels from the middle (row, column).
_CORNERS = ((-1.5, -1.5), (1.5, 0.0), (-1.5, 1.5), (-1.5, -1.5))
_STEPS_PER_SACCADE = 12
# Of the logarithm of intensity: about a fifth brighter or darker makes an event, as of a sensor.
_THRESHOLD = 0.2
# Grey levels are 0 to 16; a tenth of the largest stands for the light of the background.
_BACKGROUND = 1.6
_TEST_EVERY = 5


def load_n_mnist(name: str, root: str | Path | None = None) -> Dataset:
    """Load N-MNIST: handwritten digits on a screen, seen by a moving event camera.

    A sample is [9, 2, 17, 17]: nine frames of 35 ms, three to each saccade, two polarities
    (darker, brighter), and the 34 x 34 pixels in cells of 2 x 2; see
    `minaction.data.events.binned`. Test is the official test part; validation a fixed,
    stratified 10 % of the official training part. `n-mnist` holds the 1000 + 100 recordings
    of the images 1 to 1000 and 1 to 100, `n-mnist-full` all 60000 + 10000, whose binned frames
    (1.5 GB) are kept in the user's cache.

    Args:
        name: `n-mnist` or `n-mnist-full`.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: recordings are missing, cut, without events or out of order.
        StorageError: a download could not be written.

    Reference:
        Orchard, Jayawant, Cohen, Thakor, Converting static image datasets to spiking
        neuromorphic datasets using saccades, Frontiers in Neuroscience 9:437, 2015.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    if name == "n-mnist":
        recordings = {file: path.read_bytes() for file, path in files.items()}
        folder = next(iter(files.values())).parents[2]
        arrays = _arranged(_binned(recordings.items(), folder, spec), folder)
    else:
        folder = next(iter(files.values())).parent
        arrays = parsed(name, _VERSION, file_checksums(files), lambda: _read_full(files, spec))
    test = arrays["test"] == 1
    validation = np.zeros(len(test), dtype=np.bool_)
    official = np.flatnonzero(~test)
    validation[official[stratified_holdout(arrays["y"][official], _VALIDATION_EVERY)]] = True
    parts = {"train": ~test & ~validation, "validation": validation, "test": test}
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, folder)


def load_saccade_digits(name: str = "saccade-digits", root: str | Path | None = None) -> Dataset:
    """Load scikit-learn's digits as a simulated event camera sees them: the N-MNIST protocol.

    A digit of 8 x 8 grey levels, enlarged 1.5-fold by linear interpolation, moves in three
    saccades along a triangle past a sensor of 16 x 16 pixels, which sends events by
    `minaction.data.events.simulated_counts`. A sample is [9, 2, 16, 16]: ln(1 + events) in nine
    frames, three to each saccade, and two polarities (darker, brighter). The digits are real,
    the sensor is simulated. Test is a fixed, stratified 20 %; validation a fixed, stratified 10 %
    of the rest: the same digits as in `digits`.

    Args:
        name: name of the data set.
        root: not needed, as the data come with scikit-learn.

    Reference:
        Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015.
    """
    # Imported here, as scikit-learn takes a second that no other data set should pay.
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    spec = DataSpec.of_source(name)
    intensity = _BACKGROUND + _saccades(np.asarray(pixels).reshape(-1, 8, 8))
    counts = simulated_counts(np.log(intensity), _THRESHOLD, spec.shape[0])
    y = np.asarray(labels, dtype=np.int64)
    test = stratified_holdout(y, _TEST_EVERY)
    validation = np.zeros(len(y), dtype=np.bool_)
    rest = np.flatnonzero(~test)
    validation[rest[stratified_holdout(y[rest], _VALIDATION_EVERY)]] = True
    parts = {"train": ~test & ~validation, "validation": validation, "test": test}
    return labelled_parts(spec, log_counts(counts), y, parts, Path(name))


def _saccades(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the sensor sees at every step, [steps + 1, n, 16, 16]."""
    path = [np.array(_CORNERS[0])]
    for start, end in pairwise(_CORNERS):
        share = np.arange(1, _STEPS_PER_SACCADE + 1)[:, None] / _STEPS_PER_SACCADE
        path.extend(np.array(start) + share * (np.array(end) - np.array(start)))
    return np.stack([_hat(row) @ pixels @ _hat(column).T for row, column in path])


def _hat(shift: float) -> NDArray[np.float64]:
    """Return the weights of linear interpolation at a shift, [sensor pixels, digit pixels]."""
    middle = (_SENSOR - 1) / 2
    position = (np.arange(_SENSOR) - middle - shift) / _PIXELS_PER_DIGIT_PIXEL + 3.5
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(8)))


def _read_full(files: dict[str, Path], spec: DataSpec) -> Arrays:
    found = {}
    for part, path in zip(_RECORDINGS, files.values(), strict=True):
        members = read_members(
            path, lambda name, part=part: name.endswith(".bin") and f"{part}/" in name
        )
        found |= _binned(members, path, spec)
        number = sum(key[0] == part for key in found)
        if number != _RECORDINGS[part]:
            raise DataFileError(
                path,
                f"has {number} recordings of {part}, expected {_RECORDINGS[part]}; "
                f"{refetch_hint(path)}",
            )
    return _arranged(found, next(iter(files.values())))


def _binned(
    recordings: Iterable[tuple[str, bytes]], folder: Path, spec: DataSpec
) -> dict[tuple[str, int, int], NDArray[np.float32]]:
    found = {}
    for name, contents in recordings:
        matched = _NAME.fullmatch(name)
        if matched is not None:
            events = decode_events(contents, folder / name, _SIDE)
            key = matched[1], int(matched[2]), int(matched[3])
            found[key] = binned(events, spec.shape[0], _FRAME_MICROSECONDS, _SIDE, _CELL)
    return found


def _arranged(found: dict[tuple[str, int, int], NDArray[np.float32]], folder: Path) -> Arrays:
    if not found:
        raise DataFileError(folder, f"holds no recordings; {refetch_hint(folder)}")
    keys = sorted(found)
    return {
        "x": np.stack([found[key] for key in keys]),
        "y": np.array([label for _, label, _ in keys], dtype=np.int64),
        "test": np.array([part == "Test" for part, _, _ in keys], dtype=np.int64),
    }
