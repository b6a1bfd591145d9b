"""Progress of a study: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from minaction.study.driver import Listener
from minaction.study.journal import Record, RunStatus
from minaction.study.toml_text import one_line

LINE_EVERY_SECONDS = 10.0  # at most one plain line in this time
MEASURED_SECONDS = 2.0  # a rate over less says nothing


@contextlib.contextmanager
def progress_listener() -> Iterator[Listener]:
    """Give the listener that fits where standard error goes."""
    console = Console(stderr=True)
    if not (sys.stderr.isatty() and console.is_interactive):  # a dumb terminal shows no bar
        yield PlainListener()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield BarListener(bar)


class Pace:
    """Rate and time left, from the runs finished after the first: that one pays for the start."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self._first: tuple[int, float] | None = None

    def start(self, total: int, done: int) -> None:
        """Begin, maybe anew, with `done` of `total` runs finished."""
        self.total, self.done, self._first = total, done, None

    def advance(self) -> None:
        """Count one more run."""
        self.done += 1
        self._first = self._first or (self.done, time.monotonic())

    @property
    def over(self) -> bool:
        """Whether no run is left."""
        return self.done >= self.total

    def __str__(self) -> str:
        if self._first is None:
            return ""
        ran, seconds = self.done - self._first[0], time.monotonic() - self._first[1]
        if not ran or seconds < MEASURED_SECONDS:
            return ""
        left = "" if self.over else f", {duration(seconds / ran * (self.total - self.done))} left"
        return f"{3600 * ran / seconds:,.0f} runs/h{left}"


class PlainListener:
    """Writes a line now and then."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._said = -math.inf

    def started(self, total: int, done: int) -> None:
        """Say how much is left."""
        self._pace.start(total, done)
        self.note(f"{total} runs, {done} of them done before")

    def note(self, text: str) -> None:
        """Write a line, in one piece: a thread may have one to write at the same time."""
        print(f"{text}\n", end="", file=sys.stderr, flush=True)

    def finished(self, record: Record) -> None:
        """Count a run; complain about one that is not ok."""
        self._pace.advance()
        if record.status is not RunStatus.OK:
            self.note(complaint(record))
        now = time.monotonic()
        if self._pace.over or now - self._said >= LINE_EVERY_SECONDS:
            self._said = now
            self.note(f"{self._pace.done}/{self._pace.total} runs  {self._pace}".rstrip())


class BarListener:
    """Moves a bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._pace = Pace()
        self._task = bar.add_task("runs", total=None, pace="")

    def started(self, total: int, done: int) -> None:
        """Show what was done before."""
        self._pace.start(total, done)
        self._bar.update(self._task, total=total, completed=done)

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finished(self, record: Record) -> None:
        """Move on by one run."""
        self._pace.advance()
        if record.status is not RunStatus.OK:
            self.note(complaint(record))
        self._bar.update(self._task, completed=self._pace.done, pace=str(self._pace))


def complaint(record: Record) -> str:
    """Return one line about a run that did not end well."""
    config = record.config
    lam = config["lam"]  # a number, or "budget"
    lam = lam if isinstance(lam, str) else f"{lam:g}"
    what = f"{config['dataset']} {config['model']} lam={lam} seed={config['seed']}"
    return f"{record.status}: {what}" + (f": {one_line(record.error)}" if record.error else "")


def duration(seconds: float) -> str:
    """Return a time as people say it, e.g. `1h05m`, `2m03s`, `7s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
