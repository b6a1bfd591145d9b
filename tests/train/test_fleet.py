from __future__ import annotations

import copy
import math
import re
import time
from dataclasses import replace

import pytest
import torch
from fleets import Doubled, alike, both, largest_difference, untimed
from torch import nn
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy, L1Energy
from minaction.errors import InputError
from minaction.models.build import build_model
from minaction.models.conventional import MLP
from minaction.objective.lam import Schedule
from minaction.objective.objective import EnergyObjective
from minaction.train.evaluate import evaluate
from minaction.train.fleet import train_fleet
from minaction.train.loop import TrainConfig
from minaction.train.stackable import stacking_obstacle
from minaction.train.steering import AccuracySteering, AccuracyTarget

SMALL = TrainConfig(steps=45, validate_every=20, batch_size=10, lr=0.01)
RUNS = 4


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP(5, (8, 4), 3)


class Normed(nn.Module):
    """Batch normalisation, with buffers that training changes, and one that differs by seed."""

    def __init__(self, seed):
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0 + seed))
        first, relu, *rest = network(seed).net[1:]
        first.bias = None  # its gradient would be rounding errors alone
        self.net = nn.Sequential(first, nn.BatchNorm1d(8), relu, *rest)

    def forward(self, x):
        return self.net(self.scale * x)


class Counting(nn.Module):
    """Puts a new tensor in the place of its buffer with every pass, and uses it."""

    def __init__(self):
        super().__init__()
        self.net = network()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes = self.passes + x.detach().mean()
        return self.net(x + self.passes)


def configs(**changes):
    return [replace(SMALL, seed=seed, **changes) for seed in range(RUNS)]


def test_records_are_those_of_the_loop_in_float32(digits):
    config = TrainConfig(epochs=3, batch_size=32, lr=3e-3)
    lams = [0.0, 1e-4, 1e-3, Schedule(1e-3, warmup=20, ramp=60)]

    def make():
        models = [build_model("mlp", digits.spec, parameters=5_000, seed=s) for s in range(RUNS)]
        return alike(models, [replace(config, seed=s) for s in range(RUNS)], copy.deepcopy(lams))

    alone, together, expected, found = both(make, digits)
    assert largest_difference(alone, together) < 1e-4
    for one, other in zip(expected, found, strict=True):
        for entry, wanted in zip(untimed(other), untimed(one), strict=True):
            assert list(entry) == list(wanted)
            assert entry == pytest.approx(wanted, rel=1e-4, abs=2 / len(digits.validation))
        assert other.validation.loss == pytest.approx(one.validation.loss, rel=1e-4)
        assert not other.diverged


def test_models_end_in_evaluation_mode_with_the_weights_that_were_validated(noise):
    runs = alike([network(seed) for seed in range(RUNS)], configs())
    for run, training in zip(runs, train_fleet(runs, noise), strict=True):
        assert not run.model.training
        validation = evaluate(run.model, noise.validation, F.cross_entropy)
        assert validation.loss == pytest.approx(training.validation.loss, rel=1e-5)
        assert validation.predicted_classes == training.validation.predicted_classes


def test_runs_keep_their_places_whatever_their_learning_rates(noise):
    def make():
        rates = [
            replace(c, lr=lr) for c, lr in zip(configs(), (3e-2, 1e-3, 1e-2, 1e-3), strict=True)
        ]
        return alike([network(seed) for seed in range(RUNS)], rates)

    alone, together, expected, found = both(make, noise)
    assert largest_difference(alone, together) < 1e-5
    for one, other in zip(expected, found, strict=True):
        assert other.history[-1]["train_loss"] == pytest.approx(one.history[-1]["train_loss"])


@pytest.mark.parametrize("build", [Normed, lambda seed: Counting()])
def test_buffers_are_each_networks_own(noise, build):
    def make():
        return alike([Doubled(build(seed)) for seed in range(RUNS)], configs())

    alone, together, *_ = both(make, noise)
    assert largest_difference(alone, together) < 1e-12
    first, second = (run.model.state_dict() for run in together[:2])
    changed = [name for name in first if "running" in name or "passes" in name]
    assert changed
    assert all(not torch.equal(first[name], second[name]) for name in changed)


