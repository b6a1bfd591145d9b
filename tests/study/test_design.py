from __future__ import annotations

import hashlib
import itertools
import json
from typing import get_type_hints

import pytest

from minaction.study.design import (
    LAMBDA_TERMS,
    MODEL_OPTIONS,
    RunConfig,
    baseline_of,
    model_options,
    run_id,
    runs,
)
from minaction.study.read_study import parse_study

SWEEP = parse_study(
    '[study]\nname = "s"\nseeds = 3\n[factors]\ndataset = ["mnist", "digits"]\nmodel = "mlp"\n'
    'energy = ["l1", "activation"]\nlam = [0, 0.01]\nepochs = [1, 2]\n',
    source="sweep",
)
IN_STEPS = parse_study(
    '[study]\nname = "s"\nseeds = 1\n[factors]\ndataset = "digits"\nmodel = ["mlp", "cnn"]\n'
    "[train]\nsteps = 300\nvalidate_every = 20\n",
    source="steps",
)


def test_the_full_crossing_is_run_once_each():
    configs = runs(SWEEP)
    assert len(configs) == SWEEP.run_count == 3 * 2 * 2 * 2 * 2
    cells = {(c["dataset"], c["energy"], c["lam"], c["epochs"], c["seed"]) for c in configs}
    assert cells == set(
        itertools.product(("mnist", "digits"), ("l1", "activation"), (0.0, 0.01), (1, 2), range(3))
    )
    assert len({run_id(c) for c in configs}) == len(configs)


def test_the_first_runs_cover_every_cell():
    assert [c["seed"] for c in runs(SWEEP)] == [0] * 16 + [1] * 16 + [2] * 16
    assert runs(SWEEP) == runs(SWEEP)


def test_a_configuration_is_complete_and_its_types_are_fixed():
    hints = get_type_hints(RunConfig) | {"lam": float}
    optional = {*LAMBDA_TERMS, *MODEL_OPTIONS, "clip_norm"}
    hints = {key: hint for key, hint in hints.items() if key not in optional}
    given_in_steps = {key: hints.pop(key) for key in ("steps", "validate_every")}
    for config in runs(SWEEP):
        assert {key: type(value) for key, value in config.items()} == hints
    del hints["epochs"]
    for config in runs(IN_STEPS):
        assert {key: type(value) for key, value in config.items()} == hints | given_in_steps


def test_an_id_is_what_the_documentation_says():
    config = runs(SWEEP)[0]
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    assert run_id(config) == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_an_id_never_changes():
    """A journal written by any version must be resumable: this id is pinned."""
    config = RunConfig(
        dataset="mnist",
        model="cnn",
        energy="activation",
        lam=0.0001,
        seed=3,
        epochs=5,
        batch_size=128,
        lr=0.001,
        weight_decay=0.0,
        parameters=100_000,
    )
    assert run_id(config) == "d84a09a6aeab86bf"
    assert run_id(RunConfig(**dict(reversed(config.items())))) == run_id(config)
    assert run_id({**config, "weight_decay": 0}) == run_id(config)
    assert run_id({**config, "seed": 4}) != run_id(config)


BUDGETED = (
    '[study]\nname = "s"\nseeds = 3\n[factors]\ndataset = "digits"\nmodel = ["mlp", "cnn"]\n'
    "lam = {lam}\n[budget]\naim = 0.25\n"
)


@pytest.mark.parametrize(("lam", "listed"), [('["budget", 1.0]', 2), ('[0, "budget"]', 0)])
def test_every_budget_run_has_its_baseline_in_the_design(lam, listed):
    study = parse_study(BUDGETED.format(lam=lam), source="s")
    configs = runs(study)
    assert len({run_id(c) for c in configs}) == len(configs) == study.run_count == 12 + listed
    assert [c["lam"] for c in configs[:listed]] == [0.0] * listed
    steered = [c for c in configs if c["lam"] == "budget"]
    assert len(steered) == 6
    for config in steered:
        assert (config["margin"], config["aim"]) == (0.005, 0.25)
        baseline = baseline_of(config)
        assert baseline in configs
        assert (baseline["lam"], baseline["seed"]) == (0.0, 0)
        assert (baseline["model"], "margin" in baseline) == (config["model"], False)
    assert all("aim" not in config for config in configs if config["lam"] != "budget")


def test_proximal_steps_are_part_of_a_run_whose_lambda_acts():
    text = BUDGETED.format(lam='[0, 0.5, "budget"]').replace(
        "[budget]", 'energy = "unit_macs"\n{train}[budget]'
    )
    plain, proximal = (
        runs(parse_study(text.format(train=train), source="s"))
        for train in ("", "[train]\nproximal = true\n")
    )
    for one, other in zip(plain, proximal, strict=True):
        assert other == (one | {"proximal": True} if one["lam"] else one)
        assert (run_id(one) == run_id(other)) is (one["lam"] == 0)
        assert baseline_of(other) == baseline_of(one)


def test_the_terms_of_a_budget_belong_to_its_id():
    studies = (BUDGETED.format(lam='"budget"').replace("0.25", aim) for aim in ("0.25", "0.5"))
    one, other = ({run_id(c) for c in runs(parse_study(s, source="s"))} for s in studies)
    assert len(one & other) == 2  # the baselines


OPTIONS = 'ratio = ["1/2", 1, "golden"]\ninit = ["pytorch", "he"]\n'


def test_how_models_are_built_can_be_crossed():
    study = parse_study(IN_STEPS.to_toml().replace("[train]", OPTIONS + "[train]"), source="s")
    configs = runs(study)
    assert len({run_id(c) for c in configs}) == len(configs) == study.run_count == 12
    assert {(c["ratio"], c["init"]) for c in configs} == set(
        itertools.product(("1/2", 1.0, "golden"), ("pytorch", "he"))
    )
    assert all(model_options(c) == {"ratio": c["ratio"], "init": c["init"]} for c in configs)
    assert run_id(configs[0]) == run_id({**configs[0]})
    one = next(c for c in configs if c["ratio"] == 1)
    assert run_id({**one, "ratio": 1}) == run_id({**one, "ratio": 1.0})


def test_what_a_study_leaves_to_the_models_is_not_in_its_runs():
    assert all(model_options(config) == {} for config in runs(IN_STEPS))
    shared = parse_study(IN_STEPS.to_toml().replace("[train]", '[train]\ninit = "he"'), source="s")
    assert [model_options(config) for config in runs(shared)] == 2 * [{"init": "he"}]
