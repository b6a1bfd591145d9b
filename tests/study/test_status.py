from __future__ import annotations

import pytest
from real_study import study_of

from minaction.errors import StudyDirectoryError
from minaction.study import ledger
from minaction.study import status as status_module
from minaction.study.activity import announced
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import JOURNAL_NAME, Journal, Record, RunStatus
from minaction.study.status import StudyWatch, study_status

STUDY = study_of(seeds=3)  # 6 runs


def record(config, status=RunStatus.OK, error=None):
    return Record(run_id=run_id(config), status=status, config={**config}, error=error)


@pytest.fixture
def directory(tmp_path):
    open_study_directory(tmp_path / "study", STUDY)
    return tmp_path / "study"


def test_before_the_first_run(directory):
    status = study_status(directory)
    assert (status.name, status.total, status.done) == ("digits", 6, 0)
    assert status.by_status == status.errors == {}


def test_every_status_is_counted_and_failed_runs_are_not_done(directory):
    first, second, third, fourth, fifth, _ = runs(STUDY)
    with Journal(directory) as journal:
        journal.append(record(first))
        journal.append(record(second, RunStatus.DIVERGED))
        journal.append(record(third, RunStatus.COLLAPSED))
        journal.append(record(fourth, RunStatus.FAILED, "no luck"))
        journal.append(record(fifth, RunStatus.FAILED, "no luck"))
    status = study_status(directory)
    assert status.done == 3
    assert status.by_status == {"ok": 1, "diverged": 1, "collapsed": 1, "failed": 2}
    assert status.errors == {"no luck": 2}
    assert status.to_dict() == {
        "name": "digits",
        "total": 6,
        "done": 3,
        "by_status": status.by_status,
        "errors": status.errors,
        "repeated": {},
        "running": 0,
        "runs_per_hour": None,
        "seconds_left": None,
    }


def test_a_failed_run_that_succeeded_later_is_done(directory):
    config = runs(STUDY)[0]
    with Journal(directory) as journal:
        journal.append(record(config, RunStatus.FAILED, "no luck"))
        journal.append(record(config))
    status = study_status(directory)
    assert (status.done, status.by_status, status.errors) == (1, {"ok": 1}, {})


def add_line(directory, record):
    with (directory / JOURNAL_NAME).open("a") as file:
        file.write(record.to_line() + "\n")


def test_a_run_that_is_finished_twice_is_counted_once_and_named(directory):
    first, second, _, third, *_ = runs(STUDY)
    with Journal(directory) as journal:
        journal.append(record(first))
        journal.append(record(second, RunStatus.FAILED, "no luck"))
        journal.append(record(second))
        journal.append(record(third))
    add_line(directory, record(first))
    add_line(directory, record(third, RunStatus.FAILED, "no luck"))
    add_line(directory, record(first))
    status = study_status(directory)
    assert status.done == 2
    assert status.by_status == {"ok": 2, "failed": 1}
    assert status.repeated == {run_id(first): [1, 5, 7], run_id(third): [4, 6]}


def test_a_directory_without_a_study_is_refused(tmp_path):
    with pytest.raises(StudyDirectoryError, match=r"no study\.toml in it"):
        study_status(tmp_path)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("rotate_bytes", [None, 300])
def test_a_watch_sees_each_run_as_it_comes_and_writes_nothing(directory, rotate_bytes):
    watch, seen = StudyWatch(directory), []
    with Journal(directory, rotate_bytes=rotate_bytes) as journal:
        for config in runs(STUDY):
            before = contents(directory)
            seen.append(watch.look().done)
            assert contents(directory) == before
            journal.append(record(config))
        assert watch.look() == study_status(directory)
    assert seen == list(range(6))


def test_a_watch_looks_at_new_lines_only(directory, monkeypatch):
    parsed, parse = [], ledger.parse_line

    def counted(*arguments):
        parsed.append(arguments)
        return parse(*arguments)

    monkeypatch.setattr(ledger, "parse_line", counted)
    watch = StudyWatch(directory)
    for config in runs(STUDY)[:4]:
        add_line(directory, record(config))
        watch.look()
    assert len(parsed) == 4


def test_a_watch_notices_that_another_journal_has_taken_the_place(directory):
    watch = StudyWatch(directory)
    for config in runs(STUDY)[:4]:
        add_line(directory, record(config))
    assert watch.look().done == 4
    (directory / JOURNAL_NAME).unlink()
    assert watch.look().done == 0
    add_line(directory, record(runs(STUDY)[0]))
    assert watch.look().done == 1


def test_a_torn_line_is_seen_when_it_is_whole(directory):
    watch = StudyWatch(directory)
    line = record(runs(STUDY)[0]).to_line()
    with (directory / JOURNAL_NAME).open("a") as file:
        for part, done in [(line[:40], 0), (line[40:], 1), ("\n", 1)]:
            file.write(part)
            file.flush()
            assert watch.look().done == done


def test_rate_and_time_left_are_the_drivers_since_it_began(directory, monkeypatch):
    for config in runs(STUDY)[:2]:
        add_line(directory, record(config))
    with announced(directory, workers=2, finished_before=1):
        began = status_module.read_activity(directory).began
        monkeypatch.setattr(status_module.time, "time", lambda: began + 36)
        found = study_status(directory)
        assert found.running == 2
        assert found.runs_per_hour == pytest.approx(100)
        assert found.seconds_left == pytest.approx(4 * 36)
        for config in runs(STUDY)[2:5]:
            add_line(directory, record(config))
        assert study_status(directory).running == 1
    found = study_status(directory)
    assert (found.running, found.runs_per_hour, found.seconds_left) == (0, None, None)
