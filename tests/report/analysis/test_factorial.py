from __future__ import annotations

import pytest

from minaction.report.analysis.crossing import find_crossing
from minaction.report.analysis.factorial import (
    LARGEST_MODEL,
    factorial_tables,
    interaction_order,
    row_of,
)
from minaction.report.frame import run_frame
from minaction.stats.anova import factorial_anova


def tables_of(analyst, text, seeds=4, change=None):
    return factorial_tables(find_crossing(*analyst.frame(text, seeds, change)))


def test_the_table_is_that_of_the_library_with_seeds_as_blocks(analyst):
    study, frame = analyst.frame(analyst.make.sweep)
    accuracy, logit = factorial_tables(find_crossing(study, frame))
    expected = factorial_anova(frame, "test_accuracy", ["dataset", "model", "lam"], blocks="seed")
    assert [row["effect"] for row in accuracy["rows"]] == expected.index.tolist()
    assert accuracy["balanced"]
    assert (accuracy["n"], accuracy["max_order"]) == (80, 3)
    for effect in ("model", "dataset:model", "seed"):
        row = row_of(accuracy, effect)
        assert row is not None
        for column in expected.columns:
            assert row[column] == pytest.approx(expected.loc[effect, column])
    assert (logit["response"], logit["reason"]) == ("logit_error", "")


def test_shares_of_a_balanced_design_add_up_to_all_variance(analyst):
    for table in tables_of(analyst, analyst.make.sweep):
        assert sum(row["share"] for row in table["rows"]) == pytest.approx(1)


def test_assumptions_stand_beside_the_table(analyst):
    table, _ = tables_of(analyst, analyst.make.sweep)
    assert [check["assumption"] for check in table["assumptions"]] == [
        "equal variances",
        "normal residuals",
    ]
    assert all(0 <= check["p"] <= 1 for check in table["assumptions"])
    assert table["sd_ratio"] > 1


def test_collapsed_runs_are_left_out_and_counted_in_beside(analyst):
    def collapsed(record):
        if record.config["lam"] != 1e-2 or record.config["seed"]:
            return record
        return analyst.make.ended(analyst.measured(record, test_accuracy=0.1), "collapsed")

    table, _ = tables_of(analyst, analyst.make.sweep, change=collapsed)
    assert (table["n"], table["balanced"]) == (76, False)
    extra = table["with_collapsed"]
    assert (extra["collapsed"], extra["reason"]) == (4, "")
    _, frame = analyst.frame(analyst.make.sweep, change=collapsed)
    expected = factorial_anova(frame, "test_accuracy", ["dataset", "model", "lam"], blocks="seed")
    (model,) = [row for row in extra["rows"] if row["effect"] == "model"]
    assert model["p"] == pytest.approx(expected.loc["model", "p"])
    row = row_of(table, "model")
    assert row is not None
    assert row["partial_eta_sq"] != pytest.approx(model["partial_eta_sq"], rel=0.01)


def test_where_none_collapsed_there_is_no_second_table(analyst):
    assert all(t["with_collapsed"] is None for t in tables_of(analyst, analyst.make.sweep))


@pytest.mark.parametrize(
    ("text", "seeds", "reason"),
    [
        ("sweep", 1, "there is one seed only"),
        ("small", 4, ""),
    ],
)
def test_one_seed_tells_nothing(analyst, text, seeds, reason):
    for table in tables_of(analyst, getattr(analyst.make, text), seeds):
        assert table["reason"].startswith(reason)
        assert bool(table["rows"]) is not bool(reason)


def test_one_cell_has_nothing_to_compare(analyst):
    for table in tables_of(analyst, analyst.make.small.replace("[0, 1e-3]", "0")):
        assert table["reason"].startswith("there is one cell only")


def test_a_constant_response_is_said(analyst):
    accuracy, logit = tables_of(
        analyst, analyst.make.sweep, change=lambda r: analyst.measured(r, test_accuracy=0.5)
    )
    assert "is constant" in accuracy["reason"]
    assert "is constant" in logit["reason"]
    assert accuracy["rows"] == []


def test_a_response_constant_in_its_cells_is_said(analyst):
    accuracy, _ = tables_of(
        analyst,
        analyst.make.sweep,
        change=lambda r: analyst.measured(
            r, test_accuracy={"mlp": 0.5, "cnn": 0.6}[r.config["model"]]
        ),
    )
    assert "does not vary within the cells" in accuracy["reason"]


def test_the_logit_may_be_missing_where_the_accuracy_is_not(analyst):
    def perfect(record):
        return analyst.measured(record, test_accuracy=1.0) if not record.config["seed"] else record

    accuracy, logit = tables_of(analyst, analyst.make.sweep, change=perfect)
    assert not accuracy["reason"]
    assert "an accuracy is 0 or 1" in logit["reason"]


MANY = """
[study]
name = "many"
seeds = {seeds}
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["mlp", "cnn"]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
lr = [1e-4, 1e-3, 1e-2]
batch_size = [8, 16, 32]
weight_decay = [0, 0.1, 0.2]
"""


def test_a_model_too_large_has_fewer_interactions_and_says_so(analyst):
    study = analyst.make.study(MANY, 1)
    crossing = find_crossing(study, run_frame(study, analyst.make.records(study)))
    order, omitted = interaction_order(crossing)
    assert omitted == 540 > LARGEST_MODEL
    assert len(crossing.factors) == 6
    assert order is not None
    assert 1 <= order < 6


def test_the_size_of_a_model_is_counted_as_its_parameters(analyst):
    study, frame = analyst.frame(MANY.replace("weight_decay = [0, 0.1, 0.2]", ""), 2)
    crossing = find_crossing(study, frame)
    assert interaction_order(crossing) == (None, None)
    table, _ = factorial_tables(crossing)
    assert sum(row["df"] for row in table["rows"]) == table["n"] - 1
