from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import Split
from minaction.energy.functionals import ActivationEnergy
from minaction.errors import InputError
from minaction.models.build import build_model
from minaction.models.conventional import MLP
from minaction.objective.lam import Schedule
from minaction.objective.objective import EnergyObjective
from minaction.train.loop import TrainConfig, batches, build_optimizer, train

SMALL = TrainConfig(epochs=2, batch_size=10, lr=0.01, seed=5)


def objective(lam=0.0):
    return EnergyObjective(F.cross_entropy, ActivationEnergy(), lam)


def network():
    torch.manual_seed(0)
    return MLP(5, (8, 4), 3)


class Shrinking:
    """Stands in for proximal steps: notes their strength."""

    def __init__(self):
        self.strengths = []

    def step(self, strength):
        self.strengths.append(strength)


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def plain_batches(split, config):
    """The data order as the definition has it: one permutation per epoch, remainder left out."""
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(config.epochs):
        order = torch.randperm(len(split), generator=generator).tolist()
        full = len(order) // config.batch_size
        yield [order[i * config.batch_size :][: config.batch_size] for i in range(full)]


def mlp_by_hand(parameters, x):
    """An MLP with two hidden layers, and its activation energy."""
    w1, b1, w2, b2, w3, b3 = parameters
    first = (x.flatten(1) @ w1.T + b1).clamp(min=0)
    second = (first @ w2.T + b2).clamp(min=0)
    energy = (first**2).sum(1).mean() + (second**2).sum(1).mean()
    return second @ w3.T + b3, energy


def cnn_by_hand(parameters, x):
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    first = F.conv2d(x, w1, b1, padding=1).clamp(min=0)
    second = F.conv2d(F.max_pool2d(first, 2), w2, b2, padding=1).clamp(min=0)
    third = (F.max_pool2d(second, 2).flatten(1) @ w3.T + b3).clamp(min=0)
    energy = sum((a**2).flatten(1).sum(1).mean() for a in (first, second, third))
    return third @ w4.T + b4, energy


def clip_by_hand(parameters, limit):
    """Scale the gradients down to a norm; return what it was."""
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in parameters))
    for parameter in parameters:
        parameter.grad *= min(1.0, limit / (norm + 1e-6))
    return norm


