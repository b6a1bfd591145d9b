from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minaction.data.dataset import DataSpec
from minaction.data.signals import labelled_parts, settled
from minaction.errors import DataFileError

SPEC = DataSpec(name="two", modality="speech", shape=(2,), classes=2, class_names=("yes", "no"))


def test_settled_values_forget_the_last_bits():
    values = np.random.default_rng(0).normal(size=1000)
    nudged = values * (1 + 1e-14)
    assert (settled(values) == settled(nudged)).all()
    assert np.abs(settled(values) - values).max() <= 0.5 / 4096 + 1e-6


def test_parts_are_those_of_the_masks():
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    y = np.array([0, 1, 0, 1, 0, 1])
    parts = {name: np.arange(6) // 2 == i for i, name in enumerate(("train", "validation", "test"))}
    dataset = labelled_parts(SPEC, x, y, parts, Path("two"), groups=np.arange(6) // 2)
    assert dataset.test.x.tolist() == [[8, 9], [10, 11]]
    assert dataset.validation.groups.tolist() == [1, 1]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_class_absent_from_a_part(part):
    y = np.array([0, 1, 0, 1, 0, 1])
    parts = {name: np.arange(6) // 2 == i for i, name in enumerate(("train", "validation", "test"))}
    parts[part] = parts[part] & (y == 0)
    with pytest.raises(DataFileError) as caught:
        labelled_parts(SPEC, np.zeros((6, 2), np.float32), y, parts, Path("data/fsdd"))
    assert str(caught.value) == (
        f"data/fsdd: has no {part} sample of class 'no'; files are missing, delete it and run "
        "`minaction data fetch fsdd`"
    )
