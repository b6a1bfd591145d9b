from __future__ import annotations

import pytest

from minaction.report.analysis.posthoc import letter_displays
from minaction.stats.posthoc import games_howell

THREE = """
[study]
name = "three"
seeds = {seeds}
[factors]
dataset = ["mnist", "digits"]
model = ["mlp", "cnn", "gru"]
"""


def shifted(analyst, record, by):
    """The record with an accuracy by model, seeds 0.01 apart."""
    seed = record.config["seed"]
    accuracy = 0.5 + by[record.config["model"]] + 0.01 * seed
    return analyst.measured(record, test_accuracy=accuracy)


def displays(analyst, text, seeds=5, change=None):
    _, frame = analyst.frame(text, seeds, change)
    return letter_displays(frame)


def test_models_share_a_letter_where_they_are_not_shown_to_differ(analyst):
    by = {"mlp": 0.001, "cnn": 0.0, "gru": 0.3}
    found = displays(analyst, THREE, change=lambda r: shifted(analyst, r, by))
    assert [display["dataset"] for display in found] == ["mnist", "digits"]
    for display in found:
        letters = {row["model"]: row["letters"] for row in display["models"]}
        assert letters == {"gru": "a", "mlp": "b", "cnn": "b"}
        assert list(letters) == ["gru", "mlp", "cnn"]
        assert display["models"][0]["test_accuracy"]["n"] == 5


def test_pairs_are_those_of_games_and_howell_in_points(analyst):
    _, frame = analyst.frame(THREE, 5)
    display, _ = letter_displays(frame)
    expected = games_howell(frame.loc[frame["dataset"] == "mnist", :], "test_accuracy", ["model"])
    for row, pair in zip(display["pairs"], expected.to_dict("records"), strict=True):
        assert (row["model_a"], row["model_b"]) == (pair["group_a"], pair["group_b"])
        assert row["difference_pp"] == pytest.approx(100 * pair["difference"])
        assert row["low_pp"] == pytest.approx(100 * pair["low"])
        assert row["p"] == pytest.approx(pair["p"])
        assert row["p_holm"] == pytest.approx(pair["p_holm"])


def test_models_are_compared_at_lambda_0(analyst):
    found = displays(analyst, analyst.make.sweep, 4)
    assert [display["label"] for display in found] == ["mnist", "fashion-mnist"]
    assert {row["test_accuracy"]["n"] for d in found for row in d["models"]} == {4}


def test_without_lambda_0_each_lambda_has_its_letters(analyst):
    text = analyst.make.sweep.replace("[0, 1e-5, 1e-4, 1e-3, 1e-2]", "[1e-4, 1e-3]")
    assert [display["label"] for display in displays(analyst, text, 4)] == [
        "mnist · lam = 1e-4",
        "mnist · lam = 1e-3",
        "fashion-mnist · lam = 1e-4",
        "fashion-mnist · lam = 1e-3",
    ]


def test_each_setting_of_other_factors_has_its_letters(analyst):
    found = displays(analyst, THREE + "lr = [1e-3, 1e-2]\n", 3)
    assert [display["settings"] for display in found[:2]] == [{"lr": 1e-3}, {"lr": 1e-2}]
    assert len(found) == 4


def test_a_model_with_a_single_run_has_no_letter(analyst):
    def few(record):
        gone = record.config["model"] == "gru" and record.config["seed"]
        return analyst.make.ended(record, "failed", "no room") if gone else record

    for display in displays(analyst, THREE, change=few):
        assert {row["model"] for row in display["models"]} == {"mlp", "cnn"}
        assert display["left_out"] == [{"model": "gru", "n": 1}]


def test_one_model_is_compared_with_none(analyst):
    assert displays(analyst, analyst.make.small) == []


@pytest.mark.parametrize(
    ("seeds", "change", "reason"),
    [
        (1, None, "fewer than two models have two or more ok runs"),
        (4, {"test_accuracy": 0.5}, "is constant"),
        (4, {"test_accuracy": None}, "fewer than two models have two or more ok runs"),
    ],
)
def test_where_nothing_can_be_compared_it_is_said(analyst, seeds, change, reason):
    def changed(record):
        return analyst.measured(record, **(change or {}))

    for display in displays(analyst, THREE, seeds, changed):
        assert reason in display["reason"]
        assert (display["models"], display["pairs"]) == ([], [])


def test_models_whose_runs_are_all_alike_share_a_letter(analyst):
    by = {"mlp": 0.5, "cnn": 0.6, "gru": 0.7}
    found = displays(
        analyst,
        THREE,
        change=lambda r: analyst.measured(r, test_accuracy=by[r.config["model"]]),
    )
    for display in found:
        assert {row["letters"] for row in display["models"]} == {"a"}
        assert {pair["p"] for pair in display["pairs"]} == {None}
