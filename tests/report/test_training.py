from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from minaction.report.figures_training import training_figure
from minaction.report.tables import compute_findings


def with_history(record, places=(10, 20), **entries):
    seed = record.config["seed"]
    history = [
        {"epoch": 1, "step": step, "train_loss": 1.0 / step + seed, "lam": record.config["lam"]}
        | entries
        for step in places
    ]
    return replace(record, history=history)


def curves(make, change, text=None, seeds=4):
    study = make.study(text or make.small, seeds=seeds)
    return compute_findings(study, make.records(study, change))["training"]


def test_a_point_is_the_mean_over_seeds_with_its_t_interval(make):
    (group,) = curves(make, with_history)
    assert (group["label"], group["unit"]) == ("digits · mlp · activation", "step")
    at_zero, at_one = group["curves"]["train_loss"]
    assert (at_zero["lam"], at_one["lam"]) == (0.0, 1e-3)
    assert (at_zero["at"], at_zero["n"]) == ([10, 20], [4, 4])
    values = 0.1 + np.arange(4)
    half = 3.182446305284263 * values.std(ddof=1) / 2  # t of 3 degrees of freedom, 97.5 %
    assert at_zero["estimate"][0] == pytest.approx(values.mean(), rel=1e-5)
    assert at_zero["low"][0] == pytest.approx(values.mean() - half, rel=1e-5)
    assert at_zero["high"][0] == pytest.approx(values.mean() + half, rel=1e-5)


def test_seeds_count_where_they_have_an_entry_and_runs_that_are_ok_only(make):
    def change(record):
        if record.config["seed"] == 3:
            return make.ended(with_history(record), "diverged")
        return with_history(record, (10, 20) if record.config["seed"] else (10,))

    (group,) = curves(make, change)
    assert group["curves"]["train_loss"][0]["n"] == [3, 2]


def test_one_seed_has_no_interval(make):
    (group,) = curves(make, with_history, seeds=1)
    assert group["curves"]["train_loss"][0]["low"] == [None, None]


def test_lambda_is_there_where_it_moved(make):
    (still,) = curves(make, with_history)
    assert still["curves"]["lam"] == []

    def search(record):
        record = with_history(record)
        history = [{**e, "lam": 1e-3 * e["step"]} for e in record.history]
        return replace(record, history=history) if record.config["lam"] == "budget" else record

    (moved,) = curves(make, search, make.budgeted)
    assert moved["curves"]["lam"][-1]["estimate"] == [0.01, 0.02]


def test_old_histories_run_over_epochs(make):
    (group,) = curves(make, None)
    assert group["unit"] == "epoch"
    assert group["curves"]["train_loss"][0]["at"] == [1]


@pytest.mark.parametrize("history", [[], ["text", 7], [{"step": "x", "train_loss": {}}]])
def test_histories_that_say_nothing_make_no_curve(make, history):
    groups = curves(make, lambda record: replace(record, history=history))
    assert groups[0]["curves"]["train_loss"] == []
    assert training_figure(groups) is None


def test_numbers_that_are_none_are_left_out(make):
    groups = curves(make, lambda record: with_history(record, train_energy=math.nan))
    assert groups[0]["curves"]["train_energy"] == []


def test_a_logarithmic_axis_has_no_place_for_zero(make):
    groups = curves(make, lambda record: with_history(record, train_loss=0.0, train_energy=1.0))
    figure = training_figure(groups)
    assert [panel.id for panel in figure.panels] == ["training-0-train-energy"]
    assert {panel.choice for panel in figure.panels} == {"digits · mlp · activation"}


def test_of_many_entries_some_are_points_the_first_and_the_last_among_them(make):
    (group,) = curves(make, lambda record: with_history(record, range(1, 1001)))
    places = group["curves"]["train_loss"][0]["at"]
    assert len(places) == 60
    assert (places[0], places[-1]) == (1, 1000)
    assert all(16 <= b - a <= 18 for a, b in itertools.pairwise(places))


def test_numbers_too_large_for_a_mean_are_no_points(make):
    (group,) = curves(make, lambda record: with_history(record, train_loss=1.5e308))
    assert group["curves"]["train_loss"][0]["estimate"] == [None, None]
