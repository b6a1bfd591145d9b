"""A fleet's weights are the loop's, for the models and energies of the catalogue."""

from __future__ import annotations

import pytest
from fleets import IMAGE, TOKENS, assert_same_weights, both, catalog_runs, classes_of, untimed

from minaction.energy.catalog import ENERGIES
from minaction.models.catalog import MODELS
from minaction.train.stackable import stacking_obstacle

STEPS = 200
TOLERANCE = 1e-12
"""Absolute, on weights of order 1."""

ROUNDINGS = 10
"""Where training magnifies rounding errors beyond that, a fleet may differ from the loop by so many
times what the loop differs from itself by after every weight was moved to the next number."""


def check(name, energy, rule, spec, parameters=2_000):
    dataset = classes_of(spec)

    def make():
        return catalog_runs(name, energy, rule, dataset, steps=STEPS, parameters=parameters)

    alone, together, expected, found = both(make, dataset)
    difference = assert_same_weights(
        alone, together, make, dataset, tolerance=TOLERANCE, roundings=ROUNDINGS
    )
    for one, other in zip(expected, found, strict=True):
        assert other.steps == one.steps == STEPS
        for entry, wanted in zip(untimed(other), untimed(one), strict=True):
            assert list(entry) == list(wanted)
            if difference < TOLERANCE:
                assert entry == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "energy", "rule"),
    [
        ("mlp", "unit_macs", "budget"),
        ("cnn", "synaptic", "budget"),
        ("dual-pathway", "action", "fixed"),
    ],
)
def test_weights_after_200_steps_are_the_loops(name, energy, rule):
    check(name, energy, rule, IMAGE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rule", ["fixed", "budget"])
@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "gru"])
def test_weights_after_200_steps_are_the_loops_for_all_models_energies_and_rules(
    name, energy, rule
):
    check(name, energy, rule, IMAGE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "gru"])
def test_weights_of_text_models_are_the_loops(name):
    check(name, "activation", "fixed", TOKENS, parameters=12_000)


@pytest.mark.parametrize("name", MODELS)
def test_all_models_but_the_gru_can_be_stacked(name):
    dataset = classes_of(IMAGE)
    run = catalog_runs(name, "activation", "fixed", dataset, steps=1)[0]
    obstacle = stacking_obstacle(run, dataset.train)
    if name == "gru":
        assert "cannot be stacked: Batching rule not implemented for aten::gru" in obstacle
    else:
        assert obstacle is None
