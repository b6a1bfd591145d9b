from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from real_study import study_of

from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.export import stated_metrics, write_csv, write_json
from minaction.study.journal import Journal, Record, RunStatus, latest_records

STUDY = study_of(seeds=2)


@pytest.fixture
def directory(tmp_path):
    """Four runs: ok, diverged without all metrics, failed with an awkward error, tried twice."""
    open_study_directory(tmp_path, STUDY)
    first, second, third, fourth = runs(STUDY)
    metrics = {"test_accuracy": 0.1 + 0.2, "parameters": 4990, "energy_unit": math.inf}

    def record(config, status, **fields):
        return Record(run_id=run_id(config), status=status, config={**config}, **fields)

    with Journal(tmp_path) as journal:
        journal.append(record(first, RunStatus.OK, metrics=metrics, history=[{"epoch": 1}]))
        journal.append(record(second, RunStatus.DIVERGED, metrics={"parameters": 4990}))
        journal.append(record(third, RunStatus.FAILED, error='a "comma", and\na line, é'))
        journal.append(record(fourth, RunStatus.FAILED, error="no luck"))
        journal.append(record(fourth, RunStatus.OK, metrics=metrics))
    return tmp_path


def as_csv(directory):
    text = io.StringIO()
    write_csv(directory, text)
    return text.getvalue()


def as_json(directory):
    text = io.StringIO()
    write_json(directory, text)
    return text.getvalue()


def rows(directory):
    return {row["run_id"]: row for row in csv.DictReader(io.StringIO(as_csv(directory)))}


def test_csv_has_one_row_a_run(directory):
    found = rows(directory)
    assert found.keys() == {run_id(config) for config in runs(STUDY)}
    assert {row["status"] for row in found.values()} == {"ok", "diverged", "failed"}


def test_csv_keeps_every_digit_and_leaves_what_is_missing_empty(directory):
    first, second, third, fourth = (rows(directory)[run_id(config)] for config in runs(STUDY))
    assert float(first["test_accuracy"]) == 0.1 + 0.2
    assert first["energy_unit"] == ""
    assert second["test_accuracy"] == ""
    assert third["error"] == 'a "comma", and\na line, é'
    assert fourth["error"] == ""


def test_csv_tells_a_metric_from_a_setting_of_the_same_name(directory):
    row = rows(directory)[run_id(runs(STUDY)[0])]
    assert row["parameters"] == "5000"
    assert row["measured_parameters"] == "4990"


def test_json_has_the_whole_records(directory):
    found = json.loads(as_json(directory), parse_constant=lambda token: pytest.fail(token))
    records = latest_records(directory)
    stated = [replace(r, metrics=None if r.metrics is None else stated_metrics(r)) for r in records]
    assert [Record.from_line(json.dumps(record)) for record in found] == stated
    assert found[0]["status"] in {"ok", "diverged", "failed"}
    for record, original in zip(found, records, strict=True):
        assert (record["metrics"] or {}).items() >= (original.metrics or {}).items()


def test_the_gauge_fixed_energy_or_why_it_is_missing_stands_beside_the_others(tmp_path):
    open_study_directory(tmp_path, STUDY)
    measured = {"energy_activation": 9.0, "energy_gauge_fixed": 4.0}
    null = {"energy_gauge_fixed": None, "energy_gauge_fixed_reason": "net.3:\n softmax, so"}
    metrics = [measured, {"energy_activation": 8.0}, measured | null, {"parameters": 4990}]
    statuses = [RunStatus.OK, RunStatus.OK, RunStatus.OK, RunStatus.DIVERGED]
    ids = [run_id(config) for config in runs(STUDY)]
    with Journal(tmp_path) as journal:
        for config, values, status in zip(runs(STUDY), metrics, statuses, strict=True):
            journal.append(
                Record(run_id=run_id(config), status=status, config={**config}, metrics=values)
            )
    expected = [
        ("4.0", ""),
        ("", "not recorded"),
        ("", "net.3: softmax, so"),
        ("", "the run diverged"),
    ]
    names = "energy_gauge_fixed", "energy_gauge_fixed_reason"
    found = rows(tmp_path)
    assert [tuple(found[name][column] for column in names) for name in ids] == expected
    header = as_csv(tmp_path).splitlines()[0].split(",")
    place = header.index("energy_activation")
    assert header[place : place + 3] == ["energy_activation", *names]
    by_id = {record["run_id"]: record["metrics"] for record in json.loads(as_json(tmp_path))}
    for name, (value, reason) in zip(ids, expected, strict=True):
        assert by_id[name]["energy_gauge_fixed"] == (float(value) if value else None)
        assert by_id[name]["energy_gauge_fixed_reason"] == (reason or None)


def test_an_empty_journal_exports_to_a_header_and_an_empty_list(tmp_path):
    open_study_directory(tmp_path, STUDY)
    assert as_csv(tmp_path) == "run_id,status,error\n"
    assert json.loads(as_json(tmp_path)) == []
