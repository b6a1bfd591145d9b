from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from minaction.study.activity import ACTIVITY_NAME, announced, read_activity


def test_a_driver_is_known_while_it_is_at_work(tmp_path):
    assert read_activity(tmp_path) is None
    with announced(tmp_path, workers=3, finished_before=7):
        found = read_activity(tmp_path)
        assert found is not None
        assert (found.pid, found.workers, found.finished_before) == (os.getpid(), 3, 7)
    assert read_activity(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def change(directory, **fields):
    path = directory / ACTIVITY_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_driver_that_was_killed_does_not_count_though_its_note_is_there(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    with announced(tmp_path, workers=1, finished_before=0):
        change(tmp_path, pid=dead.pid)
        assert read_activity(tmp_path) is None
        change(tmp_path, host="another")  # of its processes nothing is known here
        assert read_activity(tmp_path) is not None


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"pid": 1}', "[" * 10_000])
def test_a_damaged_note_is_none(tmp_path, content):
    (tmp_path / ACTIVITY_NAME).write_text(content)
    assert read_activity(tmp_path) is None


@pytest.mark.parametrize(
    "wrong", [{"workers": "a"}, {"began": "now"}, {"finished_before": None}, {"pid": True}]
)
def test_a_note_of_other_types_is_none(tmp_path, wrong):
    with announced(tmp_path, workers=1, finished_before=0):
        change(tmp_path, host="another", **wrong)
        assert read_activity(tmp_path) is None


def test_a_directory_that_cannot_be_written_does_not_stop_the_driver(tmp_path):
    with announced(tmp_path / "gone", workers=1, finished_before=0):
        assert read_activity(tmp_path / "gone") is None
