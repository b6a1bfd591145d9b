from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.energy.gauge import gauge_fix
from minaction.models.build import build_model
from minaction.models.reading import Steps
from minaction.models.sequence import GRU, TCN, CausalBlock, sized_gru, sized_tcn


def spec_of(*shape, vocabulary=None):
    return DataSpec(
        name="made",
        modality="speech",
        shape=shape,
        classes=3,
        class_names=("a", "b", "c"),
        vocabulary=vocabulary,
    )


def reader_of(*shape):
    return Steps(spec_of(*shape), 10_000)


def test_gru_is_what_it_says():
    model = GRU(reader_of(6, 4), 5, 3, 2).double()
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    w_ih, w_hh, b_ih, b_hh = model.recurrent.parameters()
    h = torch.zeros(7, 3, dtype=torch.float64)
    states = []
    for t in range(6):
        step = x[:, t] @ model.project.weight.T + model.project.bias
        r_x, z_x, n_x = (step @ w_ih.T + b_ih).chunk(3, 1)
        r_h, z_h, n_h = (h @ w_hh.T + b_hh).chunk(3, 1)
        reset, keep = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        h = (1 - keep) * (n_x + reset * n_h).tanh() + keep * h
        states.append(h)
    mean = torch.stack(states).mean(0)
    torch.testing.assert_close(model(x), mean @ model.readout.weight.T + model.readout.bias)


def test_causal_block_is_what_it_says():
    block, z = CausalBlock(3, 4, 2, 1.0).double(), torch.randn(2, 3, 9, dtype=torch.float64)
    weight, bias = block.dilated.weight, block.dilated.bias
    padded = torch.cat([torch.zeros(2, 3, 4, dtype=torch.float64), z], 2)
    for t in range(9):
        taps = sum(padded[:, :, t + 2 * k] @ weight[:, :, k].T for k in range(3))
        inner = F.relu(taps + bias)
        expected = z[:, :, t] + inner @ block.pointwise.weight[:, :, 0].T + block.pointwise.bias
        torch.testing.assert_close(block(z)[:, :, t], expected)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 40, 64])
def test_the_last_step_of_a_tcn_sees_all_and_none_sees_the_future(steps):
    model = TCN(reader_of(steps, 2), 6, 6, 3).double()
    for block in model.blocks:  # no unit is silent, so every path shows
        nn.init.constant_(block.dilated.bias, 100.0)
    x = torch.randn(1, steps, 2, dtype=torch.float64, requires_grad=True)
    for t in {0, steps // 2, steps - 1}:
        (gradient,) = torch.autograd.grad(model.blocks(model_input(model, x))[0, :, t].sum(), x)
        reached = gradient[0].abs().sum(1) > 0
        assert not reached[t + 1 :].any()
        if t == steps - 1:
            assert reached.all()


def model_input(model, x):
    return model.project(model.reader(x)).transpose(1, 2)


def test_every_hidden_layer_of_a_tcn_can_be_rescaled():
    model = build_model("tcn", spec_of(20, 3), parameters=5_000).eval()
    report = gauge_fix(model, torch.randn(8, 20, 3))
    assert report.not_covered == {}
    assert report.max_output_difference < 1e-4


@pytest.mark.parametrize("name", ["gru", "tcn", "transformer"])
def test_padding_at_the_end_changes_nothing(name):
    model = build_model(name, spec_of(12, vocabulary=30), parameters=5_000).eval()
    x = torch.tensor([[4, 9, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]])
    logits = model(x)
    with torch.no_grad():  # were padding read, this would show
        model.reader.values.weight[0] = 5.0
    torch.testing.assert_close(model(x), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "tcn", "transformer"])
def test_a_document_without_tokens_gives_finite_gradients(name):
    model = build_model(name, spec_of(12, vocabulary=30), parameters=5_000)
    x = torch.tensor([[4, 9, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0], [0] * 12])
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("size", [sized_gru, sized_tcn])
def test_proportions(size):
    spec = spec_of(30, 4)
    plain, narrow = size(spec, 30_000)(), size(spec, 30_000, 0.5)()
    assert 0.9 < inner(plain) / plain.readout.in_features < 1.1 or isinstance(plain, GRU)
    width = narrow.project.out_features
    assert inner(narrow) == width // 2


def inner(model: nn.Module) -> int:
    if isinstance(model, GRU):
        return model.recurrent.hidden_size
    return model.blocks[0].dilated.out_channels
