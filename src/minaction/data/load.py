"""One function for every data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minaction.data.builtin import load_digits
from minaction.data.dataset import Dataset
from minaction.data.sources import source_of
from minaction.data.vision import load_idx_images

LOADERS: dict[str, Callable[[str, str | Path | None], Dataset]] = {
    "mnist": load_idx_images,
    "fashion-mnist": load_idx_images,
    "digits": load_digits,
}


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set by name, downloading it if it is not on this machine.

    Args:
        name: a name of `minaction.data.sources.SOURCES`.
        root: folder to look in first (files in `<root>/<name>/`) and to download to; without it
            $MINACTION_DATA and then the user's cache.

    Raises:
        UnknownNameError: no such data set; the message names the nearest.
        DataFileError: a file is damaged, or is missing and could not be downloaded; the message
            says what to put where.
        StorageError: a download could not be written.
    """
    source_of(name)
    return LOADERS[name](name, root)
