from __future__ import annotations

import socket

import pytest
import torch

from minaction.data.docstrings import load_docstrings
from minaction.data.vocabulary import PADDING


@pytest.fixture(scope="module")
def dataset():
    return load_docstrings()


def test_needs_no_network_and_no_root(dataset, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None)
    assert load_docstrings(root="nowhere").fingerprint == dataset.fingerprint


def test_parts_share_no_module_and_hold_every_package(dataset):
    groups = [set(split.groups.tolist()) for split in dataset.splits().values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    for split, least in zip(dataset.splits().values(), (500, 30, 100), strict=True):
        assert split.y.bincount(minlength=5).min() > least
    total = sum(split.y.bincount() for split in dataset.splits().values())
    assert total.max() <= 1200


def test_packages_can_be_told_apart(dataset):
    def bag(split):
        rows = torch.zeros(len(split), dataset.spec.vocabulary)
        rows.scatter_(1, split.x, 1.0)
        rows[:, PADDING] = 0
        return torch.nn.functional.normalize(rows)

    train = bag(dataset.train)
    centroids = torch.stack([train[dataset.train.y == k].mean(0) for k in range(5)])
    scores = bag(dataset.test) @ torch.nn.functional.normalize(centroids).T
    assert (scores.argmax(1) == dataset.test.y).float().mean() > 0.6
