"""The objective warns, once, of layers whose energy says nothing."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy, PotentialEnergy
from minaction.objective.objective import EnergyObjective

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def objective(energy=None, layers=None) -> EnergyObjective:
    return EnergyObjective(F.cross_entropy, energy or ActivationEnergy(), 1e-3, layers=layers)


def normalised(*, affine: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5, affine=affine), nn.Linear(5, 4), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip


def messages(objective: EnergyObjective, model: nn.Module, x=X) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        objective(model, x, Y).total.backward()
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_what_only_a_normalisation_reads_is_named_once():
    model, watching = normalised(), objective()
    (message,) = messages(watching, model)
    assert message.startswith("the energy of '1' can fall by mere rescaling")
    assert messages(watching, model) == []
    assert messages(pickle.loads(pickle.dumps(watching)), model) == []


def test_the_plain_output_of_a_normalisation_is_named():
    (message,) = messages(objective(layers=["2"]), normalised(affine=False))
    assert message.startswith("the energy of '2' cannot change")


@pytest.mark.parametrize("x", [(X,), {"input": X}])
def test_any_form_of_input_is_looked_at(x):
    assert len(messages(objective(), normalised(), x)) == 1


def test_sound_networks_and_energies_of_weights_are_not_complained_about():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    assert messages(objective(), model) == []
    assert messages(objective(PotentialEnergy()), normalised()) == []


def test_an_evaluation_is_not_the_first_call():
    model, watching = normalised(), objective()
    with torch.no_grad():
        watching(model, X, Y)
    watching(model.eval(), X, Y)
    assert len(messages(watching, model.train())) == 1


def test_the_look_changes_neither_the_model_nor_the_random_state():
    looked_at, spared = normalised(), objective()
    plain = copy.deepcopy(looked_at)
    spared._looked = True
    torch.manual_seed(1)
    messages(objective(), looked_at)
    torch.manual_seed(1)
    messages(spared, plain)
    for (name, one), other in zip(
        looked_at.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    for one, other in zip(looked_at.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_model_that_does_not_run_on_two_samples_is_trained_all_the_same():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = normalised()

        def forward(self, x):
            return self.inner(x.view(8, 6))

    watching = objective()
    assert messages(watching, Picky()) == []
    assert len(messages(objective(), normalised())) == 1


def test_lazy_layers_are_initialised_by_the_first_step_alone():
    def lazy():
        return nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3))

    watching, model = objective(), lazy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that lazy layers are new
        watching(model, X, Y)
    assert len(messages(watching, model)) == 1


def test_inside_a_transform_nothing_is_looked_at():
    model, watching = normalised(), objective()
    model[2] = nn.BatchNorm1d(5, track_running_stats=False)
    model[5] = nn.Identity()
    parameters = dict(model.named_parameters())

    def loss(parameters, x, y):
        functional = lambda x: torch.func.functional_call(model, parameters, (x,))  # noqa: E731
        return F.cross_entropy(functional(x), y)

    def stepped(parameters, x, y):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return watching(model, x, y).total + loss(parameters, x, y)

    torch.func.grad(stepped)(parameters, X, Y)


def test_under_the_compiler_nothing_is_looked_at():
    watching, model = objective(), normalised()

    @torch.compile(backend="eager")
    def step(x, y):
        return watching.evaluate(model, x, y, 1e-3).total

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        step(X, Y).backward()
    assert len(messages(watching, model)) == 1
