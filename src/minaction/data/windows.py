"""Windows of recordings, and parts of a data set by who was recorded."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def window_starts(
    labels: NDArray[np.integer], length: int, step: int, settle: int = 0
) -> NDArray[np.int64]:
    """Return where the windows of a labelled recording start, [windows].

    A window lies inside one run of equal labels, as the label of any other is not known. Windows
    are laid from the front of each run, every `step` samples, as long as they fit.

    Args:
        labels: label of every sample [n].
        length: samples of a window.
        step: samples from one window to the next.
        settle: samples left out after each change of the label, while the person follows.
    """
    changes = np.flatnonzero(np.diff(labels)) + 1
    bounds = [0, *changes.tolist(), len(labels)]
    starts = [
        np.arange(start + (settle if start else 0), end - length + 1, step)
        for start, end in pairwise(bounds)
    ]
    return np.concatenate(starts).astype(np.int64)


def cut_windows(
    signal: NDArray[np.floating], starts: NDArray[np.int64], length: int
) -> NDArray[np.floating]:
    """Return the windows of a recording [n, channels], as [windows, length, channels]."""
    return signal[starts[:, None] + np.arange(length)]


def parts_by_group(
    groups: NDArray[np.int64], validation: Collection[int], test: Collection[int]
) -> dict[str, NDArray[np.bool_]]:
    """Return the masks of train, validation and test when whole groups are held out.

    Args:
        groups: who or what each sample is from [n].
        validation: groups that are validated on.
        test: groups that are tested on; the rest trains.
    """
    in_validation = np.isin(groups, list(validation))
    in_test = np.isin(groups, list(test))
    return {"train": ~in_validation & ~in_test, "validation": in_validation, "test": in_test}
