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


def test_how_models_are_built_names_tables_too(make):
    study = make.study(make.small.replace("lam =", 'init = ["pytorch", "he"]\nlam ='))
    findings = compute_findings(study, make.records(study))
    labels = [table["label"] for table in findings["lambda_tables"]]
    assert labels == [f"digits · mlp · activation · init = {init}" for init in ("pytorch", "he")]


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
    assert findings["headlines"][1:] == ["Only λ = 0 was run, so there is no λ to choose."]


def test_no_lambda_zero(make):
    study = make.study(make.small.replace("[0, 1e-3]", "[1e-4, 1e-3]"))
    findings = compute_findings(study, make.records(study))
    row = rows_of(findings)[1e-3]
    assert row["energy"]["estimate"] > 0
    for name in ("energy_percent", "fold_reduction", "accuracy_change_pp"):
        assert row[name]["estimate"] is None
        assert row[name]["reason"] == "no λ = 0 to compare with"
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
    assert findings["lambda_tables"][0]["choice"]["reason"] == "λ = 0: 4 runs failed"
    assert findings["warnings"] == [
        "Runs that are not ok (8 failed) are left out of factorial tables, means and letters.",
        "digits · mlp · activation · λ = 0: 4 failed of 4 runs; they are counted and left out of "
        "the means.",
        "digits · mlp · activation · λ = 1e-3: 4 failed of 4 runs; they are counted and left out "
        "of the means.",
    ]
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
    assert row["validation"]["reason"] == "1 run collapsed"
    assert findings["lambda_tables"][0]["choice"]["lam"] == 0.0
    assert any("1 collapsed of 4 runs" in warning for warning in findings["warnings"])


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


def test_the_gauge_fixed_numbers_equal_those_by_hand(make):
    study = make.study(make.sweep, seeds=6)
    records = make.records(study)
    cell = {"dataset": "mnist", "model": "mlp"}
    row = rows_of(compute_findings(study, records))[1e-2]
    gauge_fixed = values(records, "energy_gauge_fixed", **cell, lam=1e-2)
    at_zero = values(records, "energy_gauge_fixed", **cell, lam=0.0)
    assert row["energy_gauge_fixed"]["estimate"] == pytest.approx(gauge_fixed.mean())
    left = np.log(gauge_fixed / at_zero)
    low, high = np.exp(stats.t.interval(0.95, 5, left.mean(), stats.sem(left)))
    percent, fold = row["gauge_fixed_percent"], row["gauge_fixed_fold"]
    assert percent["estimate"] == pytest.approx(100 * stats.gmean(gauge_fixed / at_zero))
    assert [percent["low"], percent["high"]] == pytest.approx([100 * low, 100 * high])
    assert [fold["low"], fold["high"]] == pytest.approx([1 / high, 1 / low])

    raw = values(records, "energy_activation", **cell, lam=1e-2)
    fall = np.log(raw / values(records, "energy_activation", **cell, lam=0.0))
    share = row["rescaling_percent"]
    assert share["n"] == 6
    assert share["estimate"] == pytest.approx(100 * (1 - left.mean() / fall.mean()))
    for end in (share["low"], share["high"]):
        test = stats.ttest_1samp(100 * (fall - left) - end * fall, 0.0)
        assert test.pvalue == pytest.approx(0.05, rel=1e-6)


def gauged(make, change):
    """The row of lambda 1e-3 where `change` sets the gauge-fixed energies."""
    study = make.study()
    return rows_of(compute_findings(study, make.records(study, change)))[1e-3]


def test_a_fall_that_is_nothing_but_rescaling(make):
    def rescale(record):
        record.metrics["energy_gauge_fixed"] = 100.0 + record.config["seed"]
        return record

    row = gauged(make, rescale)
    assert row["energy_percent"]["estimate"] < 1
    assert row["gauge_fixed_percent"]["estimate"] == pytest.approx(100)
    share = row["rescaling_percent"]
    assert (share["estimate"], share["low"], share["high"]) == pytest.approx((100, 100, 100))


def test_a_fall_of_which_all_is_left(make):
    def keep(record):
        record.metrics["energy_gauge_fixed"] = 3 * record.metrics["energy_activation"]
        return record

    share = gauged(make, keep)["rescaling_percent"]
    assert (share["estimate"], share["low"], share["high"]) == pytest.approx((0, 0, 0), abs=1e-9)


