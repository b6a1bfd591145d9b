from __future__ import annotations

import socket

import pytest
import torch

from minaction.data.builtin import load_digits


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the offline default opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_digits():
    dataset = load_digits()
    assert [len(split) for split in dataset.splits().values()] == [1293, 144, 360]
    assert dataset.spec.shape == (1, 8, 8)
    assert dataset.train.x.mean().abs() < 1e-6
    # Golden: the same on every machine, so that records of different machines compare.
    assert dataset.fingerprint == "e4852955f1d9c81f54c34b6245fea0a98d74706899c97dda9a12dffa96281bec"


def test_digits_hold_every_class_in_proportion():
    dataset = load_digits()
    total = sum(split.y.bincount() for split in dataset.splits().values())
    for split, share in ((dataset.test, 0.2), (dataset.validation, 0.08), (dataset.train, 0.72)):
        assert (split.y.bincount() - share * total).abs().max() < 2


def test_digits_can_be_learned():
    dataset = load_digits()
    train, test = dataset.train, dataset.test
    nearest = torch.cdist(test.x.flatten(1), train.x.flatten(1)).argmin(1)
    assert (train.y[nearest] == test.y).float().mean() > 0.95
