from __future__ import annotations

import math

import pytest

LAMBDAS = "[0, 1e-5, 1e-4, 1e-3, 1e-2]"


def change(analyst, record, fold, loss, *, where=None):
    """The record with an energy and accuracies that lambda lowers by the same steps."""
    config = record.config
    own = where(config) if where else (fold, loss)
    share = (math.log10(config["lam"]) + 6) / 4 if config["lam"] else 0.0
    noise = 1e-4 * ((config["seed"] * 7 + int(7 * share)) % 5)
    accuracy = 0.9 - own[1] * share + noise + 0.001 * config["seed"]
    energy = 5000 / own[0] ** share * math.exp(5 * noise)
    return analyst.measured(
        record, test_accuracy=accuracy, val_accuracy=accuracy, energy_activation=energy
    )


def finding(analyst, fold=2000, loss=0.0, text=None, seeds=6, **options):
    analysis = analyst.analysis(
        text or analyst.make.sweep, seeds, lambda r: change(analyst, r, fold, loss, **options)
    )
    return analysis["findings"][1]


def test_a_fall_beyond_1000_without_a_loss_supports_it(analyst):
    found = finding(analyst)
    assert found["verdict"] == "supported"
    assert found["because"][0] == "holds on 4 of 4 curves, fails on 0"
    for curve in found["numbers"]["curves"]:
        assert (curve["lam"], curve["chosen"]) == (1e-2, True)
        assert curve["fold_reduction"]["low"] > 1000
    assert "gauge-fixed" in found["because"][1]


def test_a_smaller_fall_contradicts_it(analyst):
    found = finding(analyst, fold=100)
    assert found["verdict"] == "contradicted"
    assert found["because"][0] == "holds on 0 of 4 curves, fails on 4"


def test_a_loss_contradicts_it_where_the_fall_is_enough(analyst):
    assert finding(analyst, loss=0.05)["verdict"] == "contradicted"


def test_a_fall_of_1000_within_its_interval_decides_nothing(analyst):
    found = finding(analyst, fold=1000)
    assert found["verdict"] == "not decided"


def test_one_data_set_on_which_all_fail_contradicts_it(analyst):
    def where(config):
        return (2000, 0.0) if config["dataset"] == "mnist" else (100, 0.0)

    found = finding(analyst, where=where)
    assert found["verdict"] == "contradicted"
    assert found["because"][0] == "holds on 2 of 4 curves, fails on 2"


def test_one_model_that_fails_on_both_decides_nothing(analyst):
    def where(config):
        return (2000, 0.0) if config["model"] == "cnn" else (100, 0.0)

    assert finding(analyst, where=where)["verdict"] == "not decided"


def test_one_data_set_alone_cannot_support_it_but_contradict_it(analyst):
    text = analyst.make.sweep.replace('["mnist", "fashion-mnist"]', '"mnist"')
    found = finding(analyst, text=text)
    assert found["verdict"] == "not decided"
    assert "fashion-mnist is not in this study" in found["because"][-1]
    assert finding(analyst, fold=10, text=text)["verdict"] == "contradicted"


def test_without_the_largest_lambdas_nothing_is_contradicted(analyst):
    text = analyst.make.sweep.replace(LAMBDAS, "[0, 1e-5]")
    assert finding(analyst, fold=10, text=text)["verdict"] == "not decided"


def test_one_seed_decides_nothing(analyst):
    assert finding(analyst, seeds=1)["verdict"] == "not decided"


def test_accuracies_without_spread_decide_nothing(analyst):
    analysis = analyst.analysis(
        analyst.make.sweep,
        6,
        lambda r: analyst.measured(
            change(analyst, r, 2000, 0), test_accuracy=0.9, val_accuracy=0.9
        ),
    )
    assert analysis["findings"][1]["verdict"] == "not decided"


def test_a_lambda_at_which_a_run_collapsed_does_not_hold(analyst):
    def some(record):
        changed = change(analyst, record, 2000, 0)
        gone = record.config["lam"] == 1e-2 and record.config["seed"] == 0
        return analyst.make.ended(changed, "collapsed") if gone else changed

    found = analyst.analysis(analyst.make.sweep, 6, some)["findings"][1]
    assert found["verdict"] != "supported"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LAMBDAS, "0"),
        (LAMBDAS, "[1e-5, 1e-2]"),
        (LAMBDAS, '[0, "budget"]'),
        ('["mnist", "fashion-mnist"]', '"digits"'),
        ("lam =", 'energy = "l1"\nlam ='),
    ],
)
def test_studies_without_its_lambdas_data_sets_or_energy_do_not_test_it(analyst, old, new):
    analysis = analyst.analysis(analyst.make.sweep.replace(old, new), 2)
    assert analysis["findings"][1]["verdict"] == "not tested by this study"