def test_where_the_raw_energy_did_not_fall_there_is_nothing_to_share_out(make):
    def rise(record):
        record.metrics["energy_activation"] = 2.0 if record.config["lam"] else 1.0
        return record

    assert gauged(make, rise)["rescaling_percent"]["reason"] == "the raw energy did not fall"


def test_old_records_say_that_nothing_was_recorded(make):
    study = make.study()
    findings = compute_findings(study, make.records(study, make.old))
    table = findings["lambda_tables"][0]
    row = table["rows"][1]
    for name in ("energy_gauge_fixed", "gauge_fixed_percent", "gauge_fixed_fold"):
        assert row[name]["estimate"] is None
        assert row[name]["reason"] == "not recorded"
    assert row["energy_percent"]["estimate"] > 0
    assert table["gauge_missing"] == [{"reason": "not recorded", "runs": 8}]
    assert findings["gauge"] == {"runs": 0, "of": 8, "max_output_difference": None}
    assert {run["gauge_missing"] for run in findings["runs"]} == {"not recorded"}
    assert findings["warnings"] == [
        "mlp: no gauge-fixed energy in 1 lambda table, so a fall of the raw one may be mere "
        "rescaling (not recorded)."
    ]
    assert "gauge-fixed energy is not recorded" in findings["headlines"][1]


def test_a_reason_is_told_once_and_two_words_stand_for_it(make):
    reason = "net.3: softmax attention stops the rescaling"
    study = make.study()
    findings = compute_findings(
        study, make.records(study, lambda record: make.uncovered(record, reason))
    )
    table = findings["lambda_tables"][0]
    assert table["rows"][1]["energy_gauge_fixed"]["reason"] == "not covered"
    assert table["rows"][1]["rescaling_percent"]["reason"] == "not covered"
    assert table["gauge_missing"] == [{"reason": reason, "runs": 8}]
    told = 1 + len(table["layer_gauge_missing"])
    assert json.dumps(findings).count(reason) == told + len(findings["warnings"]) == told + 1
    assert "gauge-fixed energy is not covered" in findings["headlines"][1]


def test_a_journal_of_old_and_new_records_is_compared_where_it_can_be(make):
    def mixed(record):
        return make.old(record) if record.config["seed"] == 0 else record

    study = make.study()
    records = make.records(study, mixed)
    findings = compute_findings(study, records)
    row = rows_of(findings)[1e-3]
    assert row["energy"]["n"] == row["energy_percent"]["n"] == 4
    assert row["energy_gauge_fixed"]["n"] == row["gauge_fixed_percent"]["n"] == 3
    assert row["rescaling_percent"]["n"] == 3
    kept = [record.metrics.get("energy_gauge_fixed") for record in records if record.config["lam"]]
    assert row["energy_gauge_fixed"]["estimate"] == pytest.approx(np.mean([v for v in kept if v]))
    assert findings["lambda_tables"][0]["gauge_missing"] == [{"reason": "not recorded", "runs": 2}]
    assert findings["warnings"] == [
        "digits · mlp · activation: 2 of 8 ok runs have no gauge-fixed energy; its means and "
        "ratios are over the others."
    ]


def test_without_it_at_lambda_zero_there_is_a_mean_and_no_ratio(make):
    row = gauged(make, lambda record: record if record.config["lam"] else make.old(record))
    assert row["energy_gauge_fixed"]["n"] == 4
    assert row["gauge_fixed_percent"]["reason"] == "λ = 0: not recorded"
    assert row["rescaling_percent"]["reason"] == "λ = 0: not recorded"


def test_another_energy_has_the_raw_activation_energy_beside_the_gauge_fixed_one(make):
    study = make.study(make.small.replace("lam =", 'energy = "l1"\nlam ='))
    records = make.records(study)
    findings = compute_findings(study, records)
    row = rows_of(findings)[1e-3]
    raw = values(records, "energy_activation", lam=1e-3)
    assert row["activation_energy"]["estimate"] == pytest.approx(raw.mean())
    assert row["energy"]["estimate"] == pytest.approx(values(records, "energy_l1", lam=1e-3).mean())
    logs = {
        name: math.log(row[f"{name}_percent"]["estimate"] / 100)
        for name in ("activation", "gauge_fixed")
    }
    share = 100 * (1 - logs["gauge_fixed"] / logs["activation"])
    assert row["rescaling_percent"]["estimate"] == pytest.approx(share)
    assert "activation energy" in findings["headlines"][1]


