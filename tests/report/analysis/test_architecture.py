from __future__ import annotations

import random

import pytest

from minaction.report.analysis.architecture import judged
from minaction.report.analysis.verdict import Word


def effect(low, high):
    return {"partial_eta_sq_low": low, "partial_eta_sq_high": high}


@pytest.mark.parametrize(
    ("alone", "together", "word"),
    [
        ((0, 0.005), (0.4, 0.5), Word.SUPPORTED),
        ((0, 0.02), (0.4, 0.5), Word.NOT_DECIDED),
        ((0, 0.005), (0.1, 0.5), Word.NOT_DECIDED),
        ((0.02, 0.1), (0.4, 0.5), Word.CONTRADICTED),
        ((0, 0.005), (0.01, 0.1), Word.CONTRADICTED),
        ((0.005, 0.1), (0.1, 0.3), Word.NOT_DECIDED),
        ((0, 0), (0.4, 0.5), Word.NOT_DECIDED),
        ((0, 0.005), (0, 0), Word.NOT_DECIDED),
    ],
)
def test_the_rule_is_about_the_ends_of_the_intervals(alone, together, word):
    assert judged(effect(*alone), effect(*together)) is word


def finding_of(analysis):
    return analysis["findings"][0]


def accuracies(analyst, record, model, together):
    """The record with effects of the model and of both, and noise of its own."""
    config = record.config
    sign = 1 if config["model"] == "cnn" else -1
    crossed = sign if config["dataset"] == "mnist" else -sign
    noise = random.Random(record.run_id).gauss(0, 0.02)
    return analyst.measured(
        record, test_accuracy=round(0.5 + model * sign + together * crossed + noise, 4)
    )


CROSSED = """
[study]
name = "crossed"
seeds = {seeds}
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["mlp", "cnn"]
"""


def verdict(analyst, model, together, seeds=200):
    return finding_of(
        analyst.analysis(CROSSED, seeds, lambda r: accuracies(analyst, r, model, together))
    )


def test_an_interaction_without_a_main_effect_supports_it(analyst):
    found = verdict(analyst, 0.0, 0.1, 300)
    assert found["verdict"] == "supported", found["because"]
    assert found["numbers"]["n"] == 1200
    assert found["numbers"]["architecture_x_dataset"]["partial_eta_sq_low"] > 0.14


def test_a_main_effect_contradicts_it(analyst):
    found = verdict(analyst, 0.1, 0.1)
    assert found["verdict"] == "contradicted"
    assert "partial eta squared" in found["because"][0]
    assert "by the same rule" in found["because"][-1]


def test_no_effect_at_all_contradicts_it(analyst):
    assert verdict(analyst, 0.0, 0.0)["verdict"] == "contradicted"


def test_few_seeds_decide_nothing(analyst):
    assert verdict(analyst, 0.0, 0.1, 4)["verdict"] == "not decided"


def test_a_study_of_one_data_set_does_not_test_it(analyst):
    found = finding_of(analyst.analysis(analyst.make.small))
    assert found["verdict"] == "not tested by this study"
    assert found["numbers"] == {}


def test_without_a_table_nothing_is_decided(analyst):
    found = finding_of(analyst.analysis(CROSSED, 1))
    assert found["verdict"] == "not decided"
    assert "one seed only" in found["because"][0]


def test_runs_of_one_model_alone_decide_nothing(analyst):
    def one(record):
        return record if record.config["model"] == "mlp" else None

    found = finding_of(analyst.analysis(CROSSED, 5, one))
    assert found["verdict"] == "not decided"
    assert "fewer than two models" in found["because"][0]
