"""Budgets steered by held-out accuracy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy
from minaction.errors import InputError
from minaction.models.build import build_model
from minaction.objective.budget import Budget
from minaction.objective.objective import EnergyObjective
from minaction.train.evaluate import Evaluation, measure_energies
from minaction.train.loop import TrainConfig, train
from minaction.train.steering import (
    PROXIMAL_CEILING,
    PROXIMAL_INITIAL,
    RANGE,
    AccuracySteering,
    AccuracyTarget,
    extrapolated,
    isotonic,
    recent,
)

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


def test_the_gap_to_the_baseline_is_that_at_the_same_step():
    target = AccuracyTarget(steps=[10, 20, 30], accuracies=[0.5, 0.9, 0.8], margin=0.02)
    assert target.gap(10, 0.6) == pytest.approx(0.1)
    assert target.gap(15, 0.6) == pytest.approx(0.6 - (0.5 + 0.85) / 2)
    assert target.gap(99, 0.85) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": []}, "as many steps as accuracies"),
        ({"accuracies": [0.1]}, "as many steps as accuracies, one or more, got 2 and 1"),
        ({"margin": 0.0}, "margin must be in"),
        ({"aim": 10.5}, "aim must be in"),
    ],
)
def test_bad_targets(change, said):
    good = {"steps": [1, 2], "accuracies": [0.1, 0.2], "margin": 0.01, "aim": 0.5}
    with pytest.raises(InputError, match=said):
        AccuracyTarget(**good | change)


def test_a_trend_is_extrapolated_in_the_logarithm_of_the_step():
    looks = [(step, 0.01 - 0.02 * math.log(step / 100)) for step in range(100, 1000, 2)]
    assert extrapolated(looks, 2000) == pytest.approx(0.01 - 0.02 * math.log(20), rel=0.02)
    assert extrapolated(looks[:1], 2000) == pytest.approx(0.01)
    # two looks close together make hardly a trend: a straight line would come to 0.24
    assert extrapolated([(100, 0.0), (110, 0.01)], 1000) == pytest.approx(0.0103, rel=0.01)


def test_old_looks_do_not_count():
    looks = [(step, 0.0) for step in range(10, 101, 10)]
    assert [step for step, _ in recent(looks, 100)] == [40, 50, 60, 70, 80, 90, 100]
    assert [step for step, _ in recent(looks[:2], 100)] == [10, 20]
    assert recent([(1, 0.3)], 100) == [(1, 0.3)]


def found_on_validation(accuracy):
    return Evaluation(loss=0.3, accuracy=accuracy, balanced_accuracy=accuracy, predicted_classes=3)


def steered(accuracies, *, aim=0.5, baseline=0.9):
    """Lambda after each look of a training of 10 looks with these accuracies."""
    target = AccuracyTarget(steps=[1], accuracies=[baseline], margin=0.02, aim=aim)
    steering = AccuracySteering(target, steps=100, every=10)
    found = []
    for number, accuracy in enumerate(accuracies, start=1):
        for _ in range(10):
            steering.budget.advance(0.3, 60.0)
        steering(10 * number, found_on_validation(accuracy))
        found.append(float(steering.budget.value))
    return found, steering


def test_a_training_too_seldom_validated_cannot_be_steered():
    target = AccuracyTarget(steps=[1], accuracies=[0.9], margin=0.02)
    AccuracySteering(target, steps=100, every=99)  # one look before the end is enough
    for every in (100, 200):
        with pytest.raises(InputError, match="train longer or lower validate_every"):
            AccuracySteering(target, steps=100, every=every)


def test_in_the_warm_up_the_energy_term_is_held():
    found, steering = steered([0.1, 0.1])
    assert found == pytest.approx([0.06 / 60.0] * 2)
    assert steering.multiplier is None


def test_lambda_rises_where_there_is_room_and_falls_where_there_is_none():
    rising, _ = steered([0.95] * 10)
    assert rising[-1] / rising[1] == pytest.approx(math.exp(RANGE), rel=1e-3)
    falling, _ = steered([0.85] * 10)
    assert falling[-1] / falling[1] == pytest.approx(math.exp(-RANGE), rel=1e-3)
    level, steering = steered([0.89] * 10)
    assert level == pytest.approx([level[1]] * 10, rel=1e-3)
    assert steering.multiplier == pytest.approx(level[1], rel=1e-3)


def test_a_lead_that_melts_away_is_no_room():
    """Still ahead of the baseline, but by then behind it."""
    found, _ = steered([0.96, 0.95, 0.93, 0.91, 0.905])
    assert found[4] < found[3]


def trained(digits, steering=None):
    """Train on digits; return the model and the training."""
    model = build_model("mlp", digits.spec, parameters=5_000, seed=0)
    objective = EnergyObjective(
        F.cross_entropy, ActivationEnergy(), steering.budget if steering else 0.0
    )
    config = TrainConfig(epochs=12, batch_size=32, lr=3e-3, seed=1)
    calls = [steering] if steering else []
    return model, train(model, digits, objective, config, after_validation=calls)


def energy_of(model, split):
    return measure_energies(model, split, {"activation": ActivationEnergy()}).energies["activation"]


@pytest.fixture(scope="module")
def baseline(digits):
    return trained(digits)


def steering_for(baseline, **changes):
    history = baseline[1].history
    target = AccuracyTarget(
        steps=[entry["step"] for entry in history],
        accuracies=[entry["val_accuracy"] for entry in history],
        margin=0.02,
    )
    every = history[0]["step"]
    return AccuracySteering(replace(target, **changes), steps=12 * every, every=every)


def test_energy_is_spent_only_where_the_accuracy_needs_it(digits, baseline):
    steering = steering_for(baseline)
    model, training = trained(digits, steering)
    assert energy_of(model, digits.test) < 0.3 * energy_of(baseline[0], digits.test)
    lost = baseline[1].validation.accuracy - training.validation.accuracy
    assert lost < 0.02 + 2 * (0.02 * 0.98 / len(digits.validation)) ** 0.5
    lams = [entry["lam"] for entry in training.history]
    assert min(lams[-3:]) < steering.multiplier < 1.5 * max(lams[-3:])


def test_where_the_accuracy_is_out_of_reach_lambda_falls(digits, baseline):
    history = trained(digits, steering_for(baseline, accuracies=[1.0] * 12, aim=0.0))[1].history
    lams = [entry["lam"] for entry in history]
    assert lams[-1] < 0.05 * lams[2]
    assert lams[2:] == sorted(lams[2:], reverse=True)


def test_proximal_steps_begin_low_after_a_warm_up_on_the_task_alone_and_end_at_a_ceiling():
    target = AccuracyTarget(steps=[1], accuracies=[0.5], margin=0.01)
    steering = AccuracySteering(target, steps=50, every=5, proximal=True)
    found = []
    for step in range(1, 51):
        found.append(float(steering.budget.value))
        steering.budget.advance(1.0, 1.0)
        if step % 5 == 0:
            steering(step, Evaluation(loss=1.0, accuracy=0.9, balanced_accuracy=0.9,
                                      predicted_classes=3))  # fmt: skip
    assert found[:10] == [0.0] * 10
    assert found[10] == pytest.approx(PROXIMAL_INITIAL)
    assert found == sorted(found)
    assert found[24] < PROXIMAL_CEILING  # half way it is not there yet
    assert found[-1] == pytest.approx(PROXIMAL_CEILING)


def test_a_rule_of_ones_own_is_steered_by_any_score_after_its_own_warm_up():
    target = AccuracyTarget(steps=[1], accuracies=[-2.0], margin=0.02)
    rule = Budget(initial=1e-3, floor=1e-4, ceiling=1e-2, gain=0.5, warmup=40)
    steering = AccuracySteering(target, steps=100, every=10, budget=rule)
    assert steering.budget is rule
    found = []
    for step, loss in zip(range(10, 101, 10), [3.0] * 4 + [1.9] * 6, strict=True):
        for _ in range(10):
            rule.advance(loss, 5.0)
        steering.look(step, -loss)
        found.append(float(rule.value))
    assert found[3] == pytest.approx(1e-3)  # the task alone till then, and lambda where it was
    assert found[4:] == sorted(found[4:])
    assert found[-1] == pytest.approx(1e-2)


@pytest.mark.parametrize("given", [{"budget": Budget(0.5)}, {"budget": Budget(), "proximal": True}])
def test_a_rule_that_something_else_would_move_is_refused(given):
    target = AccuracyTarget(steps=[1], accuracies=[0.9], margin=0.02)
    with pytest.raises(InputError, match="has no limit, which would move it too"):
        AccuracySteering(target, steps=100, every=10, **given)
