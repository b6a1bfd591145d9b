from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.headlines import SHOWN


def warnings(analyst, change=None, text=None, seeds=4):
    return analyst.analysis(text or analyst.make.sweep, seeds, change)["warnings"]


def about(found, words):
    return [sentence for sentence in found if words in sentence]


def test_runs_that_are_not_ok_are_counted_with_what_was_done(analyst):
    def ended(record):
        at_largest = record.config["lam"] == 1e-2
        if at_largest and record.config["seed"] == 0:
            return analyst.make.ended(record, "collapsed")
        if at_largest and record.config["seed"] == 1:
            return analyst.make.ended(record, "failed", "no room")
        return record

    found = warnings(analyst, ended)
    assert about(found, "Runs that are not ok (4 collapsed, 4 failed) are left out of factorial")
    assert about(found, "With 4 collapsed runs at the accuracy they had")
    assert len(about(found, "1 collapsed, 1 failed of 4 runs")) == 4
    assert about(found, "The design is unbalanced: 2 to 4 ok runs in a cell")


def test_a_balanced_study_with_all_runs_ok_warns_of_neither(analyst):
    found = warnings(analyst)
    assert not about(found, "not ok")
    assert not about(found, "unbalanced")


def test_unequal_variances_are_said_with_their_ratio(analyst):
    def noisy(record):
        spread = 0.01 if record.config["model"] == "mlp" else 0.0001
        noise = random.Random(record.run_id).gauss(0, spread)
        return analyst.measured(record, test_accuracy=0.8 + noise)

    found = warnings(analyst, noisy, seeds=8)
    (sentence,) = about(found, "The test accuracy is heteroscedastic")
    ratio = re.search(r"p < 0.001, the largest standard deviation (\S+) times", sentence)
    assert ratio is not None
    assert 5 < float(ratio[1]) < 500


def test_an_outlier_is_said_to_be_no_normal_residual(analyst):
    def outlying(record):
        return analyst.measured(record, test_accuracy=0.2) if record.run_id < "08" else record

    assert about(warnings(analyst, outlying), "Residuals of the test accuracy are not normal")


def test_levels_left_out_are_named(analyst):
    def without(record):
        gone = record.config["lam"] == 1e-4 and record.config["model"] == "cnn"
        return None if gone else record

    assert about(warnings(analyst, without), "Factorial tables without lam = 1e-4 (8 runs): some")


def test_gauges_that_cover_no_network_of_a_model_are_named_with_the_reason(analyst):
    def uncovered(record):
        reason = "GELU is not positively homogeneous"
        return analyst.make.uncovered(record, reason) if record.config["model"] == "cnn" else record

    (sentence,) = about(warnings(analyst, uncovered), "no gauge-fixed energy in")
    assert sentence.startswith("cnn: no gauge-fixed energy in 2 lambda tables")
    assert "(GELU is not positively homogeneous)" in sentence


def test_gauges_that_cover_some_runs_are_counted(analyst):
    def some(record):
        return analyst.make.uncovered(record, "why") if record.config["seed"] == 0 else record

    assert len(about(warnings(analyst, some), "5 of 20 ok runs have no gauge-fixed energy")) == 4


def test_ok_runs_without_an_accuracy_are_counted(analyst):
    def unmeasured(record):
        return (
            analyst.measured(record, test_accuracy=None) if record.config["seed"] == 0 else record
        )

    assert about(warnings(analyst, unmeasured), "20 of 80 ok runs have no test accuracy")


def test_other_conditions_are_named(analyst):
    def other(record):
        if record.config["seed"]:
            return record
        return replace(record, provenance=record.provenance | {"device": "cuda"})

    assert about(warnings(analyst, other), "Not all runs were made under the same device;")


def test_models_without_letters_are_named(analyst):
    def few(record):
        gone = record.config["model"] == "mlp" and record.config["seed"]
        return analyst.make.ended(record, "failed", "no room") if gone else record

    found = warnings(analyst, few)
    assert about(found, "mnist: models are not compared: fewer than two models have")


def test_robust_tests_that_are_undefined_are_said(analyst):
    def lonely(record):
        one = record.config["lam"] == 1e-2 and record.config["model"] == "mlp"
        return None if one and record.config["seed"] else record

    assert about(warnings(analyst, lonely), "The test accuracy: p_hc3")


def test_many_sentences_of_one_kind_are_shortened(analyst):
    found = warnings(analyst, lambda r: analyst.make.ended(r, "failed", "no room"))
    assert len(about(found, "4 failed of 4 runs")) == SHOWN
    assert about(found, "8 more of this kind")


@pytest.mark.parametrize("length", [10, 10_000])
def test_records_outside_the_design_are_named_in_short(analyst, length):
    study = analyst.make.study()
    records = analyst.make.records(study)
    stranger = replace(records[0], run_id="<b>" + "x" * length)
    (sentence,) = about(compute_analysis(study, [*records, stranger])["warnings"], "not in the")
    assert "<b>xx" in sentence
    assert len(sentence) < 500
