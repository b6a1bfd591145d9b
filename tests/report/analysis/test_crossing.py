from __future__ import annotations

import numpy as np
import pytest

from minaction.report.analysis.crossing import NO_RUN, SAME_TRAINING, complete, find_crossing

TWO_ENERGIES = """
[study]
name = "energies"
seeds = {seeds}
[factors]
dataset = "digits"
model = ["mlp", "cnn"]
energy = ["activation", "l1"]
lam = [0, 1e-4, 1e-3]
"""


def test_all_factors_with_levels_are_crossed_and_seeds_are_none(analyst):
    crossing = find_crossing(*analyst.frame(analyst.make.sweep))
    assert crossing.factors == ("dataset", "model", "lam")
    assert (crossing.only, crossing.left_out, crossing.reason) == ({}, [], "")
    assert len(crossing.used) == len(crossing.runs) == 80


def test_a_level_with_an_empty_cell_is_left_out_and_said(analyst):
    def without(record):
        hole = record.config["model"] == "cnn" and record.config["lam"] == 1e-2
        return None if hole and record.config["dataset"] == "mnist" else record

    crossing = find_crossing(*analyst.frame(analyst.make.sweep, change=without))
    assert crossing.factors == ("dataset", "model", "lam")
    (entry,) = crossing.left_out
    assert entry == {"factor": "lam", "level": 1e-2, "runs": 12, "reason": NO_RUN}
    assert set(crossing.used["lam"]) == {0, 1e-5, 1e-4, 1e-3}
    assert len(crossing.used) == 64


def test_a_factor_down_to_one_level_is_named(analyst):
    crossing = find_crossing(
        *analyst.frame(
            analyst.make.sweep, change=lambda r: r if r.config["model"] == "cnn" else None
        )
    )
    assert crossing.factors == ("dataset", "lam")
    assert crossing.only == {"model": "cnn"}


def test_collapsed_runs_are_not_used_but_kept_beside(analyst):
    def collapsed(record):
        return analyst.make.ended(record, "collapsed") if record.config["seed"] == 0 else record

    crossing = find_crossing(*analyst.frame(analyst.make.sweep, change=collapsed))
    assert (len(crossing.used), len(crossing.runs)) == (60, 80)


@pytest.mark.parametrize("status", ["failed", "collapsed", "diverged"])
def test_without_a_run_that_is_ok_there_is_nothing(analyst, status):
    crossing = find_crossing(
        *analyst.frame(analyst.make.sweep, change=lambda r: analyst.make.ended(r, status))
    )
    assert crossing.reason
    assert (crossing.factors, len(crossing.used)) == ((), 0)


def test_energies_are_not_compared_where_they_are_one_training(analyst):
    crossing = find_crossing(*analyst.frame(TWO_ENERGIES))
    assert crossing.factors == ("model", "energy", "lam")
    assert set(crossing.used["lam"]) == {1e-4, 1e-3}
    assert crossing.left_out == [
        {"factor": "lam", "level": 0.0, "runs": 16, "reason": SAME_TRAINING}
    ]


def test_at_lambda_0_alone_the_first_energy_stands_for_all(analyst):
    crossing = find_crossing(*analyst.frame(TWO_ENERGIES.replace("[0, 1e-4, 1e-3]", "0")))
    assert crossing.factors == ("model",)
    assert set(crossing.used["energy"]) == {"activation"}
    assert [entry["level"] for entry in crossing.left_out] == ["l1"]


def test_the_baselines_of_budgets_are_no_level(analyst):
    text = analyst.make.budgeted.replace('[0, 1e-3, "budget"]', '"budget"')
    crossing = find_crossing(*analyst.frame(text.replace('"mlp"', '["mlp", "cnn"]')))
    assert crossing.factors == ("model",)
    assert set(crossing.used["lam"]) == {"budget"}


def test_the_level_with_most_holes_goes_first():
    counts = np.ones((4, 5), int)
    counts[2, [1, 3]] = 0
    assert complete(counts) == [[0, 1, 3], [0, 1, 2, 3, 4]]


def test_of_two_levels_the_one_that_loses_fewer_runs_goes():
    assert complete(np.array([[5, 5, 0], [5, 5, 2], [5, 5, 5]])) == [[0, 1, 2], [0, 1]]
    assert complete(np.array([[0, 9], [1, 1]])) == [[0, 1], [1]]
    assert complete(np.array([[0, 9], [9, 0]])) == [[1], [0]]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_is_complete_and_no_level_would_fit_back(seed):
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 4, (4, 3, 3))
    kept = complete(counts)
    assert all(kept)
    assert counts[np.ix_(*kept)].all()
    for axis in range(3):
        for level in set(range(counts.shape[axis])) - set(kept[axis]):
            wider = [[*of, level] if i == axis else of for i, of in enumerate(kept)]
            assert not counts[np.ix_(*wider)].all()
