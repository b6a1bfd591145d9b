from __future__ import annotations

import pytest

from minaction.report.analysis.efficiency_gains import judged
from minaction.report.analysis.verdict import Word

SPEED = """
[study]
name = "speed"
seeds = {seeds}
[factors]
dataset = ["digits", "mnist"]
model = ["mlp", "cnn", "dual-pathway", "lagrangian"]
[train]
steps = 100
validate_every = 10
"""
SLOW = {"mlp": 60, "cnn": 60}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.06, 0.4, Word.SUPPORTED),
        (0.04, 0.4, Word.NOT_DECIDED),
        (-0.2, 0.04, Word.CONTRADICTED),
        (None, None, Word.NOT_DECIDED),
    ],
)
def test_the_rule_is_about_the_ends_of_the_interval(low, high, word):
    assert judged({"low": low, "high": high}) is word


def analysis(analyst, steps, macs=None, seeds=8, text=SPEED):
    def change(record):
        model = record.config["model"]
        return analyst.trained(record, steps[model], (macs or {}).get(model, 1000))

    return analyst.analysis(text, seeds, change)


def test_fewer_steps_of_the_same_cost_support_it(analyst):
    found = analysis(analyst, SLOW | {"dual-pathway": 20, "lagrangian": 30})
    verdict = found["findings"][2]
    assert verdict["verdict"] == "supported", verdict["because"]
    assert set(verdict["numbers"]["by_unit"]) == {"steps", "macs", "seconds"}
    assert {row["dataset"] for row in verdict["numbers"]["gains"]} == {None}
    assert found["efficiency"]["reason"] == ""


def test_more_steps_contradict_it(analyst):
    verdict = analysis(analyst, SLOW | {"dual-pathway": 70, "lagrangian": 70})["findings"][2]
    assert verdict["verdict"] == "contradicted"


def test_fewer_steps_that_cost_more_macs_decide_nothing(analyst):
    macs = {"dual-pathway": 9000, "lagrangian": 9000}
    verdict = analysis(analyst, SLOW | {"dual-pathway": 20, "lagrangian": 30}, macs)["findings"][2]
    assert verdict["verdict"] == "not decided"
    assert verdict["numbers"]["by_unit"] == {
        "steps": "supported",
        "macs": "contradicted",
        "seconds": "supported",
    }


def test_one_model_that_gains_is_not_all_of_them(analyst):
    verdict = analysis(analyst, SLOW | {"dual-pathway": 20, "lagrangian": 70})["findings"][2]
    assert verdict["verdict"] == "not decided"


def test_too_few_seeds_decide_nothing(analyst):
    found = analysis(analyst, SLOW | {"dual-pathway": 20, "lagrangian": 30}, seeds=3)
    assert "has no seeds besides" in found["efficiency"]["reason"]
    assert found["findings"][2]["verdict"] == "not decided"
    assert "has no seeds besides" in found["findings"][2]["because"][0]


def test_histories_without_costs_decide_nothing(analyst):
    found = analyst.analysis(SPEED, 8)
    assert found["efficiency"]["reason"]
    assert found["findings"][2]["verdict"] == "not decided"


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ('["mlp", "cnn"]', "conventional models only"),
        ('["lagrangian", "dual-pathway"]', "no conventional model"),
    ],
)
def test_studies_without_both_kinds_of_model_do_not_test_it(analyst, models, reason):
    text = SPEED.replace('["mlp", "cnn", "dual-pathway", "lagrangian"]', models)
    found = analyst.analysis(text, 4)
    assert reason in found["efficiency"]["reason"]
    assert found["findings"][2]["verdict"] == "not tested by this study"


def test_costs_are_compared_at_lambda_0_only(analyst):
    found = analyst.analysis(SPEED.replace("[train]", "lam = 1e-3\n[train]"), 4)
    assert "no lambda 0" in found["efficiency"]["reason"]
    assert found["findings"][2]["verdict"] == "not tested by this study"


def test_a_study_without_runs_has_no_costs(analyst):
    found = analyst.analysis(SPEED, 4, lambda record: None)
    assert found["efficiency"]["reason"] == "no run is done"