@pytest.mark.parametrize(
    ("name", "by_hand", "lam", "clip_norm"),
    [
        ("mlp", mlp_by_hand, 0.0, 0.5),
        ("mlp", mlp_by_hand, 2.0**-10, None),
        ("cnn", cnn_by_hand, 0.0, None),
        ("cnn", cnn_by_hand, 2.0**-10, 0.25),
    ],
)
def test_equals_the_slow_twin(digits, in_float64, name, by_hand, lam, clip_norm):
    """In float64, so that another order of the same sums cannot grow into a difference."""
    config = TrainConfig(
        epochs=2, batch_size=100, lr=3e-3, weight_decay=0.01, clip_norm=clip_norm, seed=11
    )
    model = in_float64(build_model(name, digits.spec, parameters=5_000, seed=1))
    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.lr, weight_decay=config.weight_decay, foreach=False, fused=False
    )
    expected, norms = [], []
    for epoch in plain_batches(digits.train, config):
        tasks, energies = [], []
        for indices in epoch:
            logits, energy = by_hand(parameters, digits.train.x[indices].double())
            task = F.cross_entropy(logits, digits.train.y[indices])
            optimizer.zero_grad()
            (task + lam * energy).backward()
            norms.append(clip_by_hand(parameters, clip_norm or math.inf))
            optimizer.step()
            tasks.append(task.item())
            energies.append(energy.item())
        with torch.no_grad():
            logits, _ = by_hand(parameters, digits.validation.x.double())
        expected.append(
            {
                "train_loss": sum(tasks) / len(tasks),
                "train_energy": sum(energies) / len(energies),
                "val_loss": F.cross_entropy(logits, digits.validation.y).item(),
                "val_accuracy": (logits.argmax(1) == digits.validation.y).double().mean().item(),
            }
        )

    training = train(model, digits, objective(lam), config)

    assert clip_norm is None or min(norms) < clip_norm < max(norms)
    for found, wanted in zip(training.history, expected, strict=True):
        assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-6)
    for found, wanted in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert training.steps == config.epochs * (len(digits.train) // config.batch_size)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_lambda_zero_is_training_without_energy_bit_for_bit(digits, name):
    config = TrainConfig(epochs=1, batch_size=64, seed=3)
    model = build_model(name, digits.spec, parameters=5_000, seed=2)
    plain = copy.deepcopy(model)
    optimizer = build_optimizer(plain, config)
    for epoch in plain_batches(digits.train, config):
        for indices in epoch:
            optimizer.zero_grad()
            F.cross_entropy(plain(digits.train.x[indices]), digits.train.y[indices]).backward()
            optimizer.step()

    train(model, digits, objective(0), config)

    assert equal(model.parameters(), plain.parameters())


def test_lambda_lowers_energy(digits):
    config = TrainConfig(epochs=2, batch_size=32, seed=0)
    energies = []
    for lam in (0, 1e-2):
        model = build_model("mlp", digits.spec, parameters=5_000)
        energies.append(train(model, digits, objective(lam), config).history[-1]["train_energy"])
    assert energies[1] < 0.5 * energies[0]


def test_same_seed_same_result_whatever_the_global_state(noise):
    results = []
    for state, seed in ((1, 5), (2, 5), (1, 6)):
        model = network()
        torch.manual_seed(state)
        before = torch.get_rng_state()
        training = train(model, noise, objective(1e-3), replace(SMALL, seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        results.append((weights(model), untimed(training)))
    assert equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not equal(results[0][0], results[2][0])


@pytest.mark.parametrize(("batch_size", "full"), [(10, 10), (30, 3), (100, 1), (1, 100), (51, 1)])
def test_batches_are_full_and_distinct(batch_size, full):
    split = Split(x=torch.arange(100.0)[:, None], y=torch.arange(100))
    generator = torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(2):
        seen = []
        for x, y in batches(split, batch_size, generator):
            assert x.shape == (batch_size, 1)
            assert torch.equal(x[:, 0].long(), y)
            seen += y.tolist()
        assert len(seen) == len(set(seen)) == full * batch_size
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_every_epoch_is_a_permutation():
    split = Split(x=torch.zeros(60, 1), y=torch.arange(60))
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        seen = torch.cat([y for _, y in batches(split, 12, generator)])
        assert torch.equal(seen.sort().values, torch.arange(60))
        assert not torch.equal(seen, torch.arange(60))


def test_order_depends_on_the_seed_alone():
    split = Split(x=torch.zeros(60, 1), y=torch.arange(60))

    def order(seed, state):
        torch.manual_seed(state)
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([y for _, y in batches(split, 60, generator)])

    assert torch.equal(order(1, 10), order(1, 20))
    assert not torch.equal(order(1, 10), order(2, 10))


def test_batch_larger_than_the_split(noise):
    model = network()
    before = weights(model)
    with pytest.raises(InputError, match=r"batch_size is 101, .* only 100 samples"):
        train(model, noise, objective(), replace(SMALL, batch_size=101))
    assert equal(model.parameters(), before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"validate_every": -1}, "validate_every is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": -5}, "batch_size is -5"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"lr": math.inf}, "lr is inf"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"clip_norm": math.inf}, "clip_norm is inf"),
    ],
)
def test_unusable_hyperparameters(change, said):
    with pytest.raises(InputError, match=said):
        TrainConfig(**change)


def untimed(training):
    return [
        {key: value for key, value in entry.items() if key != "train_seconds"}
        for entry in training.history
    ]


def test_history(noise):
    training = train(network(), noise, objective(1e-3), replace(SMALL, epochs=3))
    assert [entry["epoch"] for entry in training.history] == [1, 2, 3]
    for entry in training.history:
        assert list(entry) == [
            "epoch",
            "step",
            "train_seconds",
            "train_loss",
            "train_energy",
            "lam",
            "val_loss",
            "val_accuracy",
        ]
        assert all(math.isfinite(value) for value in entry.values())
        assert entry["lam"] == 1e-3
    assert training.steps == 30
    assert training.train_seconds > 0
    assert not training.diverged


