from __future__ import annotations

import random
import socket

import numpy as np
import pytest
import torch

from minaction.data.load import load_dataset
from minaction.data.sources import SOURCES

# Golden: the same on every machine with this version of neurokit2.
FINGERPRINT = "49e645796d57fea0816b5063a0f8c6d17fdffc14982c01ed608beda2a25d7388"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(socket.socket, "connect", None)
        # What is simulated must not follow what a program did before, nor change it.
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        torch.manual_seed(1)
        made = load_dataset("simulated-stress", "nowhere")
        assert np.random.random() == np.random.RandomState(1).random_sample()  # noqa: NPY002
        return made


def test_is_the_same_whatever_the_global_state(dataset):
    assert dataset.fingerprint == FINGERPRINT


def test_people_are_in_one_part_each(dataset):
    people = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert [len(part) for part in people] == [30, 10, 10]
    assert len(set.union(*people)) == 50
    assert [len(split) for split in dataset.splits().values()] == [600, 200, 200]
    for split in dataset.splits().values():
        assert (split.y.bincount() == len(split) // 2).all()


def test_a_stressed_heart_beats_faster_in_some_much_in_others_little(dataset):
    split = dataset.train
    heart = split.x[:, :, 0].mean(1)
    change = torch.stack(
        [
            heart[(split.groups == person) & (split.y == 1)].mean()
            - heart[(split.groups == person) & (split.y == 0)].mean()
            for person in split.groups.unique()
        ]
    )
    # Of two clusters with nothing between them, in units of the deviation, 2.
    assert change.min() < 0.5
    assert change.max() > 1.5


def test_can_be_learned_but_not_from_one_threshold(dataset):
    # The best threshold on the mean heart rate, and a linear rule on all three means.
    heart = dataset.test.x[:, :, 0].mean(1)
    thresholds = heart.sort().values
    best = max(
        float(((heart > threshold) == (dataset.test.y == 1)).float().mean())
        for threshold in thresholds
    )
    assert 0.6 < best < 0.85

    def features(split):
        return torch.cat([split.x.mean(1), split.x.diff(dim=1).std(1)], 1).double()

    def with_bias(x):
        return torch.cat([x, torch.ones(len(x), 1).double()], 1)

    target = dataset.train.y.double()[:, None] * 2 - 1
    rule = torch.linalg.lstsq(with_bias(features(dataset.train)), target).solution
    found = (with_bias(features(dataset.test)) @ rule).squeeze(1) > 0
    assert 0.7 < (found == (dataset.test.y == 1)).float().mean() < 0.95


def test_is_called_simulated_wherever_it_is_named(dataset):
    source = SOURCES["simulated-stress"]
    assert source.simulated
    assert source.offline
    assert "simulated" in dataset.spec.name
    assert "imulated" in source.title
