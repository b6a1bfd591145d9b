from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import Split
from minaction.energy.functionals import (
    ActionEnergy,
    ActivationEnergy,
    FreeEnergy,
    KineticEnergy,
    L1Energy,
    PotentialEnergy,
    UnitEnergy,
)
from minaction.models.conventional import CNN, MLP
from minaction.train.evaluate import BATCH, evaluate, learned, measure_energies

SAMPLES = 2 * BATCH + 300  # the last batch is not full
DEAD = (1, 4)


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 2, 8, 8, generator=generator)
    return Split(x=x, y=torch.arange(SAMPLES) % 4)


@pytest.fixture(scope="module")
def cnn():
    """A CNN of whose first six channels two are dead."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CNN((2, 8, 8), (6, 5), 7, 4)
    with torch.no_grad():
        model.features[0].bias[list(DEAD)] = -1000.0
    return model


@torch.no_grad()
def activations(model, x):
    """Every hidden activation of the CNN above."""
    first = F.relu(model.features[0](x))
    second = F.relu(model.features[3](F.max_pool2d(first, 2)))
    third = F.relu(model.classifier[1](F.max_pool2d(second, 2).flatten(1)))
    return {"features.1": first, "features.4": second, "classifier.2": third}


class Says(nn.Module):
    """Predicts the class its input names."""

    def forward(self, x):
        return F.one_hot(x.long().flatten(), 4).float()


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur():
    y = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2])
    predicted = torch.tensor([0.0, 0, 0, 0, 0, 2, 2, 3])
    found = evaluate(Says(), Split(x=predicted[:, None], y=y), F.cross_entropy)
    assert found.accuracy == pytest.approx(6 / 8)
    assert found.balanced_accuracy == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found.predicted_classes == 3


def naming(hits_per_class):
    """What comes of naming the right class so often, else the next one, and the split."""
    y = torch.cat([torch.full((n,), k) for k, (_, n) in enumerate(hits_per_class)])
    named = torch.cat(
        [
            torch.where(torch.arange(n) < hits, k, (k + 1) % len(hits_per_class))
            for k, (hits, n) in enumerate(hits_per_class)
        ]
    )
    split = Split(x=named[:, None].float(), y=y)
    return evaluate(Says(), split, F.cross_entropy), split


@pytest.mark.parametrize(
    ("hits_per_class", "expected"),
    [
        ([(630, 900), (80, 100)], True),  # less often right than by naming the first class
        ([(900, 900), (0, 100)], False),  # names it always
        ([(450, 900), (50, 100)], False),  # tosses a coin
        ([(810, 900), (10, 100)], False),  # tosses a loaded one
        ([(531, 900), (59, 100)], True),
        ([(486, 900), (54, 100)], False),  # within two standard errors of chance
        ([(29, 100), (29, 100), (29, 100), (29, 100)], False),
        ([(35, 100), (35, 100), (35, 100), (35, 100)], True),
    ],
)
def test_a_network_has_learned_if_it_tells_classes_apart(hits_per_class, expected):
    assert learned(*naming(hits_per_class)) is expected


def sum_per_sample(layers, function):
    return sum(function(a).flatten(1).sum(1).double().mean().item() for a in layers.values())


def test_loss_and_accuracy_are_those_of_the_whole_split(cnn, split):
    with torch.no_grad():
        logits = cnn(split.x)
    found = evaluate(cnn, split, F.cross_entropy)
    assert found.loss == pytest.approx(F.cross_entropy(logits, split.y).item(), rel=1e-6)
    assert found.accuracy == (logits.argmax(1) == split.y).sum().item() / SAMPLES
    assert found.predicted_classes == len(set(logits.argmax(1).tolist()))


def test_a_constant_model_predicts_one_class(split):
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[1].bias[2] = 1
    found = evaluate(model, split, F.cross_entropy)
    assert found.predicted_classes == 1
    assert found.accuracy == 0.25


def test_accuracy_can_be_perfect(split):
    class Oracle(nn.Module):
        def forward(self, x):
            return F.one_hot(x[:, 0, 0, 0].long(), 4).float()

    labelled = Split(x=split.y[:, None, None, None].float().expand(-1, 2, 8, 8), y=split.y)
    found = evaluate(Oracle(), labelled, F.cross_entropy)
    assert (found.accuracy, found.predicted_classes) == (1.0, 4)


def test_dropout_is_off(split):
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5))
    model.append(nn.Linear(64, 4)).train()
    assert evaluate(model, split, F.cross_entropy) == evaluate(model, split, F.cross_entropy)
    assert not model.training


def test_additive_energies_are_those_of_the_whole_split(cnn, split):
    layers = activations(cnn, split.x)
    energies = {
        "activation": ActivationEnergy(),
        "l1": L1Energy(),
        "free": FreeEnergy(s=0.5),
        "potential": PotentialEnergy(),
    }
    found = measure_energies(cnn, split, energies)
    weights = [p for p in cnn.parameters() if p.ndim > 1]
    units = sum(a[0].numel() for a in layers.values())
    activation = sum_per_sample(layers, torch.square)
    assert found.energies == pytest.approx(
        {
            "activation": activation,
            "l1": sum_per_sample(layers, torch.abs),
            "free": activation / 2 + units * (0.25 - 1 - math.log(0.25)) / 2,
            "potential": sum(w.square().sum().item() for w in weights) / 2,
        },
        rel=1e-5,
    )


def test_kinetic_energy_is_that_of_the_whole_split(split):
    model = MLP(128, (16, 16, 16), 4)
    with torch.no_grad():
        layers, a = [], split.x.flatten(1)
        for linear in (model.net[1], model.net[3], model.net[5]):
            a = F.relu(linear(a))
            layers.append(a)
    steps = [(b - a).square().sum(1).mean().item() for a, b in itertools.pairwise(layers)]
    found = measure_energies(model, split, {"kinetic": KineticEnergy(), "action": ActionEnergy()})
    kinetic = sum(steps) * 3 / 2
    potential = sum(p.square().sum().item() for p in model.parameters() if p.ndim > 1) / 2
    expected = {"kinetic": kinetic, "action": (kinetic + potential) / 3}
    assert found.energies == pytest.approx(expected, rel=1e-5)


def test_unit_energy_is_the_mean_over_batches(cnn, split):
    layers = activations(cnn, split.x)
    expected = 0.0
    for start in range(0, SAMPLES, BATCH):
        for a in layers.values():
            part = a[start : start + BATCH].double()
            mean = part.square().movedim(1, 0).flatten(1).mean(1)
            expected += len(part) / SAMPLES * (mean + 1e-8).sqrt().sum().item()
    found = measure_energies(cnn, split, {"unit": UnitEnergy()})
    assert found.energies["unit"] == pytest.approx(expected, rel=1e-5)


def test_layers_add_up(cnn, split):
    energies = {"activation": ActivationEnergy(), "action": ActionEnergy()}
    found = measure_energies(cnn, split, energies)
    for name, total in found.energies.items():
        shares = [layer.get(f"energy_{name}", 0.0) for layer in found.layers.values()]
        assert sum(shares) == pytest.approx(total, rel=1e-9)
    for name, a in activations(cnn, split.x).items():
        own = a.square().flatten(1).sum(1).mean().item()
        assert found.layers[name]["energy_activation"] == pytest.approx(own, rel=1e-5)


def test_zeros_and_silent_units(cnn, split):
    layers = activations(cnn, split.x)
    found = measure_energies(cnn, split, {"activation": ActivationEnergy()})
    zeros = {name: (a == 0).sum().item() for name, a in layers.items()}
    silent = {name: (a.movedim(1, 0).flatten(1) == 0).all(1).sum() for name, a in layers.items()}
    for name, a in layers.items():
        layer = found.layers[name]
        assert layer["units"] == a.shape[1]
        assert layer["zero_fraction"] == zeros[name] / a.numel()
        assert layer["silent_fraction"] == silent[name].item() / a.shape[1]
    assert found.layers["features.1"]["silent_fraction"] == len(DEAD) / 6
    assert found.zero_fraction == sum(zeros.values()) / sum(a.numel() for a in layers.values())
    units = sum(a.shape[1] for a in layers.values())
    assert found.silent_fraction == sum(silent.values()).item() / units


def test_a_unit_that_speaks_once_is_not_silent():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([[1.0], [0.0]])
        model[0].bias[:] = torch.tensor([-0.5, 0.0])
    x = torch.zeros(BATCH + 5, 1)
    x[BATCH + 2] = 1.0  # in the last batch only
    split = Split(x=x, y=torch.zeros(len(x), dtype=torch.int64))
    found = measure_energies(model, split, {"l1": L1Energy()})
    assert found.silent_fraction == 0.5
    assert found.zero_fraction == 1 - 1 / (2 * len(x))


def test_a_network_without_hidden_layers_has_no_energy(split):
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 4))
    found = measure_energies(model, split, {"activation": ActivationEnergy()})
    assert found.energies == {"activation": 0.0}
    assert (found.zero_fraction, found.silent_fraction, found.layers) == (0.0, 0.0, {})


def test_values_are_plain_numbers_without_gradient(cnn, split):
    found = measure_energies(cnn, split, {"activation": ActivationEnergy()})
    assert all(type(v) is float for v in found.energies.values())
    assert all(type(v) in (int, float) for row in found.layers.values() for v in row.values())
    assert all(p.grad is None for p in cnn.parameters())
