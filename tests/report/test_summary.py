from __future__ import annotations

import re

import pytest

from minaction.errors import StudyDirectoryError
from minaction.report import formatting as write
from minaction.report.formatting import MINUS
from minaction.report.summary import CHOSEN, aligned, lambda_summary
from minaction.report.tables import compute_findings


def test_one_table_per_data_set_and_model(make):
    study = make.study(make.sweep)
    directory = make.write(study, make.records(study))
    lines = lambda_summary(directory)
    assert lines[0] == "All 80 runs are done (80 ok)."
    labels = [line for line in lines if "·" in line]
    assert len(labels) == 4
    assert all("activation" in label for label in labels)
    assert sum(line.startswith("  lambda") for line in lines) == 4
    assert len(lines) == 1 + 4 * (1 + 1 + 1 + 5)


def test_numbers_are_those_of_the_report(make):
    study = make.study()
    records = make.records(study)
    lines = lambda_summary(make.write(study, records))
    (table,) = compute_findings(study, records)["lambda_tables"]
    assert lines[2] == table["label"]
    zero, other = (line.split() for line in lines[4:6])
    assert zero[0] == "0"
    assert zero[2] == "—"
    assert other[0] == "1e-3"
    row = table["rows"][1]
    energy, share = (float(cell.replace(",", "")) for cell in (zero[1], other[2]))
    assert energy == pytest.approx(table["rows"][0]["energy"]["estimate"], rel=1e-3)
    assert share == pytest.approx(row["energy_percent"]["estimate"], rel=1e-2)
    gauge_fixed, left = (float(cell.replace(",", "")) for cell in (other[4], other[5]))
    assert gauge_fixed == pytest.approx(row["energy_gauge_fixed"]["estimate"], rel=1e-3)
    assert left == pytest.approx(row["gauge_fixed_percent"]["estimate"], rel=1e-2)
    accuracy = re.search(r"(\d+\.\d+) %\s+(\S+) pp", lines[5])
    assert accuracy is not None
    found = float(accuracy[1]), float(accuracy[2].replace(MINUS, "-"))
    assert found == pytest.approx(
        (100 * row["test_accuracy"]["estimate"], row["accuracy_change_pp"]["estimate"]), abs=0.006
    )


def test_the_chosen_lambda_is_marked_once_per_table(make):
    study = make.study(make.sweep)
    directory = make.write(study, make.records(study))
    marked = [line.split()[0] for line in lambda_summary(directory) if line.endswith(CHOSEN)]
    tables = compute_findings(study, make.records(study))["lambda_tables"]
    chosen = [table["choice"]["lam"] for table in tables]
    assert [float(lam) for lam in marked] == [lam for lam in chosen if lam is not None]
    assert marked


def test_without_records(make):
    study = make.study()
    lines = lambda_summary(make.write(study, []))
    assert lines[0] == "No runs yet: 0 of 8 are done."
    assert lines[4].split() == ["0", *["—"] * 6]


def test_runs_that_are_not_ok_are_counted(make):
    study = make.study()
    records = make.records(study)
    records[0] = make.ended(records[0], "collapsed")
    records[1] = make.ended(records[1], "failed", "no room")
    first = lambda_summary(make.write(study, records))[0]
    assert "1 collapsed" in first
    assert "1 failed" in first


def test_no_study(tmp_path):
    with pytest.raises(StudyDirectoryError):
        lambda_summary(tmp_path)


def test_columns_are_aligned():
    rows = [("a", "bb", "last"), ("aaa", "b", ""), ("", "", "a long last cell")]
    assert aligned(rows) == ["    a  bb  last", "  aaa   b", f"{'':11}a long last cell"]


def test_old_records_are_summed_up_as_not_recorded(make):
    study = make.study()
    lines = lambda_summary(make.write(study, make.records(study, make.old)))
    assert all("not recorded" in line for line in lines[4:6])


def test_a_budget_is_summed_up_with_the_lambda_it_found(make):
    study = make.study(make.budgeted)
    records = make.records(study)
    line = lambda_summary(make.write(study, records))[-1]
    found = compute_findings(study, records)["lambda_tables"][0]["rows"][2]["multiplier"]
    assert line.split()[0] == "budget"
    assert line.endswith(f"<- lambda {write.lam_found(found['estimate'])} found")
