from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from minaction.errors import JournalError, StudyDirectoryError
from minaction.report.analysis.analyse import SCHEMA, analyse, compute_analysis
from minaction.report.analysis.text import analysis_text
from minaction.report.tables import compute_findings

KEYS = [
    *("schema", "study", "progress", "counts", "findings", "warnings", "crossing", "factorial"),
    *("lambda_tables", "efficiency", "posthoc", "outside_design"),
]


def test_an_analysis_is_json_of_a_known_shape(analyst):
    found = analyst.analysis(analyst.make.sweep)
    assert list(found) == KEYS
    assert found["schema"] == SCHEMA
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [finding["finding"] for finding in found["findings"]] == [1, 2, 3]
    for finding in found["findings"]:
        assert {"claim", "published", "verdict", "because", "numbers", "rule"} <= set(finding)


def test_a_directory_is_analysed_as_its_records(analyst):
    study = analyst.make.study(analyst.make.sweep)
    records = analyst.make.records(study)
    found = analyse(analyst.make.write(study, records))
    assert found == compute_analysis(study, records)


def test_the_order_of_records_changes_nothing(analyst):
    study = analyst.make.study(analyst.make.sweep)
    records = analyst.make.records(study)
    shuffled = random.Random(0).sample(records, len(records))
    assert compute_analysis(study, shuffled) == compute_analysis(study, records)


def test_lambda_tables_are_the_reports_without_layers(analyst):
    study = analyst.make.study(analyst.make.sweep)
    records = analyst.make.records(study)
    own = compute_analysis(study, records)["lambda_tables"]
    theirs = compute_findings(study, records)["lambda_tables"]
    layers = {"layers", "layer_gauge_missing"}
    assert own == [{k: v for k, v in table.items() if k not in layers} for table in theirs]


def test_no_directory(tmp_path):
    with pytest.raises(StudyDirectoryError):
        analyse(tmp_path)


@pytest.mark.parametrize("value", [-0.1, 1.5, 1e300])
@pytest.mark.parametrize("name", ["test_accuracy", "val_accuracy", "silent_fraction"])
def test_a_share_that_is_none_is_refused_with_its_run(analyst, name, value):
    study = analyst.make.study()
    records = analyst.make.records(study)
    records[3] = analyst.measured(records[3], **{name: value})
    with pytest.raises(JournalError, match=f"run {records[3].run_id}: {name} is"):
        compute_analysis(study, records)


def test_the_command_names_the_journal_too(analyst):
    study = analyst.make.study()
    records = analyst.make.records(study)
    records[0] = analyst.measured(records[0], test_accuracy=2)
    directory = analyst.make.write(study, records)
    with pytest.raises(JournalError, match=f"^{directory}/journal.jsonl: run .* is 2, expected"):
        analyse(directory)


NASTY = ["x" * 10_000, "<script>alert(1)</script>", "\x1b[31mred\x07\n", "\u202eleft", "🦆'\"&"]
ODD = {
    "no runs": lambda analyst, r: None,
    "one model": lambda analyst, r: r if r.config["model"] == "mlp" else None,
    "one run a cell": lambda analyst, r: r if r.config["seed"] == 0 else None,
    "scattered": lambda analyst, r: r if int(r.run_id, 16) % 3 else None,
    "hardly any": lambda analyst, r: r if int(r.run_id, 16) % 11 == 0 else None,
    "failed": lambda analyst, r: analyst.make.ended(r, "failed", random.Random(0).choice(NASTY)),
    "diverged": lambda analyst, r: analyst.make.ended(r, "diverged"),
    "collapsed": lambda analyst, r: analyst.make.ended(r, "collapsed"),
    "constant": lambda analyst, r: analyst.measured(r, test_accuracy=0.5, val_accuracy=0.5),
    "perfect": lambda analyst, r: analyst.measured(r, test_accuracy=1.0, val_accuracy=1.0),
    "hopeless": lambda analyst, r: analyst.measured(r, test_accuracy=0.0, val_accuracy=0.0),
    "no accuracy": lambda analyst, r: analyst.measured(r, test_accuracy=None, val_accuracy=None),
    "NaN": lambda analyst, r: analyst.measured(r, test_accuracy=float("nan")),
    "texts": lambda analyst, r: analyst.measured(r, test_accuracy="0.9", energy_activation=[1]),
    "no energy": lambda analyst, r: analyst.measured(r, energy_activation=0.0),
    "negative energy": lambda analyst, r: analyst.measured(r, energy_activation=-1.0),
    "huge energy": lambda analyst, r: analyst.measured(r, energy_activation=1e150),
    "old": lambda analyst, r: analyst.make.old(r),
    "no metrics": lambda analyst, r: replace(r, metrics=None),
    "odd history": lambda analyst, r: replace(
        r, history=[3, None, {"step": "x"}, {"step": 5, "train_seconds": 1, "val_accuracy": 2}]
    ),
    **{
        f"nasty reason {i}": lambda analyst, r, text=text: analyst.make.uncovered(r, text)
        for i, text in enumerate(NASTY)
    },
}


@pytest.mark.parametrize("change", ODD.values(), ids=list(ODD))
def test_odd_journals_have_an_analysis_that_can_be_printed(analyst, change):
    found = analyst.analysis(analyst.make.sweep, 3, lambda r: change(analyst, r))
    json.dumps(found, allow_nan=False)
    for line in analysis_text(found):
        assert line.isprintable()
        assert len(line) < 1000
    assert {finding["verdict"] for finding in found["findings"]} <= {
        "supported",
        "contradicted",
        "not decided",
        "not tested by this study",
    }


@pytest.mark.parametrize("name", ["no runs", "failed", "diverged", "collapsed", "no accuracy"])
def test_without_an_ok_accuracy_nothing_is_supported_nor_contradicted(analyst, name):
    found = analyst.analysis(analyst.make.sweep, 3, lambda r: ODD[name](analyst, r))
    words = [finding["verdict"] for finding in found["findings"]]
    assert words[0] == "not decided"
    assert words[1] in ("not decided", "contradicted") if name == "collapsed" else "not decided"
    assert all(table["reason"] and not table["rows"] for table in found["factorial"])


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_have_an_analysis(analyst, seeds):
    for text in (analyst.make.sweep, analyst.make.small, analyst.make.budgeted):
        assert analysis_text(analyst.analysis(text, seeds))
