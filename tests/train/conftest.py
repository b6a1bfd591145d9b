from __future__ import annotations

import pytest
import torch
from fleets import Doubled

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.load import load_dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def noise() -> Dataset:
    """A tiny data set of noise: 100 training, 30 validation and 20 test samples."""
    generator = torch.Generator().manual_seed(0)
    spec = DataSpec(
        name="noise", modality="vision", shape=(5,), classes=3, class_names=("a", "b", "c")
    )

    def split(samples: int) -> Split:
        x = torch.randn(samples, 5, generator=generator)
        return Split(x=x, y=torch.arange(samples) % 3)

    return Dataset.of(train=split(100), validation=split(30), test=split(20), spec=spec)


@pytest.fixture
def in_float64():
    return Doubled