def test_dropout_draws_other_numbers_in_each_run(noise):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.dropout = network(), nn.Dropout(0.5)

        def forward(self, x):
            return self.net(self.dropout(x))

    same = [replace(SMALL, seed=1)] * RUNS
    runs = alike([Dropping() for _ in range(RUNS)], same)
    assert stacking_obstacle(runs[0], noise.train) is None
    losses = {training.history[-1]["train_loss"] for training in train_fleet(runs, noise)}
    assert len(losses) == RUNS


@pytest.mark.parametrize("when", ["within an epoch", "at once"])
def test_a_run_that_diverges_leaves_and_the_others_go_on(noise, when):
    long = replace(noise, train=replace(noise.train, x=noise.train.x.repeat(5, 1),
                                        y=noise.train.y.repeat(5)))  # fmt: skip
    config = TrainConfig(epochs=2, batch_size=2)

    def make():
        models = [network(seed) for seed in range(RUNS)]
        if when == "at once":
            with torch.no_grad():
                models[2].net[1].weight[0] = math.nan
        rates = [1e-2, 1e-2, 1e-2 if when == "at once" else 1e25, 1e-3]
        return alike(models, [replace(config, seed=s, lr=lr) for s, lr in enumerate(rates)])

    alone, together, expected, found = both(make, long)
    assert [training.diverged for training in found] == [False, False, True, False]
    assert [training.steps for training in found] == [training.steps for training in expected]
    assert found[2].steps == 100  # of 500: looked at every 100 steps
    assert found[2].validation is None
    for one, other in zip(expected, found, strict=True):
        assert len(other.history) == len(one.history)
        assert list(other.history[-1]) == list(one.history[-1])
    assert largest_difference(alone[:2], together[:2]) < 1e-4
    assert largest_difference(alone[3:], together[3:]) < 1e-4


def test_a_run_that_diverges_only_in_validation_leaves_with_what_was_found(noise):
    class Lost(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.net = network(seed)
            self.register_buffer("blow", torch.tensor(math.inf if seed == 1 else 1.0))

        def forward(self, x):
            return self.net(x) if self.training else self.net(x) * self.blow

    def make():
        return alike([Lost(seed) for seed in range(RUNS)], configs())

    _, _, expected, found = both(make, noise)
    assert [training.diverged for training in found] == [False, True, False, False]
    assert [training.diverged for training in expected] == [False, True, False, False]
    assert found[1].steps == expected[1].steps == 20
    assert not math.isfinite(found[1].history[-1]["val_loss"])
    assert found[0].steps == 45


def test_where_all_runs_diverge_the_fleet_ends(noise):
    runs = alike([network(seed) for seed in range(2)], configs(lr=1e30)[:2])
    found = train_fleet(runs, noise)
    assert all(training.diverged for training in found)
    assert {training.steps for training in found} == {20}


def test_budgets_are_steered_run_by_run(noise):
    def make():
        runs = []
        for seed, wanted in enumerate((0.2, 0.5, 0.9)):
            target = AccuracyTarget(steps=[10], accuracies=[wanted], margin=0.1)
            steering = AccuracySteering(target, steps=90, every=10)
            model, config = network(seed), replace(SMALL, steps=90, validate_every=10, seed=seed)
            (run,) = alike([model], [config], [steering.budget])
            runs.append(replace(run, after_validation=[steering]))
        return runs

    alone, together, expected, found = both(make, noise)
    assert largest_difference(alone, together) < 1e-3
    ends = []
    for one, other, run, twin in zip(expected, found, alone, together, strict=True):
        lams = [entry["lam"] for entry in other.history]
        assert lams == pytest.approx([entry["lam"] for entry in one.history], rel=1e-3)
        (steering,), (own,) = run.after_validation, twin.after_validation
        assert own.multiplier == pytest.approx(steering.multiplier, rel=1e-3)
        ends.append(lams[-1])
    assert len(set(ends)) == 3


def test_seconds_are_shared_out_equally_and_add_up(noise):
    runs = alike([network(seed) for seed in range(RUNS)], configs())
    started = time.perf_counter()
    found = train_fleet(runs, noise)
    wall = time.perf_counter() - started
    (seconds,) = {training.train_seconds for training in found}
    assert 0 < RUNS * seconds < wall
    for training in found:
        history = [entry["train_seconds"] for entry in training.history]
        assert history == sorted(history)
        assert history[-1] == training.train_seconds


def test_same_runs_same_result_whatever_the_global_state(noise):
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        runs = alike([network(seed) for seed in range(RUNS)], configs())
        results.append([untimed(training) for training in train_fleet(runs, noise)])
        assert torch.equal(torch.get_rng_state(), before)
    assert results[0] == results[1]


def test_a_fleet_of_one_is_a_run(noise):
    def make():
        return alike([network()], configs()[:1])

    alone, together, *_ = both(make, noise)
    assert largest_difference(alone, together) < 1e-5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: replace(run, config=replace(run.config, batch_size=5)), "length or batch"),
        (lambda run: replace(run, config=replace(run.config, steps=46)), "length or batch size"),
        (lambda run: replace(run, objective=objective(energy=L1Energy())), "another energy"),
        (lambda run: replace(run, objective=objective(F.nll_loss)), "another task loss"),
        (lambda run: replace(run, objective=objective(layers=[nn.ReLU])), "another layers"),
        (lambda run: replace(run, model=MLP(5, (8, 5), 3)), "network 1 is built otherwise"),
        (lambda run: replace(run, model=with_tanh(network())), "network 1 is built otherwise"),
        (lambda run: replace(run, model=with_buffer(network())), "network 1 is built otherwise"),
        (lambda run: replace(run, model=network().double()), "parameters are of 2 types"),
    ],
)
def test_runs_that_are_not_alike_are_refused(noise, change, said):
    first, second = alike([network(), network()], configs()[:2])
    before = copy.deepcopy(first.model.state_dict())
    with pytest.raises(InputError, match=said):
        train_fleet([first, change(second)], noise)
    assert all(torch.equal(v, before[k]) for k, v in first.model.state_dict().items())


