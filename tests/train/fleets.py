"""Runs of one architecture, made twice: for the loop and for a fleet."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.energy.build import build_energy
from minaction.energy.functionals import ActivationEnergy
from minaction.energy.tape import Tape
from minaction.models.build import build_model
from minaction.objective.budget import Budget
from minaction.objective.objective import EnergyObjective
from minaction.train.fleet import FleetRun, train_fleet
from minaction.train.loop import TrainConfig, train

OWN = ({"lr": 1e-3}, {"lr": 3e-3, "weight_decay": 0.01, "clip_norm": 0.5}, {"lr": 1e-3})
"""What the configuration of each run has for itself."""

IMAGE = DataSpec(
    name="image", modality="vision", shape=(1, 8, 8), classes=5, class_names=tuple("abcde")
)
TOKENS = DataSpec(
    name="tokens", modality="text", shape=(12,), classes=5, class_names=tuple("abcde"),
    vocabulary=50,
)  # fmt: skip

SHARE = 0.05
"""What lambda * energy is at first, in units of the task loss: no energy drowns the others."""


class Doubled(nn.Module):
    """A network in float64 behind the float32 samples of a data set."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward(self, x):
        return self.network(x.double() if x.is_floating_point() else x)


def classes_of(spec: DataSpec) -> Dataset:
    """A tiny data set that can be learned: 40 training, 20 validation and 10 test samples.

    Each class has a prototype; learning noise by heart would magnify rounding errors.
    """
    generator = torch.Generator().manual_seed(3)
    shape = (spec.classes, *spec.shape)
    prototypes = torch.randn(shape, generator=generator)
    words = torch.randint(1, spec.vocabulary or 2, shape, generator=generator)

    def split(count):
        y = torch.arange(count) % spec.classes
        noise = torch.randn(count, *spec.shape, generator=generator)
        x = prototypes[y] + noise if spec.vocabulary is None else words[y] * (noise > -1)
        return Split(x=x, y=y)

    return Dataset.of(train=split(40), validation=split(20), test=split(10), spec=spec)


def catalog_runs(name, energy_name, rule, dataset, *, steps, parameters=2_000):
    """Runs that differ in seed, lambda, learning rate, weight decay and clipping, in float64."""
    runs = []
    for seed, own in enumerate(OWN):
        model = Doubled(build_model(name, dataset.spec, parameters=parameters, seed=seed))
        energy = build_energy(energy_name, model, dataset.train.x[:2])
        if rule == "budget":
            limits = {"floor": 1e-9, "initial": 1e-6, "ceiling": 1e3}
            lam = Budget(1.5 + seed / 10, warmup=20, warmup_term=SHARE, gain=0.01, **limits)
        else:
            with torch.no_grad(), Tape(model) as tape:
                model(dataset.train.x)
                lam = seed * SHARE / float(energy(tape.trajectory))  # 0 for the first run
        runs.append(
            FleetRun(
                model=model,
                objective=EnergyObjective(F.cross_entropy, energy, lam),
                config=TrainConfig(steps=steps, validate_every=60, batch_size=8, seed=seed, **own),
            )
        )
    return runs


def alike(models, configs, lams=None):
    """Runs of given models."""
    lams = lams or [1e-3] * len(models)
    return [
        FleetRun(
            model=model,
            objective=EnergyObjective(F.cross_entropy, ActivationEnergy(), lam),
            config=config,
        )
        for model, config, lam in zip(models, configs, lams, strict=True)
    ]


def one_by_one(runs, dataset):
    """What the loop makes of each."""
    return [
        train(run.model, dataset, run.objective, run.config, after_validation=run.after_validation)
        for run in runs
    ]


def both(make, dataset):
    """Train the runs that `make` returns one by one and as a fleet; return both, and both logs."""
    alone, together = make(), make()
    return alone, together, one_by_one(alone, dataset), train_fleet(together, dataset)


def largest_difference(alone, together):
    """Of all weights and buffers."""
    worst = 0.0
    for one, other in zip(alone, together, strict=True):
        state = other.model.state_dict()
        for name, value in one.model.state_dict().items():
            if value.numel():
                worst = max(worst, float((value - state[name]).abs().max()))
    return worst


@torch.no_grad()
def moved_by_a_rounding(runs):
    """The same runs with every weight at the next larger number."""
    for run in runs:
        for parameter in run.model.parameters():
            parameter.copy_(parameter.nextafter(torch.full_like(parameter, torch.inf)))
    return runs


def assert_same_weights(alone, together, make, dataset, *, tolerance, roundings):
    """Check trained runs against the same trained otherwise; return the largest difference.

    Where training magnifies rounding errors beyond the tolerance, they may differ by so many times
    what runs differ by from those whose every weight was moved to the next number.
    """
    difference = largest_difference(alone, together)
    if difference >= tolerance:
        moved = moved_by_a_rounding(make())
        one_by_one(moved, dataset)
        own = largest_difference(alone, moved)
        print(f"differ by {difference:.1e}, of one rounding by {own:.1e}")
        assert difference < roundings * own
    return difference


def untimed(training):
    """The history of a training without its seconds."""
    return [
        {key: value for key, value in entry.items() if key != "train_seconds"}
        for entry in training.history
    ]
