"""Energies, their gradients, mixed precision and gauge fixing of networks on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import minaction as ma
from minaction.data.dataset import DataSpec
from minaction.energy.build import build_energy
from minaction.energy.catalog import ENERGIES
from minaction.energy.tape import Tape
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective

SPEC = DataSpec(
    name="image", modality="vision", shape=(1, 8, 8), classes=3, class_names=("a", "b", "c")
)

pytestmark = pytest.mark.gpu


def batch(gpu):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, *SPEC.shape, generator=generator)
    return x.to(gpu), (torch.arange(16) % 3).to(gpu)


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "lif-cnn", "lagrangian"])
def test_value_and_gradients_are_those_on_the_cpu(gpu, name, energy):
    found = []
    for where in ("cpu", gpu):
        model = build_model(name, SPEC, parameters=3_000, seed=0).double().to(where)
        x, _ = batch(where)
        x = x.double()
        functional = build_energy(energy, model, x[:2])
        with Tape(model) as tape:
            model(x)
            value = functional(tape.trajectory)
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        found.append((float(value.detach()), [g if g is None else g.cpu() for g in gradients]))
    (value, gradients), (other, others) = found
    assert other == pytest.approx(value, rel=1e-9)
    for one, two in zip(gradients, others, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            assert torch.allclose(one, two, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_three_lines_in_a_loop_with_mixed_precision(gpu, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).to(gpu)
    objective = EnergyObjective(F.cross_entropy, ma.ActivationEnergy(), 1e-3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype is torch.float16)
    x, y = batch(gpu)
    losses = []
    for _ in range(60):
        with torch.autocast("cuda", dtype):
            terms = objective.evaluate(model, x, y, objective.lam.value)
        optimizer.zero_grad()
        scaler.scale(terms.total).backward()
        scaler.step(optimizer)
        scaler.update()
        objective.lam.advance(terms.task.detach(), terms.energy.detach())
        losses.append(float(terms.task.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert torch.isfinite(terms.energy)


def test_gauge_fixing_leaves_outputs(gpu):
    model = build_model("cnn", SPEC, parameters=3_000, seed=0).to(gpu).eval()
    x, _ = batch(gpu)
    report = ma.gauge_fix(model, x)
    with torch.no_grad():
        assert torch.allclose(report.model(x), model(x), rtol=1e-4, atol=1e-5)
    assert report.covered
    on_cpu = ma.gauge_fix(model.cpu(), x.cpu())
    assert report.energy_after == pytest.approx(on_cpu.energy_after, rel=1e-4)


def test_a_compacted_network_stays_on_the_gpu_and_computes_the_same(gpu):
    model = build_model("mlp", SPEC, parameters=3_000, seed=0).to(gpu).eval()
    first = next(module for module in model.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.bias[:5] = -1e4
    x, _ = batch(gpu)
    compaction = ma.compact(model, x)
    assert len(compaction.removed) >= 5
    with torch.no_grad():
        assert torch.allclose(compaction.model(x), model(x), rtol=1e-4, atol=1e-5)
    assert {p.device.type for p in compaction.model.parameters()} == {"cuda"}
