from __future__ import annotations

import re

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.analysis.text import SHOWN, WIDTH, analysis_text


@pytest.fixture(scope="module")
def sweep(make_once):
    """The analysis of a study of which every run is ok, and its text."""
    study = make_once.study(make_once.sweep)
    found = compute_analysis(study, make_once.records(study))
    return found, "\n".join(analysis_text(found))


def text_of(analyst, text=None, seeds=4, change=None):
    found = analyst.analysis(text or analyst.make.sweep, seeds, change)
    return found, "\n".join(analysis_text(found))


def test_verdicts_and_warnings_come_first_then_the_tables(sweep):
    found, text = sweep
    assert text.startswith("lambda-sweep: All 80 runs are done (80 ok).\n")
    places = [
        text.index(heading)
        for heading in (
            "The reference study's findings",
            "Warnings",
            "Analysis of variance of the test accuracy: 2 dataset x 2 model x 5 lam; n = 80, type "
            "III, seeds as blocks",
            "Analysis of variance of the logit of the test error",
            "\nLambda\n",
            "Training efficiency",
            "Models that share a letter",
        )
    ]
    assert places == sorted(places)
    for finding in found["findings"]:
        assert f"{finding['finding']}. {finding['verdict'].upper()}: " in text


def test_the_numbers_are_those_of_the_analysis(sweep):
    found, text = sweep
    (row,) = [r for r in found["factorial"][0]["rows"] if r["effect"] == "dataset:model"]
    line = next(line for line in text.splitlines() if line.split()[:1] == ["dataset:model"])
    assert int(line.split()[1]) == row["df"]
    interval = (
        f"{row['partial_eta_sq']:.3f} [{row['partial_eta_sq_low']:.3f}, "
        f"{row['partial_eta_sq_high']:.3f}]"
    )
    assert interval in line
    display = found["posthoc"][0]["models"][0]
    accuracy = f"{100 * display['test_accuracy']['estimate']:.2f} %"
    assert f"mnist: {display['model']} {accuracy} {display['letters']}" in text


def test_rules_are_shown_for_what_was_tested(sweep):
    found, text = sweep
    tested = [f for f in found["findings"] if f["numbers"]]
    assert text.count("rule: ") == len(tested) == 2


def test_sentences_fit_a_terminal(sweep):
    _, text = sweep
    sentences = [line for line in text.splitlines() if line.startswith(("  - ", "     - "))]
    assert sentences
    assert max(map(len, sentences)) <= WIDTH


def test_collapsed_runs_have_a_table_of_their_own(analyst):
    def collapsed(record):
        gone = record.config["lam"] == 1e-2 and record.config["seed"] == 0
        return analyst.make.ended(record, "collapsed") if gone else record

    _, text = text_of(analyst, change=collapsed)
    assert text.count("with collapsed  ") == 2
    assert "n = 76, unbalanced, type III" in text


def test_what_is_not_computed_says_why(analyst):
    _, text = text_of(analyst, seeds=1)
    assert text.count("  not computed: there is one seed only") == 2


MANY = """
[study]
name = "many"
seeds = {seeds}
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["mlp", "cnn"]
lr = [1e-4, 2e-4, 1e-3, 2e-3, 1e-2, 2e-2, 1e-1]
lam = [0, 1e-3]
"""


def test_of_many_displays_the_first_are_shown_and_the_rest_counted(analyst):
    _, text = text_of(analyst, MANY, 2)
    assert f"… and {28 - SHOWN} more tables: see --json" in text
    assert f"… and {14 - SHOWN} more data sets and settings: see --json" in text


@pytest.mark.parametrize("models", ['["mlp", "cnn"]', '["cnn", "lagrangian"]'])
def test_gains_are_shown_with_their_targets_or_why_there_are_none(analyst, models):
    text = MANY.replace('["mlp", "cnn"]', models).replace(", 2e-4, 1e-3, 2e-3, 1e-2, 2e-2", "")
    steps = {"mlp": 50, "cnn": 50, "lagrangian": 20}
    _, found = text_of(analyst, text, 6, lambda r: analyst.trained(r, steps[r.config["model"]]))
    if "lagrangian" in models:
        assert "target on mnist: 85.50 %, from cnn at lr 0.0001 (n = 6)" in found
        assert re.search(r"all of vision +lagrangian +steps +best \(cnn\) +\d+ % ", found)
        assert "The best learning rate is at the edge of those tried" in found
    else:
        assert "not computed: the study has conventional models only" in found
