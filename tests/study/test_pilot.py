from __future__ import annotations

import pytest

from minaction.study.pilot import (
    MAX_KINDS,
    Kind,
    ShortRun,
    cost_of,
    kind_of,
    piloted_kinds,
    shortened,
    stand_in,
)

CONFIG = {
    "dataset": "digits",
    "model": "mlp",
    "energy": "activation",
    "lam": 0.0,
    "epochs": 5,
    "batch_size": 32,
    "lr": 1e-3,
    "parameters": 5000,
    "seed": 0,
}


def run(steps, validations, seconds_more=0.0, step=0.01, fixed=2.0, validation=0.5):
    """A run that takes exactly what these figures say."""
    return ShortRun(
        seconds=fixed + step * steps + validation * validations + seconds_more,
        train_seconds=step * steps,
        steps=steps,
        validations=validations,
        record_bytes=1000,
        entry_bytes=100,
    )


def test_three_runs_show_what_a_run_takes():
    cost = cost_of(run(4, 1, seconds_more=3.0), run(4, 1), run(104, 3))
    assert cost.first_seconds == pytest.approx(3.0)
    assert cost.step_seconds == pytest.approx(0.01)
    assert cost.validation_seconds == pytest.approx(0.5)
    assert cost.fixed_seconds == pytest.approx(2.0)
    assert cost.seconds(1000, 10) == pytest.approx(2 + 10 + 5)


def test_a_cost_of_training_that_each_run_pays_is_fixed():
    """Compilation is within the seconds of training, but not in those of a step."""
    short, long = run(4, 1), run(104, 3)
    short, long = (
        ShortRun(**{**vars(r), "seconds": r.seconds + 7, "train_seconds": r.train_seconds + 7})
        for r in (short, long)
    )
    cost = cost_of(short, short, long)
    assert cost.step_seconds == pytest.approx(0.01)
    assert cost.fixed_seconds == pytest.approx(9.0)


def test_noise_and_runs_of_one_step_give_no_negative_cost():
    noisy = cost_of(run(4, 1), run(4, 1, seconds_more=5.0, step=1.0), run(5, 2, fixed=0.0))
    one = cost_of(run(1, 1), run(1, 1), run(1, 1))
    for cost in (noisy, one):
        assert min(vars(cost).values()) >= 0
        assert cost.step_seconds > 0
    assert one.seconds(1, 1) == pytest.approx(run(1, 1).seconds)


@pytest.mark.parametrize(
    ("config", "lam"),
    [(CONFIG, 0.0), ({**CONFIG, "lam": 0.1}, 0.1), ({**CONFIG, "lam": "budget", "aim": 0.5}, 1e-4)],
)
def test_a_short_run_is_like_the_long_one_but_for_its_length(config, lam):
    short = shortened(config, 10, 3)
    assert "epochs" not in short
    assert short == {k: v for k, v in config.items() if k != "epochs"} | {
        "lam": lam,
        "steps": 10,
        "validate_every": 4,
    }


def test_lambda_0_is_a_kind_of_its_own_and_seeds_and_rates_are_none():
    assert kind_of(CONFIG) == kind_of({**CONFIG, "seed": 9, "lr": 1.0})
    assert kind_of(CONFIG) != kind_of({**CONFIG, "lam": 1e-3})
    assert kind_of({**CONFIG, "lam": "budget"}) == kind_of({**CONFIG, "lam": 1e-3})


def kinds(sizes, models=("mlp", "cnn")):
    return [
        Kind("digits", model, "l1", 32, size, None, penalised)
        for model in models
        for size in sizes
        for penalised in (False, True)
    ]


def test_few_kinds_are_all_tried():
    few = kinds([1000, 2000, 3000])
    assert len(few) == MAX_KINDS
    assert piloted_kinds(few) == few
    assert all(stand_in(kind, few) == kind for kind in few)


def test_of_many_kinds_the_heaviest_of_each_model_and_data_set_is_tried():
    many = kinds([1000, 4000, 2000, 3000])
    piloted = piloted_kinds(many)
    assert set(piloted) == {
        Kind("digits", model, "l1", 32, 4000, None, True) for model in ("mlp", "cnn")
    }
    assert {stand_in(kind, piloted).model for kind in many if kind.model == "cnn"} == {"cnn"}