def with_tanh(model):
    model.net[2] = nn.Tanh()
    return model


def with_buffer(model):
    model.register_buffer("extra", torch.zeros(1))
    return model


def objective(task_loss=F.cross_entropy, energy=None, layers=None):
    return EnergyObjective(task_loss, energy or ActivationEnergy(), 1e-3, layers=layers)


def test_no_runs_and_too_large_batches_are_refused(noise):
    with pytest.raises(InputError, match="runs is empty"):
        train_fleet([], noise)
    with pytest.raises(InputError, match=r"batch_size is 101, .* only 100 samples"):
        train_fleet(alike([network()], [replace(SMALL, batch_size=101)]), noise)


class Branching(nn.Module):
    """Asks for the values of its activations."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x) if x.sum() > 0 else -self.net(x)


class Gated(nn.Module):
    """Has a gate computed from a parameter alone, which a stack cannot tell from an activation."""

    def __init__(self):
        super().__init__()
        self.net, self.gate = network(), nn.Parameter(torch.zeros(1, 5))

    def forward(self, x):
        return self.net(torch.sigmoid(self.gate) * x)


class Idle(nn.Module):
    """Has a parameter that it does not use."""

    def __init__(self):
        super().__init__()
        self.net, self.idle = network(), nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize(
    ("model", "weight_decay", "said"),
    [
        (Branching(), 0.0, "Branching cannot be stacked: .*data-dependent control flow"),
        (Gated(), 0.0, r"Gated cannot be stacked: its energy is [\d.]+ there and [\d.]+ alone"),
        (Idle(), 0.1, "Idle cannot be stacked: idle has no gradient"),
        (Idle(), 0.0, None),
        (network(), 0.1, None),
    ],
)
def test_what_keeps_a_network_from_being_stacked(noise, model, weight_decay, said):
    (run,) = alike([model], [replace(SMALL, weight_decay=weight_decay)])
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    obstacle = stacking_obstacle(run, noise.train)
    if said is None:
        assert obstacle is None
    else:
        assert re.match(said, obstacle)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