def test_layers_have_their_shares_raw_and_gauge_fixed(make):
    study = make.study()
    records = make.records(study)
    (table,) = compute_findings(study, records)["lambda_tables"]
    assert [(row["lam"], row["layer"]) for row in table["layers"]] == [
        (0.0, "net.2"),
        (0.0, "net.10"),
        (1e-3, "net.2"),
        (1e-3, "net.10"),
    ]
    for lam in (0.0, 1e-3):
        total = rows_of({"lambda_tables": [table]})[lam]
        parts = [row for row in table["layers"] if row["lam"] == lam]
        for name in ("energy", "energy_gauge_fixed"):
            summed = sum(part[name]["estimate"] for part in parts)
            assert summed == pytest.approx(total[name]["estimate"])
    share, whole = table["layers"][2], rows_of({"lambda_tables": [table]})[1e-3]
    for name in ("energy_percent", "gauge_fixed_percent", "rescaling_percent"):
        assert share[name]["estimate"] == pytest.approx(whole[name]["estimate"])
    assert table["layer_gauge_missing"] == []


def test_layers_that_are_not_covered_say_why(make):
    def attention(record):
        record.layers["net.2"] |= {"energy_gauge_fixed": None, "gauge_reason": "softmax"}
        return make.old(record) if record.config["seed"] == 3 else record

    study = make.study()
    (table,) = compute_findings(study, make.records(study, attention))["lambda_tables"]
    rows = {(row["lam"], row["layer"]): row for row in table["layers"]}
    assert rows[1e-3, "net.2"]["energy_gauge_fixed"]["reason"] == "not covered"
    assert rows[1e-3, "net.2"]["energy"]["n"] == 4
    assert rows[1e-3, "net.10"]["energy_gauge_fixed"]["n"] == 3
    found = {(m["layer"], m["reason"]): m["runs"] for m in table["layer_gauge_missing"]}
    assert found == {
        ("net.2", "softmax"): 6,
        ("net.2", "not recorded"): 2,
        ("net.10", "not recorded"): 2,
    }


def test_a_run_says_for_its_layers_why_gauge_fixing_failed(make):
    def fail(record):
        uncovered = make.uncovered(record, "the model cannot be copied")
        for layer in uncovered.layers.values():
            del layer["energy_gauge_fixed"], layer["gauge_reason"]
        return uncovered

    study = make.study()
    (table,) = compute_findings(study, make.records(study, fail))["lambda_tables"]
    assert {m["reason"] for m in table["layer_gauge_missing"]} == {"the model cannot be copied"}


@pytest.mark.parametrize("layers", [{}, {"net.1": 3}, {"net.1": {"energy_l1": 1.0}}])
def test_layers_that_cannot_be_read_are_left_out(make, layers):
    study = make.study()
    findings = compute_findings(
        study, make.records(study, lambda record: replace(record, layers=layers))
    )
    assert findings["lambda_tables"][0]["layers"] == []
    assert rows_of(findings)[1e-3]["energy"]["n"] == 4


def test_a_long_reason_is_cut_and_its_length_told(make):
    study = make.study()
    records = make.records(study, lambda record: make.uncovered(record, "x" * 10_000))
    (missing,) = compute_findings(study, records)["lambda_tables"][0]["gauge_missing"]
    assert len(missing["reason"]) < 400
    assert missing["reason"].endswith("(10,000 characters; the journal has all)")


def test_the_largest_change_of_an_output_is_kept(make):
    study = make.study()
    records = make.records(study)
    largest = max(record.metrics["gauge_output_difference"] for record in records)
    gauge = compute_findings(study, records)["gauge"]
    assert gauge == {"runs": 8, "of": 8, "max_output_difference": largest}


