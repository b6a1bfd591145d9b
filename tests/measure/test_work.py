"""Counts of one forward pass."""

from __future__ import annotations

import torch
from torch import nn

from minaction.measure.work import count_work


def test_macs_parameters_and_bytes():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    work = count_work(model, torch.ones(2, 3, 10, 10), 2)
    assert work.macs_dense == 8 * 3 * 9 * 64
    assert work.parameters == 8 * 3 * 9 + 2 * 8
    assert work.weight_bytes == 4 * (work.parameters + 2 * 8) + 8  # statistics, and their count
    assert work.uncounted == {}


def test_shared_weights_count_once():
    layer = nn.Linear(4, 4, bias=False)
    work = count_work(nn.Sequential(layer, layer), torch.ones(1, 4), 1)
    assert (work.macs_dense, work.parameters, work.weight_bytes) == (32, 16, 64)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout())
    count_work(model, torch.randn(5, 4), 5)
    assert model.training
    assert model[0].num_batches_tracked == 0
