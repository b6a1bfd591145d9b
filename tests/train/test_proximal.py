"""Proximal steps: against the closed form, the minimiser they stand for, and on real shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from minaction.compaction.compact import compact
from minaction.errors import InputError
from minaction.models.conventional import CNN, MLP
from minaction.train.proximal import ProximalUnits


def mlp(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP(4, (6, 5), 3)


def making(layer):
    return torch.cat([layer.weight.flatten(1), layer.bias[:, None]], 1).detach()


def rms(groups):
    """Root mean square norm of groups, one per row."""
    return groups.norm(dim=1).square().mean().sqrt()


def test_one_step_is_the_group_soft_threshold():
    model = mlp()
    first, second, last = (model.net[i] for i in (1, 3, 5))
    # MACs of a unit: to compute it and to read it
    prices = [4 + 5, 6 + 3]
    groups = [
        (making(first), second.weight.detach().T.clone()),
        (making(second), last.weight.detach().T.clone()),
    ]
    pressures = [
        price * max(math.sqrt(group.shape[1]) / rms(group) for group in pair)
        for price, pair in zip(prices, groups, strict=True)
    ]
    ProximalUnits(model, torch.rand(2, 4)).step(0.1)

    def factors(layer, side):
        group = groups[layer][side]
        pressure = pressures[layer] / max(pressures)
        return (1 - 0.1 * pressure * rms(group) / group.norm(dim=1)).clamp_min(0)

    torch.testing.assert_close(making(first), groups[0][0] * factors(0, 0)[:, None])
    torch.testing.assert_close(last.weight.detach().T, groups[1][1] * factors(1, 1)[:, None])
    # the weights between two layers are shrunk as rows and as columns
    both = factors(0, 1)[:, None] * factors(1, 0)
    torch.testing.assert_close(second.weight.detach().T, groups[0][1] * both)


def test_it_minimises_what_it_is_the_proximal_step_of():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(7, generator=generator).double()
    for threshold in (0.1, 1.0, 5.0):
        shrunk = w * max(0.0, 1 - threshold / float(w.norm()))

        def value(v, threshold=threshold):
            return threshold * v.norm() + (v - w).square().sum() / 2

        for _ in range(200):
            other = shrunk + 0.1 * torch.randn(7, generator=generator).double()
            assert value(shrunk) <= value(other) + 1e-12


@given(strength=st.floats(0, 10), seed=st.integers(0, 99))
def test_no_norm_ever_grows_and_signs_stay(strength, seed):
    model = mlp(seed)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    ProximalUnits(model, torch.rand(2, 4)).step(strength)
    for name, parameter in model.named_parameters():
        assert bool((parameter.abs() <= before[name].abs() + 1e-7).all())
        assert bool((parameter * before[name] >= 0).all())
        if strength == 0:
            assert torch.equal(parameter, before[name])


def test_a_unit_that_nothing_needs_is_gone_after_the_steps_said():
    model = MLP(4, (6,), 3)
    norms = [making(model.net[1]).norm(dim=1), model.net[3].weight.detach().norm(dim=0)]
    relative = torch.stack([n / n.square().mean().sqrt() for n in norms])
    proximal = ProximalUnits(model, torch.rand(2, 4))
    steps = 0
    while proximal.alive:
        proximal.step(0.01)
        steps += 1
    # a unit is dead as soon as one of its groups is 0
    assert steps == pytest.approx(100 * relative.amin(0).max().item(), abs=2)


def test_weights_that_are_all_zero_do_not_set_the_pressure():
    model = mlp()
    with torch.no_grad():
        model.net[3].weight.zero_()
        model.net[3].bias.zero_()
    proximal = ProximalUnits(model, torch.rand(2, 4))
    proximal.step(0.0)
    for parameter in model.parameters():
        assert bool(parameter.isfinite().all())
    assert making(model.net[1]).any()


def test_the_output_layers_bias_and_units_are_left():
    model = CNN((1, 8, 8), (3, 4), 5, 10)
    bias = model.classifier[3].bias.detach().clone()
    proximal = ProximalUnits(model, torch.rand(2, 1, 8, 8))
    for _ in range(400):
        proximal.step(0.1)
    assert torch.equal(model.classifier[3].bias, bias)
    assert not model.features[0].weight.any()
    assert not model.classifier[1].bias.any()


def test_units_behind_a_batch_norm_lose_its_slope_and_shift_too():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )
    proximal = ProximalUnits(model, torch.rand(3, 1, 8, 8))
    with torch.no_grad():
        for parameter in (model[0].weight, model[0].bias, model[1].weight):
            parameter[2] *= 0.01  # hardly there any more
    proximal.step(0.1)
    for parameter in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
        assert not parameter[2].any()
    assert bool((model[1].weight[[0, 1, 3]] > 0.5).all())
    assert proximal.alive == 3
    assert model.training


def test_what_is_dead_stays_dead_under_momentum():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    proximal = ProximalUnits(model, torch.rand(2, 4))
    x = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    for strength in [0.02] * 40 + [0.0] * 40:
        optimizer.zero_grad()
        (model(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
        proximal.step(strength)
    alive = proximal.alive
    assert 0 < alive < 11
    left = sum(int((making(model.net[i]).norm(dim=1) > 0).sum()) for i in (1, 3))
    assert left == alive


def test_channels_of_a_residual_sum_share_their_groups():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.branch = nn.Linear(3, 4), nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            x = F.relu(self.stem(x))
            return self.head(F.relu(x + self.branch(x)))

    model = Residual()
    proximal = ProximalUnits(model, torch.rand(2, 3))
    with torch.no_grad():
        for layer in (model.stem, model.branch):
            layer.weight[1] *= 1e-3
            layer.bias[1] *= 1e-3
    proximal.step(0.05)
    for layer in (model.stem, model.branch):
        assert not layer.weight[1].any()
        assert layer.weight[0].any()


def test_training_with_it_leaves_a_smaller_network_that_still_solves_the_task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = MLP(4, (32,), 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    proximal = ProximalUnits(model, x[:2])
    for _ in range(500):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        proximal.step(0.02)
    model.eval()
    compaction = compact(model, x)
    assert compaction.units["net.1"][1] <= 16
    assert compaction.max_output_difference < 1e-5
    with torch.no_grad():
        assert (compaction.model(x).argmax(1) == y).float().mean() > 0.93


@pytest.mark.parametrize("strength", [-1, math.nan, math.inf])
def test_a_bad_strength(strength):
    proximal = ProximalUnits(mlp(), torch.rand(2, 4))
    with pytest.raises(InputError, match="strength is"):
        proximal.step(strength)
