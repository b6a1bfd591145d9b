"""Data sets that installed packages bring along: the offline default of each modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.split import stratified_holdout
from minaction.data.vision import GreyImages, image_dataset

_TEST_EVERY = 5


def load_digits(name: str = "digits", root: str | Path | None = None) -> Dataset:
    """Load scikit-learn's handwritten digits: 1797 grey images of 8 x 8.

    Test is a fixed, stratified 20 %; validation a fixed, stratified 10 % of the rest.

    Args:
        name: name of the data set.
        root: not needed, as the data come with scikit-learn.

    Reference:
        Alpaydin, Kaynak, Optical recognition of handwritten digits, UCI, 1998.
    """
    # Imported here, as scikit-learn takes a second that no other data set should pay.
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = GreyImages(
        pixels=np.asarray(pixels, dtype=np.uint8).reshape(-1, 8, 8),
        labels=np.asarray(labels, dtype=np.uint8),
    )
    in_test = stratified_holdout(images.labels, _TEST_EVERY)
    return image_dataset(
        images.where(~in_test),
        images.where(in_test),
        DataSpec.of_source(name),
    )
