"""Task loss + lambda * energy, in eager mode."""

from __future__ import annotations

import copy
import math
import pickle

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
from minaction.errors import InputError, LambdaError, TapeError
from minaction.objective.lam import Schedule
from minaction.objective.objective import EnergyObjective, Terms

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def mlp(*output: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), *output
    )


def energies(model: nn.Module) -> list[Energy]:
    return [
        ActivationEnergy(),
        L1Energy(),
        UnitEnergy.of(model, X),
        SynapticEnergy.of(model, X),
        FreeEnergy(s=0.5),
        KineticEnergy(),
        PotentialEnergy(),
        ActionEnergy(),
        ActivationEnergy() + 0.1 * L1Energy(),
        ActivationEnergy() + 0.1 * KineticEnergy(),
    ]


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def traced(model: nn.Module, energy: Energy, **options) -> Tensor:
    with Tape(model, **options) as tape:
        model(X)
    return energy(tape.trajectory)


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("output", [(), (nn.Sigmoid(),)], ids=["linear", "sigmoid"])
def test_terms_are_task_plus_lambda_times_energy(index, output):
    model = mlp(*output)
    energy = energies(model)[index]
    terms = EnergyObjective(F.cross_entropy, energy, lam=0.3)(model, X, Y)
    task, expected = F.cross_entropy(model(X), Y), traced(model, energy)
    torch.testing.assert_close(terms.task, task)
    torch.testing.assert_close(terms.energy, expected)
    torch.testing.assert_close(terms.total, task + 0.3 * expected)
    assert terms.lam == 0.3
    torch.testing.assert_close(
        gradients(model, terms.total), gradients(model, task + 0.3 * expected)
    )


@pytest.mark.parametrize("index", range(10))
def test_lambda_zero_is_the_plain_task_bit_for_bit(index):
    model = mlp()
    energy = energies(model)[index]
    terms = EnergyObjective(F.cross_entropy, energy, lam=0)(model, X, Y)
    assert not terms.energy.requires_grad
    torch.testing.assert_close(terms.energy, traced(model, energy).detach())
    plain = gradients(model, F.cross_entropy(model(X), Y))
    assert all(map(torch.equal, gradients(model, terms.total), plain))


def test_only_training_with_gradients_moves_lambda_on():
    model, rule = mlp(), Schedule(1.0, ramp=10)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=rule)
    lams = []
    for training, grad in [
        (True, True),
        (False, True),
        (True, False),
        (False, False),
        (True, True),
    ]:
        model.train(training)
        with torch.set_grad_enabled(grad):
            lams.append(objective(model, X, Y).lam)
    assert lams == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.2])
    assert rule.value == pytest.approx(0.3)


def test_evaluate_and_observe_do_not_move_lambda_on():
    model, rule = mlp(), Schedule(1.0, ramp=10)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=rule)
    objective.evaluate(model, X, Y, 0.5)
    output, energy = objective.observe(model, X)
    assert rule.value == pytest.approx(0.1)
    torch.testing.assert_close(output, model(X))
    torch.testing.assert_close(energy, traced(model, ActivationEnergy()))


def test_a_resumed_objective_goes_on_identically():
    def train(steps: int, checkpoint=None) -> tuple[list[float], dict]:
        rule = Schedule(1.0, warmup=2, ramp=5)
        objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=rule)
        if checkpoint:
            objective.load_state_dict(checkpoint)
        model = mlp()
        lams = [float(objective(model, X, Y).lam) for _ in range(steps)]
        return lams, objective.state_dict()

    whole, _ = train(12)
    first, checkpoint = train(4)
    second, _ = train(8, pickle.loads(pickle.dumps(checkpoint)))
    assert first + second == whole


@pytest.mark.parametrize("lam", [-1.0, math.nan, math.inf, True, "1"])
def test_bad_lambdas_are_refused(lam):
    with pytest.raises(LambdaError):
        EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=lam)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy())
    with pytest.raises(LambdaError):
        objective.evaluate(mlp(), X, Y, lam)


