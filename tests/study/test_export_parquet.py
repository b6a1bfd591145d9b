from __future__ import annotations

import csv
import io
import sys

import pytest
from real_study import study_of

from minaction.errors import InputError, StorageError
from minaction.study import export_parquet
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.export import write_csv
from minaction.study.export_parquet import write_parquet
from minaction.study.journal import Journal
from minaction.study.record import Record, RunStatus

parquet = pytest.importorskip("pyarrow.parquet")

STUDY = study_of(seeds=3)


def study_with(directory, metrics, rotate_bytes=None):
    """A study whose runs have these metrics; None for a failed run."""
    open_study_directory(directory, STUDY)
    with Journal(directory, rotate_bytes=rotate_bytes) as journal:
        for config, values in zip(runs(STUDY), metrics, strict=False):
            status = RunStatus.FAILED if values is None else RunStatus.OK
            journal.append(
                Record(
                    run_id=run_id(config),
                    status=status,
                    config={**config},
                    metrics=values,
                    error="no luck" if values is None else None,
                )
            )
    return directory


def exported(directory):
    path = directory / "runs.parquet"
    write_parquet(directory, path)
    return parquet.read_table(path)


def test_parquet_has_the_rows_and_columns_of_csv(tmp_path, monkeypatch):
    monkeypatch.setattr(export_parquet, "ROWS_PER_GROUP", 2)
    metrics = [{"test_accuracy": 0.1 + 0.2, "steps": n, "parameters": 1} for n in range(4)]
    directory = study_with(tmp_path, [*metrics, None, {"steps": 9}], rotate_bytes=500)
    table = exported(directory)
    text = io.StringIO()
    write_csv(directory, text)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert table.column_names == list(rows[0])
    found = table.to_pylist()
    assert [row["run_id"] for row in found] == [row["run_id"] for row in rows]
    for row, expected in zip(found, rows, strict=True):
        spelled = {key: "" if value is None else str(value) for key, value in row.items()}
        assert spelled == expected
    types = {field.name: str(field.type) for field in table.schema}
    assert types["test_accuracy"] == types["lam"] == "double"
    assert types["steps"] == types["seed"] == types["measured_parameters"] == "int64"
    assert types["run_id"] == types["error"] == "string"
    assert parquet.ParquetFile(directory / "runs.parquet").num_row_groups == 3


def test_values_that_fit_no_one_type_are_texts_and_none_is_lost(tmp_path):
    metrics = [
        {"mixed": "budget", "large": 2**70, "list": [1, None], "whole": 1, "flag": True},
        {"mixed": 1e-4, "large": 1, "list": [], "whole": 1.5, "flag": False},
        {"mixed": None, "large": None, "list": None, "whole": None, "flag": None, "never": None},
    ]
    table = exported(study_with(tmp_path, metrics))
    found = {row["run_id"]: row for row in table.to_pylist()}
    one, two, three = (found[run_id(config)] for config in runs(STUDY)[:3])
    assert (one["mixed"], two["mixed"], three["mixed"]) == ("budget", "0.0001", None)
    assert (one["large"], two["large"]) == (str(2**70), "1")
    assert (one["list"], two["list"]) == ("[1, null]", "[]")
    assert (one["whole"], two["whole"]) == (1.0, 1.5)
    assert (one["flag"], two["flag"]) == (True, False)
    assert three["never"] is None


def test_an_empty_journal_has_columns_and_no_rows(tmp_path):
    table = exported(study_with(tmp_path, []))
    assert table.column_names == ["run_id", "status", "error"]
    assert table.num_rows == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    directory = study_with(tmp_path, [{"steps": 1}])
    exported(directory)
    before = (directory / "runs.parquet").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_parquet, "_fit", full)
    with pytest.raises(StorageError, match="No space left on device"):
        exported(directory)
    assert (directory / "runs.parquet").read_bytes() == before
    assert not [p for p in directory.iterdir() if p.name.endswith(".partial")]


def test_without_pyarrow_the_line_that_installs_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'minaction\[parquet\]'"):
        write_parquet(tmp_path, tmp_path / "runs.parquet")
