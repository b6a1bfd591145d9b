from __future__ import annotations

import pytest
import torch
from snntorch import SpikingNeuron, surrogate
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.energy.functionals import L1Energy, SynapticEnergy
from minaction.energy.tape import Tape
from minaction.models.build import build_model
from minaction.models.spiking import PRESENTATIONS, WINDOWS, Spikes, _spike, sized_lif_mlp


def spec_of(*shape, vocabulary=None):
    return DataSpec(
        name="made",
        modality="neuromorphic",
        shape=shape,
        classes=3,
        class_names=("a", "b", "c"),
        vocabulary=vocabulary,
    )


def test_gradient_is_that_of_snntorch():
    excess = torch.linspace(-3, 3, 61, requires_grad=True)
    ours, theirs = _spike(excess), surrogate.atan(2.0)(excess)
    assert torch.equal(ours, theirs)
    (one,), (other,) = (torch.autograd.grad(s.sum(), excess) for s in (ours, theirs))
    torch.testing.assert_close(one, other)


@torch.no_grad()
def test_neurons_are_what_they_say():
    layer, currents = Spikes(1), torch.randn(4, 12, 5).abs()
    u, s = torch.zeros(4, 5), torch.zeros(4, 5)
    expected = []
    for t in range(12):
        u = 0.9 * u + currents[:, t] - s
        s = (u > 1).float()
        expected.append(s)
    spikes = layer(currents)
    assert torch.equal(spikes, torch.stack(expected, 1))
    assert 0 < spikes.mean() < 1


def test_nothing_outlives_a_pass():
    known = len(SpikingNeuron.instances)
    layer, currents = Spikes(1), torch.rand(4, 12, 5)
    assert torch.equal(layer(currents), layer(currents))
    assert layer.neuron.mem.numel() == 0
    assert len(SpikingNeuron.instances) == known


@pytest.mark.parametrize("name", ["lif-mlp", "lif-cnn"])
@pytest.mark.parametrize("shape", [(20,), (30, 3), (1, 12, 12), (5, 2, 12, 12)])
def test_l1_energy_is_the_spike_count(name, shape):
    model = build_model(name, spec_of(*shape), parameters=10_000, seed=1)
    x, seen = torch.randn(6, *shape), []
    layers = [m for m in model.modules() if isinstance(m, Spikes)]
    handles = [m.register_forward_hook(lambda *a: seen.append(a[2])) for m in layers]
    with Tape(model) as tape:
        model(x)
    for handle in handles:
        handle.remove()
    assert [*tape.trajectory] == [f"spikes{k + 1}.threshold" for k in range(len(layers))]
    assert all(set(spikes.unique().tolist()) <= {0.0, 1.0} for spikes in seen)
    count = sum(int(spikes.count_nonzero()) for spikes in seen)
    assert count > 0
    assert L1Energy()(tape.trajectory).item() == pytest.approx(count / 6)
    units = [
        m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in weighted(model)
    ]
    assert [layer.units for layer in tape.trajectory.layers] == units[:-1]


def weighted(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]


def test_a_spike_costs_its_fan_out():
    x = torch.randn(2, 5, 2, 12, 12)
    dense = build_model("lif-mlp", spec_of(*x.shape[1:]), parameters=10_000)
    cost = SynapticEnergy.of(dense, x).fan_out
    assert cost["spikes1.threshold"] == dense.between.out_features
    assert cost["spikes2.threshold"] == pytest.approx(3 / 5)  # read out once in five steps
    model = build_model("lif-cnn", spec_of(*x.shape[1:]), parameters=10_000)
    cost = SynapticEnergy.of(model, x).fan_out
    macs = model.conv2.weight.numel() * 3 * 3 * 5
    assert cost["spikes1.threshold"] == macs / (model.conv2.in_channels * 6 * 6 * 5)
    assert cost["spikes2.threshold"] == model.dense.out_features


def test_still_samples_are_shown_for_a_few_steps_and_others_run_in_their_time():
    for shape, steps in (((20,), PRESENTATIONS), ((1, 6, 6), PRESENTATIONS), ((30, 3), 30)):
        model = build_model("lif-mlp", spec_of(*shape), parameters=5_000)
        with Tape(model) as tape:
            model(torch.randn(2, *shape))
        assert {layer.value.shape[1] for layer in tape.trajectory.layers} == {steps}
    for shape, steps in (((20,), PRESENTATIONS), ((5, 2, 9, 9), 5), ((61, 3), WINDOWS)):
        model = build_model("lif-cnn", spec_of(*shape), parameters=5_000)
        with Tape(model) as tape:
            model(torch.randn(2, *shape))
        assert tape.trajectory.layers[0].value.shape[2] == steps


def test_learns():
    model = build_model("lif-mlp", spec_of(20), parameters=5_000)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(90, 20, generator=generator), torch.arange(90) % 3
    x[torch.arange(90), y] += 2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.95


def test_ratio():
    model = sized_lif_mlp(spec_of(20), 5_000, 0.6)()
    assert model.between.out_features == int(0.6 * model.between.in_features)
