"""What every data set of the table must satisfy; a new one is covered by its row there."""

from __future__ import annotations

import hashlib
import pickle

import pytest
import torch

from minaction.data.dataset import Dataset, DataSpec, fingerprint_of
from minaction.data.fetch import status
from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES


@pytest.fixture(scope="module", params=SOURCES)
def dataset(request) -> Dataset:
    if not status(request.param).available:
        pytest.skip(f"{request.param} is not on this machine (set $MINACTION_DATA)")
    return load_dataset(request.param)


def test_spec_is_the_table_s(dataset):
    assert dataset.spec == DataSpec.of_source(dataset.spec.name)


def test_dtypes_and_shapes(dataset):
    for split in dataset.splits().values():
        tokens = dataset.spec.vocabulary is not None
        assert split.x.dtype == (torch.int64 if tokens else torch.float32)
        assert split.y.dtype == torch.int64
        assert split.x.shape == (len(split), *dataset.spec.shape)
        assert split.y.shape == (len(split),)
        assert split.x.is_contiguous()
        assert split.x.device.type == "cpu"


def test_values_are_finite_and_of_a_sensible_scale(dataset):
    for split in dataset.splits().values():
        low, high = split.x.aminmax()
        limit = dataset.spec.vocabulary or 100
        assert -100 < low < high < limit


def test_every_class_is_in_every_split(dataset):
    for split in dataset.splits().values():
        counts = split.y.bincount()
        assert len(counts) == dataset.spec.classes
        assert counts.min() > 0


def test_splits_share_no_sample(dataset):
    if dataset.spec.modality == "text":
        pytest.skip("short texts repeat: a message may be nothing but thanks")
    seen: set[bytes] = set()
    for split in dataset.splits().values():
        digests = {hashlib.blake2b(row.tobytes()).digest() for row in split.x.numpy()}
        assert not seen & digests
        seen |= digests


def test_groups_do_not_span_splits(dataset):
    groups = [split.groups for split in dataset.splits().values() if split.groups is not None]
    values = [value for group in groups for value in group.unique().tolist()]
    assert len(values) == len(set(values))


def test_loading_again_gives_the_same_fingerprint(dataset):
    torch.manual_seed(dataset.train.y.sum().item())
    again = load_dataset(dataset.spec.name)
    assert again.fingerprint == dataset.fingerprint
    assert fingerprint_of(dataset.spec, dataset.splits()) == dataset.fingerprint


def test_spec_and_splits_pickle(dataset):
    twin = pickle.loads(pickle.dumps(dataset.test))
    assert torch.equal(twin.x, dataset.test.x)
    assert pickle.loads(pickle.dumps(dataset.spec)) == dataset.spec
