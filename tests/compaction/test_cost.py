"""Costs against torch's own counter, and against closed forms."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load
from small_networks import Concatenating, Residual, Separable, images
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minaction.compaction.cost import cost_of, serialised
from minaction.models.conventional import CNN


@pytest.mark.parametrize("model", [Residual(), Concatenating(), Separable()], ids=lambda m: type(m))
def test_macs_are_half_of_torchs_flops(model):
    x = images(samples=3)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(x)
    cost = cost_of(model, x)
    assert cost.macs == flops.get_total_flops() / 2 / 3
    assert cost.not_counted == ()
    assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_macs_of_the_cnn_in_closed_form():
    cost = cost_of(CNN((1, 28, 28), (16, 32), 60, 10), torch.zeros(2, 1, 28, 28))
    assert cost.macs == 784 * 9 * 16 + 196 * 9 * 16 * 32 + 1568 * 60 + 60 * 10


def test_a_list_is_one_batch_of_arguments():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def forward(self, x, scale=1.0):
            return self.net(x) * scale

    model, x = Scaled(), torch.rand(6, 4)
    assert cost_of(model, [x, torch.rand(6, 1)]) == cost_of(model, x)


def test_attention_counts():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    tokens, width = 5, 8
    cost = cost_of(model, torch.rand(3, tokens, width))
    projections, products = 4 * tokens * width**2, 2 * tokens**2 * width
    assert cost.macs == projections + products + 2 * tokens * width * 16


def test_what_has_no_formula_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x).abs()

    assert cost_of(Odd(), torch.rand(2, 8)).not_counted == ("fft_rfft",)


def test_shared_weights_are_kept_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    alone = cost_of(model[:1], torch.rand(2, 4)).bytes
    model[1].weight = model[0].weight
    cost = cost_of(model, torch.rand(2, 4))
    assert cost.parameters == 16
    assert cost.bytes == alone
    assert list(load(serialised(model))) == ["0.weight"]


def test_views_of_one_storage_are_written_apart():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            whole = torch.arange(6.0)
            self.register_buffer("left", whole[:3])
            self.register_buffer("right", whole[3:])

    found = load(serialised(Views()))
    assert found["left"].tolist() == [0, 1, 2]
    assert found["right"].tolist() == [3, 4, 5]
