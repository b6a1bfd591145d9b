from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from minaction.report.tables import compute_findings


def rows_of(findings, table=0):
    return {row["lam"]: row for row in findings["lambda_tables"][table]["rows"]}


def values(records, metric, **config):
    return np.array(
        [
            record.metrics[metric]
            for record in sorted(records, key=lambda r: r.config["seed"])
            if all(record.config[key] == level for key, level in config.items())
        ]
    )


def test_the_numbers_of_a_sweep_equal_those_by_hand(make):
    study = make.study(make.sweep, seeds=5)
    records = make.records(study)
    findings = compute_findings(study, records)
    cell = {"dataset": "fashion-mnist", "model": "mlp"}
    labels = [table["label"] for table in findings["lambda_tables"]]
    row = rows_of(findings, labels.index("fashion-mnist · mlp · activation"))[1e-3]

    energy = values(records, "energy_activation", **cell, lam=1e-3)
    baseline = values(records, "energy_activation", **cell, lam=0.0)
    low, high = stats.t.interval(0.95, 4, energy.mean(), stats.sem(energy))
    assert row["energy"]["n"] == 5
    assert row["energy"]["estimate"] == pytest.approx(energy.mean())
    assert [row["energy"]["low"], row["energy"]["high"]] == pytest.approx([low, high])

    logs = np.log(energy / baseline)
    low, high = np.exp(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs)))
    percent, fold = row["energy_percent"], row["fold_reduction"]
    assert percent["estimate"] == pytest.approx(100 * stats.gmean(energy / baseline))
    assert [percent["low"], percent["high"]] == pytest.approx([100 * low, 100 * high])
    assert [fold["low"], fold["high"]] == pytest.approx([1 / high, 1 / low])

    accuracy = values(records, "test_accuracy", **cell, lam=1e-3)
    change = 100 * (accuracy - values(records, "test_accuracy", **cell, lam=0.0))
    low, high = stats.t.interval(0.95, 4, change.mean(), stats.sem(change))
    assert row["accuracy_change_pp"]["estimate"] == pytest.approx(change.mean())
    assert row["accuracy_change_pp"]["low"] == pytest.approx(low)
    assert row["zero_fraction"]["estimate"] == pytest.approx(0.8)


def test_lambda_is_chosen_on_validation_and_shown_on_test(make):
    def spoil_the_test_split(record):
        record.metrics["test_accuracy"] = 0.5 if record.config["lam"] else 0.9
        record.metrics["val_accuracy"] = 0.9 + 1e-4 * record.config["seed"]
        return record

    study = make.study()
    findings = compute_findings(study, make.records(study, spoil_the_test_split))
    choice = findings["lambda_tables"][0]["choice"]
    assert choice["lam"] == 1e-3
    assert choice["accuracy_change_pp"]["estimate"] == pytest.approx(-40)
    assert "\u221240.00 pp" in findings["headlines"][1]


def test_the_order_of_the_records_does_not_matter(make):
    study = make.study(make.sweep, seeds=3)
    records = make.records(study)
    shuffled = list(records)
    random.Random(1).shuffle(shuffled)
    first, second = compute_findings(study, records), compute_findings(study, shuffled)
    assert json.dumps(first) == json.dumps(second)


def test_only_timing_knows_when_and_where_in_a_pool_a_run_was_made(make):
    study = make.study()
    records = make.records(study)
    later = [
        replace(
            record,
            metrics=record.metrics | {"train_seconds": 1.0},
            provenance=record.provenance | {"started": "2027-01-01T00:00:00+00:00", "worker": 9},
        )
        for record in records
    ]
    first, second = compute_findings(study, records), compute_findings(study, later)
    assert first.pop("timing") != second.pop("timing")
    assert first == second


def test_the_energy_is_the_one_that_was_trained(make):
    study = make.study(make.small.replace("lam =", 'energy = ["activation", "free"]\nlam ='))
    findings = compute_findings(study, make.records(study))
    by_energy = {table["factors"]["energy"]: table for table in findings["lambda_tables"]}
    raw = {name: table["rows"][0]["energy"]["estimate"] for name, table in by_energy.items()}
    assert raw["free"] < 0.6 * raw["activation"]


def test_other_factors_make_tables_of_their_own(make):
    study = make.study(make.small.replace("lam =", "lr = [0.001, 0.003]\nlam ="))
    findings = compute_findings(study, make.records(study))
    labels = [table["label"] for table in findings["lambda_tables"]]
    assert labels == [
        "digits · mlp · activation · lr = 0.001",
        "digits · mlp · activation · lr = 0.003",
    ]
    assert all(row["planned"] == 4 for t in findings["lambda_tables"] for row in t["rows"])


def test_an_empty_journal(make):
    findings = compute_findings(make.study(), [])
    assert findings["headlines"] == ["No runs yet: 0 of 8 are done."]
    assert findings["runs"] == []
    row = rows_of(findings)[1e-3]
    assert row["statuses"]["missing"] == row["planned"] == 4
    assert row["energy"]["estimate"] is None
    assert row["energy"]["reason"] == "no run to measure"


def test_one_seed_has_estimates_and_no_intervals(make):
    study = make.study(seeds=1)
    findings = compute_findings(study, make.records(study))
    row = rows_of(findings)[1e-3]
    assert row["fold_reduction"]["estimate"] > 100
    assert row["fold_reduction"]["low"] is None
    assert findings["lambda_tables"][0]["choice"]["lam"] is None
    assert "1 seed: no test is possible" in findings["headlines"][1]


