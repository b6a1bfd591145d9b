from __future__ import annotations

import subprocess
import sys

import pytest

from minaction.errors import InputError, StudyDirectoryError
from minaction.report.build import write_report


def test_the_page_is_written_into_the_directory(make):
    study = make.study()
    directory = make.write(study, make.records(study))
    path = write_report(directory)
    assert path == directory / "report.html"
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert {entry.name for entry in directory.iterdir()} >= {"study.toml", "journal.jsonl"}
    assert not [entry for entry in directory.iterdir() if entry.name.endswith(".partial")]


def test_another_output(make, tmp_path):
    study = make.study()
    directory = make.write(study, make.records(study))
    path = write_report(str(directory), output=str(tmp_path / "page.html"))
    assert path.read_bytes() == write_report(directory).read_bytes()


def test_the_order_of_the_journal_and_retries_do_not_show(make):
    study = make.study()
    records = make.records(study)
    failed_first = make.ended(records[3], "failed", "out of memory")
    once = make.write(study, records, "once")
    again = make.write(study, [failed_first, *records[::-1]], "again")
    assert write_report(once).read_bytes() == write_report(again).read_bytes()


def test_unusable_places(make, tmp_path):
    with pytest.raises(StudyDirectoryError, match="no such directory"):
        write_report(tmp_path / "none")
    study = make.study()
    directory = make.write(study, [])
    with pytest.raises(InputError, match="no such folder; make it first"):
        write_report(directory, output=tmp_path / "none" / "page.html")
    with pytest.raises(InputError, match="is a folder"):
        write_report(directory, output=tmp_path)


def test_a_finished_study_is_analysed_without_torch(make):
    study = make.study()
    directory = make.write(study, make.records(study))
    script = (
        "import sys\n"
        "from minaction.report.build import write_report\n"
        "from minaction.report.verify import verify_report\n"
        f"write_report({str(directory)!r})\n"
        f"assert not verify_report({str(directory)!r}).differences\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
