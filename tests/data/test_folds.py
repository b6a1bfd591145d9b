from __future__ import annotations

import pytest
import torch

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.folds import fold_of
from minaction.data.load import load_dataset
from minaction.errors import InputError

SPEC = DataSpec(
    name="toy", modality="physiological", shape=(1,), classes=2, class_names=("rest", "stress")
)


def toy(groups=True, labels=None):
    """Five people of six samples; x counts the samples."""
    person = torch.arange(30) // 6
    y = torch.arange(30) % 2 if labels is None else labels

    def split(mask):
        x = torch.arange(30.0)[:, None]
        return Split(x=x[mask], y=y[mask], groups=person[mask] if groups else None)

    return Dataset.of(
        spec=SPEC, train=split(person < 3), validation=split(person == 3), test=split(person == 4)
    )


@pytest.mark.parametrize(("groups", "folds"), [(True, 5), (True, 3), (False, 5), (False, 10)])
def test_every_sample_is_tested_once(groups, folds):
    dataset = toy(groups)
    tested = []
    for fold in range(folds):
        parts = fold_of(dataset, fold, folds).splits()
        samples = [value for part in parts.values() for value in part.x.flatten().tolist()]
        assert sorted(samples) == list(range(30))
        tested += parts["test"].x.flatten().tolist()
        if groups:
            people = [set(part.groups.tolist()) for part in parts.values()]
            assert sum(map(len, people)) == len(set.union(*people)) == 5
    assert sorted(tested) == list(range(30))


def test_folds_are_stratified_and_fixed():
    one, other = (fold_of(toy(groups=False), 1, 5) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert one.test.y.bincount().tolist() == [3, 3]


@pytest.mark.parametrize(
    ("fold", "folds", "message"),
    [(5, 5, "fold 5 of 5"), (-1, 5, "fold -1"), (0, 2, "3 or more"), (0, 6, "6 folds of 5 groups")],
)
def test_refuses_folds_out_of_range(fold, folds, message):
    with pytest.raises(InputError, match=message):
        fold_of(toy(), fold, folds)


def test_class_absent_from_a_fold():
    labels = torch.arange(30) % 2
    labels[:6] = 0
    with pytest.raises(
        InputError, match=r"test part of this fold of toy has no sample .* 'stress'"
    ):
        fold_of(toy(labels=labels), 0, 5)


def test_refuses_what_was_prepared_with_its_training_part():
    with pytest.raises(InputError, match="cannot be split anew"):
        fold_of(load_dataset("digits"), 0, 5)
