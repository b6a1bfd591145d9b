"""Runs told live, to a tracker that fails when it is told to."""

from __future__ import annotations

import threading

import pytest
from recorded_study import STUDY, record, study_in

from minaction.errors import MinActionError, StoppedError
from minaction.integrations import tracking
from minaction.integrations.tracking import LiveTracking, TrackedRun, send_study
from minaction.study.journal import Journal
from minaction.study.record import Record, RunStatus


class Memory:
    """A tracker that remembers, and fails as long as `down` is set."""

    name = "Memory"

    def __init__(self, *, down=False):
        self.down, self.runs, self.files, self.calls = down, {}, [], 0
        self.threads = set()

    def connect(self):
        self._answer()

    def log(self, record):
        self._answer()
        self.runs[record.run_id] = record.status

    def attach(self, path):
        self._answer()
        self.files.append(path.name)

    def _answer(self):
        self.calls += 1
        self.threads.add(threading.current_thread())
        if self.down:
            raise MinActionError("it is\naway")


class Notebook:
    """A listener that writes everything down."""

    def __init__(self):
        self.notes, self.finished_runs, self.starts = [], [], []

    def started(self, total, done):
        self.starts.append((total, done))

    def note(self, text):
        self.notes.append(text)

    def finished(self, record):
        self.finished_runs.append(record.run_id)


def live(tracker, directory, before=(), after=(), halfway=lambda: None):
    """Make two halves of a study; something happens halfway."""
    notebook = Notebook()
    files = [directory / "study.toml", directory / "missing.html"]
    with LiveTracking(tracker, directory, files, remedy="`the remedy`") as live:
        listener = live.listener(notebook)
        listener.started(4, 0)
        with Journal(directory) as journal:
            for number in range(4):
                if number == 2:
                    halfway()
                journal.append(record(number))
                listener.finished(record(number))
    assert len(notebook.finished_runs) == 4
    assert notebook.starts == [(4, 0)]
    return notebook


@pytest.fixture
def directory(tmp_path):
    return study_in(tmp_path / "study")


def test_every_run_is_told_from_another_thread_and_files_at_the_end(directory):
    tracker = Memory()
    notebook = live(tracker, directory)
    assert len(tracker.runs) == 4
    assert tracker.files == ["study.toml"]
    assert notebook.notes == []
    assert threading.current_thread() not in tracker.threads


def test_what_an_earlier_driver_left_is_told_first(directory):
    study_in(directory, record(0), record(1))
    tracker = Memory()
    with LiveTracking(tracker, directory, [], remedy="x") as live:
        live.listener(Notebook()).started(4, 2)
    assert len(tracker.runs) == 2


def test_a_tracker_that_goes_away_is_complained_about_once_and_told_later(directory, monkeypatch):
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    tracker = Memory(down=True)
    notebook = live(tracker, directory, halfway=lambda: setattr(tracker, "down", False))
    assert len(tracker.runs) == 4
    assert tracker.files == ["study.toml"]
    assert len(notebook.notes) <= 1


def test_a_tracker_that_stays_away_stops_nothing(directory):
    tracker = Memory(down=True)
    notebook = live(tracker, directory)
    assert tracker.runs == {}
    (note,) = notebook.notes
    assert note == (
        "warning: Memory: it is away; the study goes on and tells it later, and so does "
        "`the remedy`"
    )
    assert tracker.calls == 2  # once at the start and once at the end: it is left alone between
    tracker.down = False
    assert send_study(tracker, directory, []) == 4
    assert len(tracker.runs) == 4


def test_an_interrupted_study_does_not_wait_for_a_tracker_that_hangs(directory, monkeypatch):
    monkeypatch.setattr(tracking, "STOPPING_SECONDS", 0.1)
    hanging, tracker = threading.Event(), Memory()
    monkeypatch.setattr(tracker, "connect", hanging.wait)

    def stopped():
        with LiveTracking(tracker, directory, [], "x") as live:
            live.listener(Notebook()).started(4, 0)
            raise StoppedError("Ctrl-C")

    with pytest.raises(StoppedError):
        stopped()
    hanging.set()


def test_a_study_that_never_began_tells_nothing(directory):
    tracker = Memory()
    with pytest.raises(MinActionError), LiveTracking(tracker, directory, [], remedy="x"):
        raise MinActionError("no data")
    assert tracker.calls == 0


def test_what_is_told_of_a_run():
    run = TrackedRun.of(record(1))
    assert run.name == "digits mlp activation lam=0.001 seed=0"
    assert run.metrics == {"test_accuracy": 0.9, "train_seconds": 3.0, "parameters": 100.0}
    assert run.curves == [
        (10, 1.5, {"val_loss": 1.0, "train_seconds": 1.5}),
        (20, 3.0, {"val_loss": 0.5, "train_seconds": 3.0}),
    ]
    assert run.digest == TrackedRun.of(record(1)).digest != TrackedRun.of(record(2)).digest
    assert run.parameters["batch_size"] == STUDY.train.batch_size


def test_a_record_that_says_little_can_be_told_too():
    odd = {"large": 10**400, "endless": float("inf"), "yes": True}
    history = [{"epoch": 3, "loss": 1.0}, {"loss": 2.0}]
    bare = Record(run_id="0" * 16, status=RunStatus.OK, config={}, metrics=odd, history=history)
    run = TrackedRun.of(bare)
    assert (run.name, run.started, run.metrics) == ("0" * 16, 0.0, {})
    assert [step for step, _, _ in run.curves] == [3, 2]
