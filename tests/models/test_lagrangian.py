from __future__ import annotations

import pytest
import torch
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.energy.tape import Tape
from minaction.models.lagrangian import STEP, STEPS, Lagrangian, sized_lagrangian
from minaction.models.power import unit_power
from minaction.models.sizing import count_parameters


def spec_of(*shape):
    return DataSpec(
        name="made", modality="speech", shape=shape, classes=3, class_names=("a", "b", "c")
    )


def bare(width=4, hidden=5, *, constrained):
    return Lagrangian(nn.Identity(), [], 7, width, hidden, 3, constrained=constrained).double()


def test_is_what_it_says():
    model = bare(constrained=True)
    x = torch.randn(6, 7, dtype=torch.float64)
    bound = model.bound.log_bound.exp()

    def project(z):
        energy = z.square().sum(1, keepdim=True) / 2
        return z * (bound / energy).sqrt().clamp(max=1)

    f = unit_power(x)  # as all that has no positions
    z = project(f @ model.start.weight.T + model.start.bias)
    for _ in range(STEPS):
        q, p = z[:, :4], z[:, 4:]
        q = (q + STEP / 2 * p).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.potential(q).sum(), q)
        p = p - STEP * gradient
        z = project(torch.cat([q + STEP / 2 * p, p], 1))
    torch.testing.assert_close(model(x), z @ model.readout.weight.T + model.readout.bias)


def test_path_is_the_one_the_logits_come_from():
    model, x = bare(constrained=True), torch.randn(6, 7, dtype=torch.float64)
    path = model.path(x)
    assert path.positions.shape == path.momenta.shape == (6, STEPS + 1, 4)
    end = torch.cat([path.positions[:, -1], path.momenta[:, -1]], 1)
    torch.testing.assert_close(model.readout(end), model(x))
    torch.testing.assert_close(path.potential[:, 1], model.potential(path.positions[:, 1]))
    torch.testing.assert_close(path.kinetic[:, 2], path.momenta[:, 2].square().sum(1) / 2)
    path.action().backward()
    assert model.start.weight.grad.count_nonzero() > 0


def test_states_stay_in_the_constraint_set():
    model, x = bare(constrained=True), 100 * torch.randn(6, 7, dtype=torch.float64)
    path = model.path(x)
    energy = (path.positions.square() + path.momenta.square()).sum(2) / 2
    assert (energy <= model.bound.log_bound.exp() * (1 + 1e-12)).all()


def test_energy_is_nearly_conserved_without_the_constraint():
    model, x = bare(30, 30, constrained=False), torch.randn(64, 7, dtype=torch.float64)
    assert model.bound is None
    path = model.path(x)
    energy = path.kinetic + path.potential
    drift = (energy - energy[:, :1]).abs() / energy[:, :1]
    # what the steps conserve of an oscillation at the highest frequency is that far from its energy
    square = torch.linalg.matrix_norm(model.potential.weight, 2) ** 2
    away = STEP**2 * square / 4
    assert 0 < drift.max() < away / (1 - away)


def test_the_tape_sees_the_force_at_every_step():
    model, x = sized_lagrangian(spec_of(20, 3), 10_000)(), torch.randn(2, 20, 3)
    with Tape(model) as tape:
        model(x)
    names = [*tape.trajectory]
    assert names[:2] == ["senses.1", "senses.3"]
    assert names[2:] == ["potential.relu", *(f"potential.relu#{k}" for k in range(2, STEPS + 1))]


@pytest.mark.parametrize("shape", [(50,), (30, 4), (1, 12, 12)])
def test_ratio(shape):
    model = sized_lagrangian(spec_of(*shape), 20_000, 0.5)()
    width = model.start.out_features // 2
    assert len(model.potential.bias) == width // 2
    channels = [m.out_channels for m in model.senses if hasattr(m, "out_channels")]
    assert all(b == a // 2 for a, b in zip(channels, [*channels[1:], width], strict=False))
    assert abs(count_parameters(model) - 20_000) <= 2_000
