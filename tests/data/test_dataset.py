from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from minaction.data.dataset import Dataset, DataSpec, Split, fingerprint_of
from minaction.errors import InputError

SPEC = DataSpec(name="toy", modality="vision", shape=(1, 2), classes=3, class_names=("a", "b", "c"))


def split(n=6, seed=0, groups=None):
    generator = torch.Generator().manual_seed(seed)
    return Split(x=torch.randn(n, 1, 2, generator=generator), y=torch.arange(n) % 3, groups=groups)


def toy(**changed):
    parts = {"train": split(9, 0), "validation": split(6, 1), "test": split(6, 2), "spec": SPEC}
    return Dataset.of(**{**parts, **changed})


def test_lengths_and_split_names():
    assert {name: len(part) for name, part in toy().splits().items()} == {
        "train": 9,
        "validation": 6,
        "test": 6,
    }


def test_repr_shows_no_tensors():
    assert repr(split(6)) == "Split(6 samples of (1, 2))"
    assert "tensor" not in repr(toy())


def test_values_are_frozen():
    with pytest.raises(FrozenInstanceError):
        toy().fingerprint = "x"  # pyright: ignore[reportAttributeAccessIssue]


def test_spec_of_source():
    spec = DataSpec.of_source("fashion-mnist")
    assert (spec.name, spec.modality, spec.shape) == ("fashion-mnist", "vision", (1, 28, 28))
    assert spec.classes == 10
    assert spec.class_names[9] == "Ankle boot"


@pytest.mark.parametrize("copied", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy])
def test_pickle_and_deepcopy_keep_everything(copied):
    original = toy(train=split(9, 0, groups=torch.arange(9)))
    twin = copied(original)
    assert twin.spec == original.spec
    assert twin.fingerprint == original.fingerprint == fingerprint_of(twin.spec, twin.splits())
    assert torch.equal(twin.train.groups, original.train.groups)


def test_fingerprint_is_stable():
    # Golden: a change here changes every record's data_sha256, so it must be deliberate.
    zeros = Split(x=torch.zeros(3, 1, 2), y=torch.arange(3))
    fixed = Dataset.of(train=zeros, validation=zeros, test=zeros, spec=SPEC)
    assert fixed.fingerprint == GOLDEN


def tokens(high=7, dtype=torch.int64):
    x = torch.tensor([[1, 2, 0], [high, 1, 0], [3, 3, 3]], dtype=dtype)
    return Split(x=x, y=torch.arange(3))


TEXT = replace(SPEC, modality="text", shape=(3,), vocabulary=8)


def test_tokens_stay_integers_and_the_vocabulary_is_part_of_the_fingerprint():
    dataset = toy(train=tokens(), validation=tokens(), test=tokens(), spec=TEXT)
    assert dataset.train.x.dtype == torch.int64
    larger = toy(**{**dataset.splits(), "spec": replace(TEXT, vocabulary=9)})
    assert larger.fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": tokens(8)}, "test has token ids 0 to 8, expected 0 to 7"),
        ({"test": tokens(-1)}, "test has token ids -1 to 3"),
        ({"test": tokens(dtype=torch.float32)}, "test has x of torch.float32, expected torch.int6"),
        ({"spec": replace(TEXT, vocabulary=None)}, "x of torch.int64, expected torch.float32"),
    ],
)
def test_tokens_that_do_not_fit_the_vocabulary(changed, message):
    parts = {"train": tokens(), "validation": tokens(), "test": tokens(), "spec": TEXT}
    with pytest.raises(InputError, match=message):
        toy(**{**parts, **changed})


def test_fingerprint_ignores_memory_layout():
    x = torch.randn(1, 2, 9, generator=torch.Generator().manual_seed(0))
    strided = Split(x=x.permute(2, 0, 1), y=torch.arange(9) % 3)
    packed = replace(strided, x=strided.x.contiguous())
    assert toy(train=strided).fingerprint == toy(train=packed).fingerprint


def changed_pixel():
    part = split(9, 0)
    part.x[4, 0, 1] = torch.nextafter(part.x[4, 0, 1], torch.tensor(9.0))
    return part


def changed_label():
    part = split(9, 0)
    part.y[4] = (part.y[4] + 1) % 3
    return part


@pytest.mark.parametrize(
    "changed",
    [
        {"train": changed_pixel()},
        {"train": changed_label()},
        {"train": split(8, 0)},
        {"train": split(9, 0, groups=torch.zeros(9, dtype=torch.int64))},
        {"validation": split(6, 2), "test": split(6, 1)},
        {"spec": replace(SPEC, name="other")},
        {"spec": replace(SPEC, class_names=("a", "c", "b"))},
    ],
    ids=["pixel", "label", "length", "groups", "splits swapped", "name", "class names"],
)
def test_fingerprint_changes_with_the_contents(changed):
    assert toy(**changed).fingerprint != toy().fingerprint


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        (torch.zeros(3, 1, 2, dtype=torch.float64), torch.zeros(3).long(), None, "x has dtype"),
        (torch.zeros(3, 1, 2), torch.zeros(3), None, "y is torch.float32"),
        (torch.zeros(3, 1, 2), torch.zeros(2).long(), None, r"expected torch.int64 of shape \(3,"),
        (torch.zeros(3, 1, 2), torch.zeros(3).long(), torch.zeros(4).long(), "groups is"),
    ],
)
def test_split_refuses_wrong_tensors(x, y, groups, message):
    with pytest.raises(InputError, match=message):
        Split(x=x, y=y, groups=groups)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": split(0)}, "test has 0 samples"),
        ({"test": Split(x=torch.zeros(3, 2), y=torch.arange(3))}, r"shape \(2,\), expected some"),
        ({"test": Split(x=torch.zeros(3, 1, 2), y=torch.arange(3) + 1)}, "labels 1 to 3, expected"),
        ({"test": Split(x=torch.zeros(3, 1, 2), y=torch.arange(3) - 1)}, "labels -1 to 1"),
    ],
)
def test_dataset_refuses_splits_that_do_not_fit(changed, message):
    with pytest.raises(InputError, match=message):
        toy(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": ()}, "shape is"),
        ({"shape": (1, 0)}, "positive dimensions"),
        ({"classes": 4}, "3 names for 4 classes"),
        ({"classes": 0, "class_names": ()}, "0 names for 0 classes"),
        ({"vocabulary": 9}, r"vocabulary is 9 with shape \(1, 2\)"),
        ({"vocabulary": 1, "shape": (2,)}, "at least one token"),
    ],
)
def test_spec_refuses_nonsense(changed, message):
    with pytest.raises(InputError, match=message):
        replace(SPEC, **changed)


GOLDEN = "a17400f1b4f5eef6ae395e9dfb26e2a3cdc027091f36954e2f512c85154bc155"
