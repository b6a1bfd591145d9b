"""A study's runs in a tracker, live or afterwards: the journal is the truth, a tracker a copy.

Whatever happens to a tracker, no run is lost and no study stops: it is told what it missed later.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from minaction.errors import StoppedError
from minaction.study.driver import Listener
from minaction.study.export import stated_metrics
from minaction.study.journal import last_records
from minaction.study.record import Record
from minaction.study.toml_text import one_line

RETRY_SECONDS = 60.0
"""How long a tracker that failed is left alone."""
STOPPING_SECONDS = 5.0
"""How long a study that was stopped waits for its tracker."""
_NAMING = ("dataset", "model", "energy")


class Tracker(Protocol):
    """A place that is told of a study's runs."""

    @property
    def name(self) -> str:
        """What it is called in a message."""
        ...

    def connect(self) -> None:
        """Find out what is there already; call it again after a failure."""
        ...

    def log(self, record: Record) -> None:
        """Tell of a run; nothing happens where this very record is there already."""
        ...

    def attach(self, path: Path) -> None:
        """Tell of a file that belongs to the study as a whole."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is told of a run.

    Attributes:
        name: For people, e.g. `digits mlp activation lam=0.001 seed=0`.
        digest: Tells this record from any other, also one of the same run.
        started: When the run began, in seconds since 1970; 0 where the record does not say.
        seconds: How long it trained.
        parameters: Its configuration, without what is not set.
        metrics: Final measurements that are finite numbers.
        curves: Step, seconds since the start and measurements, one entry a validation.
    """

    name: str
    digest: str
    started: float
    seconds: float
    parameters: dict[str, Any]
    metrics: dict[str, float]
    curves: list[tuple[int, float, dict[str, float]]]

    @classmethod
    def of(cls, record: Record) -> TrackedRun:
        """Take it from a record."""
        config = record.config
        names = [str(config[key]) for key in _NAMING if config.get(key) is not None]
        names += [f"{key}={_short(config[key])}" for key in ("lam", "seed") if key in config]
        metrics = _finite(stated_metrics(record))
        started = record.provenance.get("started")
        return cls(
            name=" ".join(names) or record.run_id,
            digest=hashlib.sha256(record.to_line().encode()).hexdigest()[:16],
            started=datetime.fromisoformat(started).timestamp() if started else 0.0,
            seconds=metrics.get("train_seconds", 0.0),
            parameters={name: value for name, value in config.items() if value is not None},
            metrics=metrics,
            curves=[_point(entry, number) for number, entry in enumerate(record.history, start=1)],
        )


def _point(entry: dict[str, Any], number: int) -> tuple[int, float, dict[str, float]]:
    values = _finite(entry)
    epoch = values.pop("epoch", number)  # older journals count no steps
    step = int(values.pop("step", epoch))
    return step, values.get("train_seconds", 0.0), values


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finite(values: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # an integer no float can hold
                if math.isfinite(value):
                    found[name] = float(value)
    return found


def send_study(tracker: Tracker, directory: Path, files: Iterable[Path]) -> int:
    """Tell a tracker of every run in a journal, and of the files there are; return the runs.

    Raises:
        JournalError: The journal cannot be read.
        MinActionError: The tracker failed; what it was told stays, and the next call goes on.
    """
    tracker.connect()
    runs = _send_runs(tracker, directory)
    _send_files(tracker, files)
    return runs


def _send_runs(tracker: Tracker, directory: Path) -> int:
    runs = 0
    for runs, record in enumerate(last_records(directory), start=1):  # noqa: B007 (counted)
        tracker.log(record)
    return runs


def _send_files(tracker: Tracker, files: Iterable[Path]) -> None:
    for path in files:
        if path.is_file():
            tracker.attach(path)


class _Signal(Enum):
    CATCH_UP = auto()
    END = auto()


class LiveTracking:
    """Tells a tracker of runs while a study makes them; a context manager.

    A thread of its own does the telling, so that a slow tracker slows no study. One that fails is
    complained about once, left alone for a minute, and then told of all it missed, at the latest
    when the study ends. What it could not be told even then is left to the next run of the study.

    Args:
        tracker: Who is told.
        directory: The study's directory.
        files: Files of the study to attach at the end, those that exist.
        remedy: What a user can do about runs the tracker was not told of.
    """

    def __init__(
        self, tracker: Tracker, directory: Path, files: Sequence[Path], remedy: str
    ) -> None:
        self._tracker, self._directory, self._files = tracker, directory, files
        self._remedy = remedy
        self._queue: queue.SimpleQueue[Record | _Signal] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._note: Callable[[str], None] | None = None
        self._behind, self._retry_at = True, -math.inf
        self._complained = False

    def listener(self, listener: Listener) -> Listener:
        """Return a listener that passes everything on to `listener` and runs to the tracker."""
        return _TrackedListener(self, listener)

    def start(self, note: Callable[[str], None]) -> None:
        """Begin with what is in the journal; complaints go to `note`."""
        self._note = note
        self._queue.put(_Signal.CATCH_UP)
        self._thread.start()

    def add(self, record: Record) -> None:
        """Have the tracker told of one more run, which is in the journal already."""
        self._queue.put(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._note is None:
            return
        self._queue.put(_Signal.END)
        # of runs that failed all is told; somebody who stopped a study wants it to end
        stopped = kind is not None and issubclass(kind, StoppedError | KeyboardInterrupt)
        self._thread.join(STOPPING_SECONDS if stopped else None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not _Signal.END:
            if not self._behind or time.monotonic() >= self._retry_at:
                self._try(item)
        self._try(_Signal.END)

    def _try(self, item: Record | _Signal) -> None:
        try:
            if self._behind:
                self._tracker.connect()
                _send_runs(self._tracker, self._directory)
                self._behind = False
            elif isinstance(item, Record):
                self._tracker.log(item)
            if item is _Signal.END:
                _send_files(self._tracker, self._files)
        except Exception as error:  # whatever a tracker does, the study goes on
            self._behind, self._retry_at = True, time.monotonic() + RETRY_SECONDS
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if self._note is None or self._complained:
            return
        self._complained = True
        said = one_line(" ".join(str(error).split())) or type(error).__name__
        name = self._tracker.name
        said = said if said.startswith(name) else f"{name}: {said}"
        self._note(
            f"warning: {said}; the study goes on and tells it later, and so does {self._remedy}"
        )


class _TrackedListener:
    """Passes on what it is told, and starts and feeds a tracking."""

    def __init__(self, tracking: LiveTracking, listener: Listener) -> None:
        self._tracking, self._listener = tracking, listener
        self.note = listener.note

    def started(self, total: int, done: int) -> None:
        self._listener.started(total, done)
        self._tracking.start(self.note)

    def finished(self, record: Record) -> None:
        self._listener.finished(record)
        self._tracking.add(record)