def test_a_budget_is_a_row_of_its_own_that_no_rule_chooses(make):
    study = make.study(make.budgeted)
    records = make.records(study)
    findings = compute_findings(study, records)
    (table,) = findings["lambda_tables"]
    assert [row["lam"] for row in table["rows"]] == [0.0, 1e-3, "budget"]
    row = table["rows"][2]
    found = values(records, "shadow_price", lam="budget")
    multiplier = row["multiplier"]
    assert multiplier["estimate"] == pytest.approx(np.median(found))
    assert (multiplier["n"], multiplier["low"], multiplier["high"]) == (4, found.min(), found.max())
    energy = values(records, "energy_activation", lam="budget")
    at_zero = values(records, "energy_activation", lam=0.0)
    assert row["energy_percent"]["estimate"] == pytest.approx(100 * stats.gmean(energy / at_zero))
    assert row["accuracy_change_pp"]["n"] == 4
    assert not row["validation"]["selected"]
    assert table["choice"]["lam"] in (0.0, 1e-3)
    (baseline,) = table["budget"]["baselines"]
    assert {r.run_id: r for r in records}[baseline].config["lam"] == 0.0
    assert (table["budget"]["margin"], table["budget"]["aim"]) == (0.005, 0.5)
    assert "a budget of 0.5 pp finds λ = " in findings["headlines"][2]
    assert "median of 4 seeds" in findings["headlines"][2]


def test_baselines_of_a_study_without_level_0_are_in_its_design(make):
    alone, both = (
        make.study(make.budgeted.replace("[0, 1e-3, ", levels)) for levels in ("[", "[0, ")
    )
    baselines = [r for r in make.records(both) if (r.config["lam"], r.config["seed"]) == (0.0, 0)]
    made = {record.run_id: record for record in [*baselines, *make.records(alone)]}
    findings = compute_findings(alone, list(made.values()))
    assert findings["outside_design"] == []
    assert findings["counts"]["planned"] == findings["counts"]["done"] == 5
    zero, budget = findings["lambda_tables"][0]["rows"]
    assert (zero["lam"], zero["planned"]) == (0.0, 1)
    assert (budget["energy"]["n"], budget["energy_percent"]["n"]) == (4, 1)
    assert budget["energy_percent"]["low"] is None
    assert len(findings["headlines"]) == 2
    assert "1 seed, no interval" in findings["headlines"][1]


def test_the_grid_is_judged_as_if_there_were_no_budget(make):
    study, without = make.study(make.budgeted), make.study(make.small)
    tables = [
        compute_findings(one, make.records(one))["lambda_tables"][0] for one in (study, without)
    ]
    assert tables[0]["rows"][:2] == tables[1]["rows"]
    assert tables[0]["choice"] == tables[1]["choice"]


def test_runs_outside_the_design_are_in_no_number(make):
    study, other = make.study(seeds=4), make.study(seeds=6)
    findings = compute_findings(study, make.records(other))
    assert findings["counts"]["done"] == 8
    assert len(findings["outside_design"]) == 4
    assert "not in the study's design" in findings["warnings"][-1]
    assert findings["provenance"][0]["runs"] == 8


def test_mixed_conditions_are_a_warning(make):
    def another_machine(record):
        cpu = "Another processor" if record.config["seed"] else "A processor"
        return replace(record, provenance=record.provenance | {"cpu": cpu})

    study = make.study()
    findings = compute_findings(study, make.records(study, another_machine))
    assert findings["warnings"] == [
        "Not all runs were made under the same cpu; the report's Provenance says which."
    ]


def test_seconds_of_runs_trained_as_one_are_marked_as_attributed(make):
    def stacked(record):
        by = {"runs": 2, "seconds_attributed": True} if record.config["seed"] else {"runs": 1}
        return replace(record, provenance=record.provenance | {"stacked": by})

    study = make.study()
    entries = compute_findings(study, make.records(study, stacked))["provenance"]
    (entry,) = (entry for entry in entries if entry["condition"] == "train_seconds")
    assert entry["value"].startswith("attributed: an equal share")
    assert entry["runs"] == sum(1 for record in make.records(study) if record.config["seed"])


def test_a_long_error_is_cut_and_its_length_told(make):
    study = make.study()
    records = make.records(study, lambda r: make.ended(r, "failed", "x" * 10_000))
    error = compute_findings(study, records)["runs"][0]["error"]
    assert len(error) < 400
    assert error.endswith("(10,000 characters; the journal has all)")
