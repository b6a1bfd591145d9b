"""Activation checkpointing under the tape: right gradients, or a clear refusal."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from minaction.energy.functionals import ActivationEnergy, Energy, KineticEnergy, UnitEnergy
from minaction.energy.tape import Tape
from minaction.errors import TapeError
from minaction.objective.objective import EnergyObjective

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


class Net(nn.Module):
    """Two blocks of equal layers, run as they are or by checkpoints."""

    def __init__(self, *, reentrant: bool | None = None, frozen: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.reentrant, self.frozen = reentrant, frozen
        self.start = nn.Linear(6, 6)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh()) for _ in range(2)
        )
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        if self.frozen:
            with torch.no_grad():
                x = x + F.relu(self.start(x))
        x = self.start(x)
        for block in self.blocks:
            if self.reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.out(x)


def gradients(model: nn.Module, energy: Energy, layers=None) -> list[torch.Tensor]:
    model = copy.deepcopy(model)
    objective = EnergyObjective(F.cross_entropy, energy, 0.1, layers=layers)
    objective(model, X, Y).total.backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("layers", [None, [nn.ReLU, nn.Tanh]])
@pytest.mark.parametrize("energy", [ActivationEnergy(), UnitEnergy(), KineticEnergy()])
def test_checkpoints_leave_the_gradients_as_they_are(energy, layers):
    wanted = gradients(Net(), energy, layers)
    found = gradients(Net(reentrant=False), energy, layers)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_reentrant_checkpoints_are_refused():
    with pytest.raises(TapeError, match=r"^the energy of 'relu' .* use use_reentrant=False$"):
        gradients(Net(reentrant=True), ActivationEnergy())
    with pytest.raises(TapeError, match=r"'blocks\.0\.1'"), Tape(model := Net(reentrant=True)):
        model(X)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_without_gradients_any_checkpoint_will_do():
    wanted, found = Net(), Net(reentrant=True)
    with torch.no_grad(), Tape(wanted) as one, Tape(found) as other:
        wanted(X)
        found(X)
    assert len(other.trajectory) == len(one.trajectory)


def test_parts_that_run_without_gradients_are_no_checkpoints():
    assert all(g is not None for g in gradients(Net(frozen=True), ActivationEnergy()))
