"""Budgets steered by held-out accuracy."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy
from minaction.errors import InputError
from minaction.models.build import build_model
from minaction.objective.budget import Budget
from minaction.objective.objective import EnergyObjective
from minaction.train.evaluate import evaluate, measure_energies
from minaction.train.loop import TrainConfig, train
from minaction.train.steering import AccuracyFloor, AccuracySteering, isotonic

ACCURACIES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(ACCURACIES)
def test_an_isotonic_fit_keeps_the_mean_and_never_falls(values):
    fit = isotonic(values)
    assert len(fit) == len(values)
    assert sum(fit) == pytest.approx(sum(values))
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(fit))


@given(ACCURACIES, ACCURACIES)
def test_no_other_sequence_that_never_falls_is_nearer(values, others):
    fit, other = isotonic(values), sorted(others[: len(values)])
    if len(other) == len(values):
        assert squares(fit, values) <= squares(other, values) + 1e-9


def squares(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def test_known_isotonic_fits():
    assert isotonic([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    assert isotonic([1.0, 3.0, 2.0, 4.0]) == [1.0, 2.5, 2.5, 4.0]
    assert isotonic([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]


def test_the_floor_follows_the_baseline():
    floor = AccuracyFloor(steps=[10, 20, 30], accuracies=[0.5, 0.9, 0.8], margin=0.02, aim=0.5)
    assert floor.at(10) == pytest.approx(0.5 - 0.01)
    assert floor.at(15) == pytest.approx((0.5 + 0.85) / 2 - 0.01)
    assert floor.at(1) == floor.at(10)  # before the first validation there is nothing to compare
    assert floor.at(99) == floor.at(30) == pytest.approx(0.85 - 0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": []}, "as many steps as accuracies"),
        ({"accuracies": [0.1]}, "as many steps as accuracies, one or more, got 2 and 1"),
        ({"margin": 0.0}, "margin must be in"),
        ({"aim": 1.5}, "aim must be in"),
    ],
)
def test_bad_floors(change, said):
    good = {"steps": [1, 2], "accuracies": [0.1, 0.2], "margin": 0.01, "aim": 0.5}
    with pytest.raises(InputError, match=said):
        AccuracyFloor(**good | change)


def trained(digits, budget=None, aim=0.5, accuracies=(0.5,), steps=(1,)):
    """Train on digits; return the model, the steering and the training."""
    model = build_model("mlp", digits.spec, parameters=5_000, seed=0)
    floor = AccuracyFloor(steps=steps, accuracies=accuracies, margin=0.02, aim=aim)
    rule = budget or 0.0
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), rule)
    calls = []
    if budget:
        steering = AccuracySteering(
            model, budget, digits.validation, F.cross_entropy, floor, every=5
        )
        calls.append(steering)
    config = TrainConfig(epochs=12, batch_size=32, lr=3e-3, seed=1)
    training = train(model, digits, objective, config, after_step=calls)
    return model, calls[0] if calls else None, training


def energy_of(model, split):
    return measure_energies(model, split, {"activation": ActivationEnergy()}).energies["activation"]


def test_energy_is_spent_only_where_the_accuracy_needs_it(digits):
    plain, _, base = trained(digits)
    curve = {
        "steps": [entry["step"] for entry in base.history],
        "accuracies": [entry["val_accuracy"] for entry in base.history],
    }
    budget = Budget(gain=0.7, warmup=50)
    model, steering, training = trained(digits, budget, **curve)
    assert energy_of(model, digits.test) < 0.2 * energy_of(plain, digits.test)
    lost = base.validation.accuracy - training.validation.accuracy
    assert lost < 0.02 + 2 * (0.02 * 0.98 / len(digits.validation)) ** 0.5
    assert steering.multiplier(50) == pytest.approx(float(budget.value), rel=9)
    assert budget.floor < steering.multiplier(50) < budget.ceiling


def test_an_accuracy_out_of_reach_leaves_lambda_at_its_floor(digits):
    budget = Budget(gain=0.7, warmup=50)
    trained(digits, budget, accuracies=[1.0], aim=0.0)
    assert float(budget.value) == pytest.approx(budget.floor, rel=1e-4)


def test_nothing_is_looked_at_in_the_warm_up(digits):
    budget = Budget(gain=0.7, warmup=10_000)
    _, steering, training = trained(digits, budget)
    assert {entry["lam"] for entry in training.history} == {0.0}
    assert steering.multiplier(10_000) is None


def test_a_look_leaves_the_training_as_it_was(digits):
    """A floor that is met exactly changes no lambda, so nothing else may change either."""
    generator = torch.random.get_rng_state()
    budget = Budget(initial=1e-4, gain=1e-30)
    steered, _, _ = trained(digits, budget)
    fixed = build_model("mlp", digits.spec, parameters=5_000, seed=0)
    objective = EnergyObjective(
        F.cross_entropy, ActivationEnergy(), float(Budget(initial=1e-4).value)
    )
    train(fixed, digits, objective, TrainConfig(epochs=12, batch_size=32, lr=3e-3, seed=1))
    for one, other in zip(steered.parameters(), fixed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert evaluate(steered, digits.test, F.cross_entropy) == evaluate(
        fixed, digits.test, F.cross_entropy
    )
