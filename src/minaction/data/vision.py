"""Image data sets in IDX files, and the preparation all image data sets share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.fetch import fetch_files
from minaction.data.idx import read_images, read_labels
from minaction.data.signals import check_classes
from minaction.data.sources import refetch_hint
from minaction.data.split import stratified_holdout
from minaction.errors import DataFileError

_VALIDATION_EVERY = 10
_HISTOGRAM_BLOCKS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class GreyImages:
    """Grey images with labels, as stored.

    Attributes:
        pixels: grey levels, uint8 [n, height, width].
        labels: classes, uint8 [n].
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def where(self, mask: NDArray[np.bool_]) -> GreyImages:
        """Return the images for which `mask` [n] is True."""
        return GreyImages(pixels=self.pixels[mask], labels=self.labels[mask])


def load_idx_images(name: str, root: str | Path | None = None) -> Dataset:
    """Load an image data set published as four IDX files (MNIST, Fashion-MNIST).

    Test is the official test set; validation is a fixed, stratified 10 % of the official
    training set.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: a file is missing, damaged or not what its name says.
        StorageError: a download could not be written.
    """
    files = fetch_files(name, root)
    spec = DataSpec.of_source(name)
    train = _read_pair(files, "train", spec)
    test = _read_pair(files, "t10k", spec)
    dataset = image_dataset(train, test, spec)
    for part, split in dataset.splits().items():
        origin = files[f"{'t10k' if part == 'test' else 'train'}-labels-idx1-ubyte.gz"]
        check_classes(part, split.y.numpy(), spec, origin)
    return dataset


def image_dataset(train: GreyImages, test: GreyImages, spec: DataSpec) -> Dataset:
    """Split off the validation part and standardise the pixels.

    A grey level g becomes (g - mean) / std in float32, with the scalar mean and standard
    deviation over the training part alone, after validation was split off. Scaling g to [0, 1]
    beforehand would change nothing, so it is left out.

    Args:
        train: images for training and validation.
        test: images for the test.
        spec: what the result is.

    Returns:
        The data set; x float32 [n, 1, height, width], y int64 [n].
    """
    held_out = stratified_holdout(train.labels, _VALIDATION_EVERY)
    fitted, validation = train.where(~held_out), train.where(held_out)
    table = _standardised_levels(fitted.pixels)
    return Dataset.of(
        train=_split(fitted, table),
        validation=_split(validation, table),
        test=_split(test, table),
        spec=spec,
    )


def _read_pair(files: dict[str, Path], part: str, spec: DataSpec) -> GreyImages:
    images_path = files[f"{part}-images-idx3-ubyte.gz"]
    labels_path = files[f"{part}-labels-idx1-ubyte.gz"]
    _, height, width = spec.shape
    pixels = read_images(images_path, (height, width))
    labels = read_labels(labels_path, spec.classes)
    if len(pixels) != len(labels):
        raise DataFileError(
            labels_path,
            f"has {len(labels)} labels for the {len(pixels)} images of {images_path.name}; "
            f"{refetch_hint(labels_path)}",
        )
    return GreyImages(pixels=pixels, labels=labels)


def _standardised_levels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the standardised value of every grey level, float32 [256].

    From the histogram, whose integer sums are exact: the mean, and with it the fingerprint, does
    not depend on the order in which a machine adds.
    """
    # In blocks, as bincount works on a copy that takes eight bytes a pixel.
    blocks = np.array_split(pixels, _HISTOGRAM_BLOCKS)
    histograms = [np.bincount(block.reshape(-1), minlength=256) for block in blocks]
    counts = np.sum(histograms, axis=0).tolist()
    n = sum(counts)
    first = sum(level * count for level, count in enumerate(counts))
    second = sum(level * level * count for level, count in enumerate(counts))
    mean, std = first / n, math.sqrt(second * n - first * first) / n
    return ((np.arange(256) - mean) / std).astype(np.float32)


def _split(images: GreyImages, table: NDArray[np.float32]) -> Split:
    return Split(
        x=torch.from_numpy(table[images.pixels]).unsqueeze(1),
        y=torch.from_numpy(images.labels.astype(np.int64)),
    )
