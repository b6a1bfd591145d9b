"""What loaders of recordings share: settled numbers and labelled parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

# Far below the noise of any recording, far above what machines' transforms differ by.
_GRID = 4096


def settled(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return `values` as float32, rounded to the nearest multiple of 1/4096.

    Fourier transforms and matrix products differ in the last bits between machines; rounded to
    this grid their results, and with them a data set's fingerprint, agree.
    """
    return (np.round(np.asarray(values, dtype=np.float64) * _GRID) / _GRID).astype(np.float32)


def labelled_parts(
    spec: DataSpec,
    x: NDArray[np.float32] | NDArray[np.int64],
    y: NDArray[np.int64],
    parts: Mapping[str, NDArray[np.bool_]],
    origin: Path,
    groups: NDArray[np.int64] | None = None,
) -> Dataset:
    """Return the data set whose splits are the given parts of all samples.

    Args:
        spec: what the samples are.
        x: samples [n, *shape].
        y: labels [n].
        parts: masks [n] of train, validation and test.
        origin: file or folder the samples are from, for the message.
        groups: who each sample is from [n], or None.

    Raises:
        DataFileError: a part lacks a class.
    """
    for name, mask in parts.items():
        check_classes(name, y[mask], spec, origin)
    return Dataset.of(
        spec=spec,
        **{name: _split(x[mask], y[mask], groups, mask) for name, mask in parts.items()},
    )


def check_classes(part: str, y: NDArray[np.int64], spec: DataSpec, origin: Path) -> None:
    """Refuse a part that lacks a class.

    Args:
        part: its name.
        y: its labels.
        spec: what the samples are.
        origin: file or folder the samples are from, for the message.

    Raises:
        DataFileError: a class is absent.
    """
    found = np.bincount(y, minlength=spec.classes)
    if absent := [spec.class_names[label] for label in np.flatnonzero(found == 0)]:
        raise DataFileError(
            origin,
            f"has no {part} sample of class {absent[0]!r}; files are missing, "
            f"{refetch_hint(origin)}",
        )


def _split(
    x: NDArray[np.float32] | NDArray[np.int64],
    y: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    mask: NDArray[np.bool_],
) -> Split:
    return Split(
        x=torch.from_numpy(x),
        y=torch.from_numpy(y),
        groups=None if groups is None else torch.from_numpy(groups[mask]),
    )
