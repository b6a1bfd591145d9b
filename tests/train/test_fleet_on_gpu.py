"""Stacked runs on a GPU: the loop's weights, and what divergence and dropout do there."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from fleets import IMAGE, TOKENS, alike, assert_same_weights, catalog_runs, classes_of, one_by_one
from torch import nn

from minaction.models.build import build_model
from minaction.train.fleet import train_fleet
from minaction.train.loop import TrainConfig
from minaction.train.stackable import stacking_obstacle

pytestmark = pytest.mark.gpu

SPECS = {"image": IMAGE, "tokens": TOKENS}
SIZES = {"image": 2_000, "tokens": 12_000}
STEPS, TOLERANCE, ROUNDINGS = 100, 1e-9, 100


@pytest.mark.parametrize("rule", ["fixed", "budget"])
@pytest.mark.parametrize(
    ("name", "energy", "data"),
    [
        ("mlp", "activation", "image"),
        ("mlp", "free", "image"),
        ("cnn", "synaptic", "image"),
        ("cnn", "activation", "tokens"),
        ("tcn", "l1", "image"),
        ("transformer", "unit", "image"),
        ("transformer", "activation", "tokens"),
        ("lif-cnn", "l1", "image"),
        ("dual-pathway", "action", "image"),
        ("lagrangian", "action", "image"),
    ],
)
def test_weights_are_those_of_the_loop_on_the_cpu(gpu, name, energy, data, rule):
    dataset = classes_of(SPECS[data])

    def make():
        return catalog_runs(name, energy, rule, dataset, steps=STEPS, parameters=SIZES[data])

    alone, together = make(), make()
    one_by_one(alone, dataset)
    train_fleet(together, dataset, gpu)
    assert_same_weights(alone, together, make, dataset, tolerance=TOLERANCE, roundings=ROUNDINGS)


def test_the_gru_says_why_it_is_not_stacked(gpu):
    dataset = classes_of(SPECS["image"])
    run = catalog_runs("gru", "activation", "fixed", dataset, steps=1)[0]
    assert "cannot be stacked" in stacking_obstacle(run, dataset.train, gpu)


class Dropping(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net, self.dropout = build_model("mlp", spec, parameters=2_000), nn.Dropout(0.5)

    def forward(self, x):
        return self.net(self.dropout(x))


def test_dropout_draws_other_numbers_in_each_run_and_each_step(gpu):
    """All see one batch and their weights stay: only dropout can make losses differ."""
    dataset = classes_of(SPECS["image"])
    dataset = replace(
        dataset, train=replace(dataset.train, x=dataset.train.x[:8], y=dataset.train.y[:8])
    )
    config = TrainConfig(steps=6, validate_every=1, batch_size=8, lr=1e-12)
    fleet = alike([Dropping(dataset.spec) for _ in range(3)], [config] * 3)
    losses = [e["train_loss"] for t in train_fleet(fleet, dataset, gpu) for e in t.history[1:]]
    assert len(set(losses)) > 0.9 * len(losses)


def test_a_run_that_diverges_leaves_and_the_others_go_on(gpu):
    dataset = classes_of(SPECS["image"])
    configs = [
        TrainConfig(steps=60, validate_every=20, batch_size=8, lr=lr) for lr in (1e-3, 1e30, 1e-3)
    ]
    models = [build_model("mlp", dataset.spec, parameters=2_000, seed=seed) for seed in range(3)]
    untouched = copy.deepcopy(models[0])
    first, second, third = train_fleet(alike(models, configs), dataset, gpu)
    assert second.diverged
    assert not first.diverged
    assert not third.diverged
    assert first.steps == third.steps == 60
    alone = alike([untouched], configs[:1])
    one_by_one(alone, dataset)
    for one, other in zip(alone[0].model.parameters(), models[0].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