def test_a_tensor_lambda_is_differentiated_through():
    lam = torch.tensor(0.0, requires_grad=True)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy())
    terms = objective.evaluate(mlp(), X, Y, lam)
    (slope,) = torch.autograd.grad(terms.total, lam)
    torch.testing.assert_close(slope, terms.energy.detach())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_objectives_and_terms_copy(copied):
    model = mlp()
    for energy in energies(model):
        objective = EnergyObjective(F.cross_entropy, energy, lam=Schedule(1.0, ramp=9))
        objective(model, X, Y)
        twin = copied(objective)
        terms, again = objective(model, X, Y), twin(model, X, Y)
        torch.testing.assert_close(again.total, terms.total)
        assert again.lam == terms.lam
        kept = copied(terms)
        assert isinstance(kept, Terms)
        assert torch.equal(kept.total, terms.total)
        assert not kept.total.requires_grad


def test_layers_can_be_chosen():
    model = mlp()
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=1.0, layers=["0", nn.Tanh])
    expected = traced(model, ActivationEnergy(), layers=["0", nn.Tanh])
    torch.testing.assert_close(objective(model, X, Y).energy, expected)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=1.0, layers=["O"])
    with pytest.raises(TapeError, match="'O' did not run"):
        objective(model, X, Y)


def test_costs_are_matched_by_order_where_modules_are_not_followed():
    """A module called `relu` that runs second must not give its cost to the first ReLU."""

    class Misleading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)
            self.first, self.relu = nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.relu(self.b(self.first(self.a(x)))))

    model = Misleading()
    for energy in (UnitEnergy.of(model, X), SynapticEnergy.of(model, X)):
        terms = EnergyObjective(F.cross_entropy, energy, lam=1.0)(model, X, Y)
        torch.testing.assert_close(terms.energy, traced(model, energy))


def test_costs_of_another_model_are_refused():
    energy = UnitEnergy.of(mlp()[:3], X)
    with pytest.raises(InputError, match="no cost is known"):
        EnergyObjective(F.cross_entropy, energy, lam=1.0)(mlp(), X, Y)


class HandWrittenGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


def test_hand_written_activations_are_observed_as_the_tape_does():
    model = nn.Sequential(nn.Linear(6, 5), HandWrittenGELU(), nn.Linear(5, 3))
    terms = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=1.0)(model, X, Y)
    hidden = model[:2](X)
    torch.testing.assert_close(terms.energy, hidden.square().sum() / len(X))


class Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.gelu(self.a(x)).mul_(2.0))


@pytest.mark.parametrize("energy", [ActivationEnergy(), KineticEnergy(), L1Energy()])
def test_an_activation_overwritten_later_is_an_error_that_a_copy_heals(energy):
    model = Overwriting()
    with pytest.raises(TapeError, match="clone=True"):
        EnergyObjective(F.cross_entropy, energy, lam=1.0)(model, X, Y)
    terms = EnergyObjective(F.cross_entropy, energy, lam=1.0, clone=True)(model, X, Y)
    terms.total.backward()
    if isinstance(energy, ActivationEnergy):
        expected = F.gelu(model.a(X)).square().sum() / len(X)
        torch.testing.assert_close(terms.energy, expected)


def test_an_overwritten_activation_does_no_harm_to_a_plain_task():
    terms = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=0.0)(Overwriting(), X, Y)
    terms.total.backward()


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("inside")


@pytest.mark.parametrize("layers", [None, [nn.ReLU]])
def test_nothing_is_left_after_an_exception_in_the_forward_pass(layers):
    model = mlp(Failing())
    rule = Schedule(1.0, ramp=10)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=rule, layers=layers)
    with pytest.raises(ValueError, match="inside"):
        objective(model, X, Y)
    assert torch.overrides._len_torch_function_stack() == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert rule.value == pytest.approx(0.1)


def test_inputs_may_be_tensors_tuples_and_mappings():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.b(self.a(x * scale).relu())

    model, scale = Two(), torch.tensor(2.0)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=1.0)
    totals = [objective(model, x, Y).total for x in ((X, scale), {"scale": scale, "x": X})]
    torch.testing.assert_close(*totals)


def test_the_task_loss_gets_outputs_of_any_form():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = self.a(x).relu()
            return {"logits": self.b(hidden), "hidden": hidden}

    def task(output: dict[str, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(output["logits"], y)

    terms = EnergyObjective(task, ActivationEnergy(), lam=1.0)(TwoHeads(), X, Y)
    assert float(terms.energy.detach()) > 0


def test_training_under_the_energy_lowers_it():
    results = {}
    for lam in (0.0, 0.1):
        model = mlp()
        objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=lam)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(200):
            optimizer.zero_grad()
            objective(model, X, Y).total.backward()
            optimizer.step()
        results[lam] = objective(model, X, Y).energy.item()
    assert results[0.1] < 0.2 * results[0.0]