def test_one_cell(make):
    study = make.study(make.small.replace("lam = [0, 1e-3]", ""))
    findings = compute_findings(study, make.records(study))
    assert [row["lam"] for row in findings["lambda_tables"][0]["rows"]] == [0.0]
    assert "only λ = 0 was run" in findings["headlines"][1]


def test_no_lambda_zero(make):
    study = make.study(make.small.replace("[0, 1e-3]", "[1e-4, 1e-3]"))
    findings = compute_findings(study, make.records(study))
    row = rows_of(findings)[1e-3]
    assert row["energy"]["estimate"] > 0
    for name in ("energy_percent", "fold_reduction", "accuracy_change_pp"):
        assert row[name]["estimate"] is None
        assert row[name]["reason"] == "no λ = 0 in this study"
    assert findings["lambda_tables"][0]["choice"]["lam"] is None


def test_an_incomplete_study_says_so(make):
    study = make.study(seeds=4)
    findings = compute_findings(study, make.records(study)[:5])
    assert findings["headlines"][0] == (
        "5 of 8 runs are done (5 ok), 3 not run yet: every number below is provisional."
    )
    assert findings["lambda_tables"][0]["choice"]["lam"] is None


def test_missing_cells(make):
    study = make.study()
    records = make.records(study, lambda r: r if r.config["lam"] == 0 else None)
    row = rows_of(compute_findings(study, records))[1e-3]
    assert row["statuses"]["missing"] == 4
    assert row["fold_reduction"]["reason"] == "no run to measure"


def test_all_runs_failed(make):
    study = make.study()
    records = make.records(study, lambda r: make.ended(r, "failed", "RuntimeError: no"))
    findings = compute_findings(study, records)
    assert findings["headlines"][0].startswith("0 of 8 runs are done, 8 failed")
    assert findings["lambda_tables"][0]["choice"]["reason"] == "lambda = 0: 4 failed"
    assert len(findings["warnings"]) == 2
    assert findings["runs"][0]["error"] == "RuntimeError: no"


def test_collapsed_runs_are_counted_and_neither_averaged_nor_chosen(make):
    def collapse(record):
        if record.config["lam"] and record.config["seed"] == 2:
            return make.ended(record, "collapsed")
        return record

    study = make.study()
    findings = compute_findings(study, make.records(study, collapse))
    row = rows_of(findings)[1e-3]
    assert row["statuses"] == {"ok": 3, "diverged": 0, "collapsed": 1, "failed": 0, "missing": 0}
    assert row["energy"]["n"] == row["fold_reduction"]["n"] == 3
    assert row["validation"]["reason"] == "1 collapsed"
    assert findings["lambda_tables"][0]["choice"]["lam"] == 0.0
    assert "1 collapsed of 4 runs" in findings["warnings"][0]


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, "text", True])
def test_a_metric_that_is_no_number_is_missing(make, bad):
    def spoil(record):
        if record.config["seed"] == 0:
            record.metrics["energy_activation"] = record.metrics["val_accuracy"] = bad
        return record

    study = make.study()
    findings = compute_findings(study, make.records(study, spoil))
    row = rows_of(findings)[1e-3]
    assert row["energy"]["n"] == 3
    assert row["test_accuracy"]["n"] == 4
    assert "1 without a validation accuracy" in findings["lambda_tables"][0]["choice"]["reason"]


def test_records_without_metrics(make):
    study = make.study()
    records = make.records(study, lambda r: replace(r, metrics=None, provenance={}))
    findings = compute_findings(study, records)
    assert rows_of(findings)[0.0]["energy"]["estimate"] is None
    assert findings["timing"]["by_group"] == []


def test_zero_energy_has_no_ratio(make):
    def silence(record):
        if record.config["lam"]:
            record.metrics["energy_activation"] = 0.0
        return record

    study = make.study()
    row = rows_of(compute_findings(study, make.records(study, silence)))[1e-3]
    assert row["energy"]["estimate"] == 0.0
    assert row["fold_reduction"]["reason"] == "energy is 0 in some runs"


def test_gauge_fixed_energy_is_there_when_any_run_has_it(make):
    def measure(record):
        record.metrics["energy_gauge_fixed"] = 2 * record.metrics["energy_activation"]
        return record

    study = make.study()
    row = rows_of(compute_findings(study, make.records(study, measure)))[1e-3]
    assert row["gauge_fixed_percent"]["estimate"] == pytest.approx(
        row["energy_percent"]["estimate"]
    )
    assert "energy_gauge_fixed" not in rows_of(compute_findings(study, []))[1e-3]


def test_runs_outside_the_design_are_in_no_number(make):
    study, other = make.study(seeds=4), make.study(seeds=6)
    findings = compute_findings(study, make.records(other))
    assert findings["counts"]["done"] == 8
    assert len(findings["outside_design"]) == 4
    assert "not in the study's design" in findings["warnings"][0]
    assert findings["provenance"][0]["runs"] == 8


def test_mixed_conditions_are_a_warning(make):
    def another_machine(record):
        cpu = "Another processor" if record.config["seed"] else "A processor"
        return replace(record, provenance=record.provenance | {"cpu": cpu})

    study = make.study()
    findings = compute_findings(study, make.records(study, another_machine))
    assert findings["warnings"] == ["Not all runs were made under the same cpu; see Provenance."]


def test_a_long_error_is_cut_and_its_length_told(make):
    study = make.study()
    records = make.records(study, lambda r: make.ended(r, "failed", "x" * 10_000))
    error = compute_findings(study, records)["runs"][0]["error"]
    assert len(error) < 400
    assert error.endswith("(10,000 characters; the journal has all)")