def test_validations_between_epochs_and_a_run_of_so_many_steps(noise):
    config = replace(SMALL, epochs=2)
    per_epoch = len(noise.train) // config.batch_size
    plain, models = train(network(), noise, objective(1e-3), config), [network(), network()]
    often = replace(config, steps=2 * per_epoch - 1, validate_every=4)
    training = train(models[0], noise, objective(1e-3), often)

    assert training.steps == 2 * per_epoch - 1
    assert [entry["step"] for entry in training.history] == [4, 8, 12, 16, 19]
    assert [entry["epoch"] for entry in training.history] == [1, 1, 2, 2, 2]
    seconds = [entry["train_seconds"] for entry in training.history]
    assert seconds == sorted(seconds)
    assert seconds[-1] == training.train_seconds
    assert plain.history[-1]["step"] == 2 * per_epoch

    # how often it is looked at changes nothing of what is trained
    train(models[1], noise, objective(1e-3), replace(often, validate_every=None))
    assert equal(*[weights(model) for model in models])


def test_schedule_moves_on_with_every_step(noise):
    rule = Schedule(0.5, warmup=5, ramp=10)
    training = train(network(), noise, objective(rule), SMALL)
    assert rule.state_dict() == {"steps": training.steps} == {"steps": 20}
    assert [entry["lam"] for entry in training.history] == pytest.approx([0.3, 0.5])


def test_divergence_stops_the_run_within_the_epoch(noise):
    long = Split(x=torch.randn(500, 5), y=torch.arange(500) % 3)
    model = network()
    with torch.no_grad():
        model.net[1].weight[0] = math.nan
    training = train(model, replace(noise, train=long), objective(), replace(SMALL, batch_size=2))
    assert training.diverged
    assert training.steps == 100  # of 250: looked at every 100 steps
    (entry,) = training.history
    assert math.isnan(entry["train_loss"])
    assert "val_loss" not in entry


def test_runaway_learning_rate_is_divergence(digits):
    model = build_model("mlp", digits.spec, parameters=5_000)
    config = TrainConfig(epochs=3, batch_size=32, lr=1e30)
    training = train(model, digits, objective(), config)
    assert training.diverged
    assert len(training.history) == 1


class LostInEvaluation(nn.Module):
    """Fine while training, infinite logits in evaluation."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x) if self.training else self.net(x) + math.nan


def test_divergence_seen_only_in_validation(noise):
    training = train(LostInEvaluation(), noise, objective(), SMALL)
    assert training.diverged
    assert len(training.history) == 1
    assert math.isfinite(training.history[0]["train_loss"])
    assert math.isnan(training.history[0]["val_loss"])


def test_test_split_is_not_touched(noise):
    poisoned = Split(x=torch.full((20, 5), math.nan), y=noise.test.y)
    results = []
    for dataset in (noise, replace(noise, test=poisoned)):
        model = network()
        training = train(model, dataset, objective(1e-3), SMALL)
        results.append((weights(model), untimed(training)))
    assert equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_data_is_not_changed(noise):
    before = [split.x.clone() for split in noise.splits().values()]
    train(network(), noise, objective(1e-3), SMALL)
    assert equal([split.x for split in noise.splits().values()], before)


def test_no_gradient_stays_attached_to_the_history(noise):
    training = train(network(), noise, objective(1e-3), SMALL)
    assert all(isinstance(v, int | float) for entry in training.history for v in entry.values())


def test_the_optimiser_does_what_torchs_adamw_does():
    config = TrainConfig(lr=0.01, weight_decay=0.1)
    ours, theirs = (nn.Linear(5, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizers = [
        build_optimizer(ours, config),
        torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, fused=True),
    ]
    for step in range(4):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.full((2, 5), step - 1.5)).square().sum().backward()
            optimizer.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, theirs.get_parameter(name), rtol=0, atol=0)


def test_proximal_steps_take_the_place_of_the_energy_in_the_loss(noise):
    shrinking, rule = Shrinking(), Schedule(0.5, warmup=12)
    model, plain = network(), network()
    found = train(model, noise, objective(rule), SMALL, proximal=shrinking)
    train(plain, noise, objective(), SMALL)
    assert equal(weights(model), weights(plain))
    assert shrinking.strengths == [0.0] * 12 + [SMALL.lr * 0.5] * 8
    assert [entry["lam"] for entry in found.history] == [0.0, 0.5]
    assert found.history[0]["train_energy"] > 0
