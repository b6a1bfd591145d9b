from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from minaction import progress
from minaction.progress import LINE_EVERY_SECONDS, Pace, PlainListener, complaint, progress_listener
from minaction.study.journal import Record, RunStatus

COLOUR = re.compile(r"\x1b\[[0-9;]*[34]\d")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

ON_A_TERMINAL = """
from minaction.progress import progress_listener
from minaction.study.journal import Record, RunStatus
config = {"dataset": "digits", "model": "mlp", "lam": 0.1, "seed": 3}
failed = Record(run_id="0" * 16, status=RunStatus.FAILED, config=config, error="[bold]why[/bold]")
with progress_listener() as listener:
    listener.started(4, 1)
    listener.note("a note with [brackets]")
    for _ in range(3):
        listener.finished(failed)
"""


def record(status=RunStatus.OK, error=None, lam=1e-4):
    config = {"dataset": "digits", "model": "mlp", "lam": lam, "seed": 3}
    return Record(run_id="0" * 16, status=status, config=config, error=error)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def on_a_terminal(**variables):
    """What `ON_A_TERMINAL` writes to a terminal."""
    ours, theirs = pty.openpty()
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    environment = plain | {"TERM": "xterm-256color", "COLUMNS": "100"} | variables
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL], stderr=theirs, env=environment
    )
    os.close(theirs)
    written = b""
    while chunk := read(ours):
        written += chunk
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end was closed
        return b""


def test_pace_counts_from_the_first_run(clock):
    pace = Pace()
    pace.start(total=10, done=4)
    clock.now += 500  # start-up and calibration
    assert str(pace) == ""
    pace.advance()
    assert str(pace) == ""
    clock.now += 36
    pace.advance()
    assert str(pace) == "100 runs/h, 2m24s left"
    for _ in range(4):
        pace.advance()
    assert pace.over
    assert str(pace) == "500 runs/h"


def test_pace_begins_anew_with_other_runs(clock):
    pace = Pace()
    pace.start(total=9, done=0)
    for _ in range(9):
        pace.advance()
        clock.now += 5
    pace.start(total=3, done=1)
    assert str(pace) == ""
    pace.advance()
    clock.now += 36
    pace.advance()
    assert str(pace) == "100 runs/h"


def test_a_moment_gives_no_rate(clock):
    pace = Pace()
    pace.start(total=4, done=0)
    for _ in range(3):
        pace.advance()
        clock.now += 0.05
    assert str(pace) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(2, "18s"), (20, "3m00s"), (1000, "2h30m"), (100_000, "250h00m")]
)
def test_time_left(clock, seconds, shown):
    pace = Pace()
    pace.start(total=11, done=0)
    pace.advance()
    clock.now += seconds
    pace.advance()
    assert str(pace).endswith(f", {shown} left")


def test_plain_lines_are_few(clock, capsys):
    listener = PlainListener()
    listener.started(100, 10)
    for _ in range(90):
        clock.now += LINE_EVERY_SECONDS / 30
        listener.finished(record())
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "100 runs, 10 of them done before"
    assert lines[1] == "11/100 runs"
    assert re.fullmatch(r"41/100 runs  10,800 runs/h, \d+s left", lines[2])
    assert lines[-1] == "100/100 runs  10,800 runs/h"
    assert len(lines) == 5


def test_a_run_that_is_not_ok_has_its_line(clock, capsys):
    listener = PlainListener()
    listener.started(3, 0)
    for status in (RunStatus.OK, RunStatus.COLLAPSED, RunStatus.FAILED):
        listener.finished(record(status, "no\nroom" if status is RunStatus.FAILED else None))
    assert capsys.readouterr().err.splitlines() == [
        "3 runs, 0 of them done before",
        "1/3 runs",
        "collapsed: digits mlp lam=0.0001 seed=3",
        r"failed: digits mlp lam=0.0001 seed=3: no\u000aroom",
        "3/3 runs",
    ]


def test_complaint_is_one_line_whatever_the_error():
    said = complaint(record(RunStatus.FAILED, "a\nb\x1b[2Jc"))
    assert said.isprintable()


def test_a_budget_run_that_did_not_end_well_is_complained_about_too():
    said = complaint(record(RunStatus.COLLAPSED, lam="budget"))
    assert said == "collapsed: digits mlp lam=budget seed=3"


def test_plain_without_a_terminal(capsys):
    with progress_listener() as listener:
        assert isinstance(listener, PlainListener)


def test_a_bar_on_a_terminal():
    written = on_a_terminal()
    assert "━" in written
    assert COLOUR.search(written)
    text = CONTROL.sub("", written)
    assert "4/4" in text
    assert "a note with [brackets]" in text
    assert "failed: digits mlp lam=0.1 seed=3: [bold]why[/bold]" in text


def test_no_color_is_respected():
    written = on_a_terminal(NO_COLOR="1")
    assert "━" in written
    assert not COLOUR.search(written)


def test_a_dumb_terminal_gets_plain_lines():
    written = on_a_terminal(TERM="dumb")
    assert "\x1b" not in written
    assert written.splitlines()[0] == "4 runs, 1 of them done before"
    assert "4/4 runs" in written


def test_forced_colours_make_no_bar_in_a_file():
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL],
        capture_output=True,
        text=True,
        env=os.environ | {"FORCE_COLOR": "1"},
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert "4/4 runs" in done.stderr
