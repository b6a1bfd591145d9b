from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minaction.data.dataset import DataSpec
from minaction.measure.flops import count_macs
from minaction.models.build import build_model
from minaction.models.catalog import MODELS

IMAGE = DataSpec(
    name="image", modality="vision", shape=(1, 8, 8), classes=3, class_names=("a", "b", "c")
)


def test_a_first_layer_needs_no_gradient_of_its_input():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    macs = count_macs(model, torch.randn(7, 5))
    assert macs.macs_training_forward == 5 * 4 + 4 * 3
    assert macs.macs_backward == 5 * 4 + 2 * (4 * 3)
    assert macs.macs_training == macs.macs_training_forward + macs.macs_backward
    assert macs.uncounted == {}


def test_a_convolution_counts_every_weight_once_a_position():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 4, 3), nn.Flatten()
    )
    macs = count_macs(model, torch.randn(2, 1, 6, 6))
    first, second = 2 * 9 * 36, 4 * 2 * 9 * 16
    assert (macs.macs_training_forward, macs.macs_backward) == (first + second, first + 2 * second)


def test_a_product_of_two_activations_needs_both_gradients():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward = nn.Linear(3, 4)

        def forward(self, x):
            z = self.inward(x)
            return z @ z.transpose(-1, -2)

    macs = count_macs(Square(), torch.randn(1, 5, 3))
    assert (macs.macs_training_forward, macs.macs_backward) == (60 + 100, 60 + 200)


def test_a_sample_that_needs_a_gradient_is_counted_too():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    x = torch.randn(2, 5, requires_grad=True)
    assert count_macs(model, x).macs_backward == 2 * (20 + 12)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "transformer"])
def test_agrees_with_torchs_count_of_what_was_executed(name):
    model, x = build_model(name, IMAGE, parameters=6000), torch.randn(4, 1, 8, 8)
    with FlopCounterMode(display=False) as executed:
        model(x).sum().backward()
    assert count_macs(model, x).macs_training == executed.get_total_flops() / 2 / len(x)


@pytest.mark.parametrize("name", MODELS)
def test_counts_every_model_of_the_catalogue_and_leaves_it_alone(name):
    model = build_model(name, IMAGE, parameters=6000)
    before = copy.deepcopy(model)
    macs = count_macs(model, torch.randn(2, 1, 8, 8))
    assert not macs.uncounted
    assert 1.5 * macs.macs_training_forward < macs.macs_training <= 3 * macs.macs_training_forward
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for one, other in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)
