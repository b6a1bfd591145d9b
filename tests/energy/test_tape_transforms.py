"""The tape and the energies under autocast, `torch.func` transforms and DistributedDataParallel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.energy.functionals import (
    ActionEnergy,
    ActivationEnergy,
    Energy,
    FreeEnergy,
    KineticEnergy,
    L1Energy,
    PotentialEnergy,
    SynapticEnergy,
    UnitEnergy,
)
from minaction.energy.tape import Tape
from minaction.objective.objective import EnergyObjective

RUNS = 3


class Net(nn.Module):
    """Convolution, module and functional nonlinearities, a hand-written one if asked for."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 3, 3), act
        self.hidden, self.read = nn.Linear(12, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.act(self.conv(x)), 2)
        return self.read(torch.tanh(self.hidden(x.flatten(1))))


class HandWrittenGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


def data(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 1, 6, 6, generator=generator, dtype=dtype), torch.arange(4) % 3


ENERGIES = {
    "activation": lambda model: ActivationEnergy(),
    "l1": lambda model: L1Energy(),
    "unit": lambda model: UnitEnergy.of(model, data()[0]),
    "synaptic": lambda model: SynapticEnergy.of(model, data()[0]),
    "free": lambda model: FreeEnergy(s=0.5),
    "kinetic": lambda model: KineticEnergy(seed=31),
    "relative": lambda model: KineticEnergy(relative=True, seed=32),
    "potential": lambda model: PotentialEnergy(),
    "action": lambda model: ActionEnergy(form="lagrangian"),
}


def with_tape(energy: Energy, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with Tape(model) as tape:
        logits = model(x)
    return F.cross_entropy(logits, y) + 0.1 * energy(tape.trajectory)


def with_objective(energy: Energy, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return EnergyObjective(F.cross_entropy, energy).evaluate(model, x, y, 0.1).total


class Loss(nn.Module):
    """A model and its loss, so that `functional_call` reaches the parameters of both."""

    def __init__(self, energy: Energy, model: nn.Module, y: Tensor, loss=with_tape) -> None:
        super().__init__()
        self.energy, self.model, self.y, self.loss = energy, model, y, loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(self.energy, self.model, x, self.y)


@pytest.mark.parametrize("act", [nn.ReLU(), HandWrittenGELU()], ids=["relu", "hand-written"])
@pytest.mark.parametrize("loss", [with_tape, with_objective])
@pytest.mark.parametrize("name", ENERGIES)
def test_stacked_runs_have_the_gradients_of_the_loop(name, loss, act):
    """`vmap(grad(functional_call))` over the parameters of several runs."""
    model, (x, y) = Net(act).double(), data()
    energy = ENERGIES[name](model)
    runs = [
        {k: torch.randn_like(p) * 0.4 for k, p in model.named_parameters()} for _ in range(RUNS)
    ]
    stacked = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}

    whole = Loss(energy, model, y, loss)

    def run_loss(parameters: dict[str, Tensor]) -> Tensor:
        named = {f"model.{name}": p for name, p in parameters.items()}
        return torch.func.functional_call(whole, named, (x,))

    gradients, values = torch.vmap(torch.func.grad_and_value(run_loss))(stacked)
    for index, run in enumerate(runs):
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.copy_(run[key])
        value = loss(energy, model, x, y)
        expected = torch.autograd.grad(value, list(model.parameters()))
        torch.testing.assert_close(values[index], value.detach(), rtol=1e-12, atol=1e-12)
        for key, gradient in zip(runs[0], expected, strict=True):
            torch.testing.assert_close(gradients[key][index], gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("name", ENERGIES)
def test_forward_derivatives_and_hessians_exist(name):
    model, (x, y) = Net(nn.Tanh()).double(), data()
    energy = ENERGIES[name](model)

    def of_bias(bias: Tensor) -> Tensor:
        return torch.func.functional_call(Loss(energy, model, y), {"model.hidden.bias": bias}, (x,))

    hidden = model.hidden.bias.detach()
    forward = torch.func.jacfwd(of_bias)(hidden)
    backward = torch.func.jacrev(of_bias)(hidden)
    torch.testing.assert_close(forward, backward)
    assert torch.func.hessian(of_bias)(hidden).shape == (5, 5)


@pytest.mark.parametrize("name", ENERGIES)
def test_autocast_keeps_energies_in_float32_and_close(name):
    torch.manual_seed(0)
    model, (x, y) = Net(nn.ReLU()), data(torch.float32)
    objective = EnergyObjective(F.cross_entropy, ENERGIES[name](model.double()))
    model.float()
    exact = objective.evaluate(model, x, y, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective.evaluate(model, x, y, 0.1)
        with Tape(model) as tape:
            model(x)
    terms.total.backward()
    assert all(v.dtype == torch.bfloat16 for v in tape.trajectory.values())
    assert terms.energy.dtype == torch.float32
    torch.testing.assert_close(terms.energy, exact.energy, rtol=0.05, atol=0.02)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


DISTRIBUTED = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from minaction.energy.functionals import ActivationEnergy, KineticEnergy
from minaction.objective.objective import EnergyObjective

rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))


x, y = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
mine = slice(4 * rank, 4 * rank + 4)
for energy in (ActivationEnergy(), KineticEnergy()):
    for layers in (None, [nn.ReLU]):
        objective = EnergyObjective(F.cross_entropy, energy, lam=0.1, layers=layers)
        single, replica = build(), DistributedDataParallel(build())
        objective(single, x, y).total.backward()
        objective(replica, x[mine], y[mine]).total.backward()
        for a, b in zip(single.parameters(), replica.module.parameters()):
            torch.testing.assert_close(b.grad, a.grad)
dist.destroy_process_group()
print("equal")
"""


@pytest.mark.slow
def test_two_distributed_processes_have_the_gradients_of_one(tmp_path: Path):
    """The mean over ranks of the gradients on half batches is the gradient on the whole batch."""
    script, store = tmp_path / "worker.py", tmp_path / "store"
    script.write_text(DISTRIBUTED)
    workers = [
        subprocess.Popen(
            [sys.executable, script, str(rank), store],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        results = [worker.communicate(timeout=200) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [out.strip() for out, _ in results] == ["equal", "equal"], results
