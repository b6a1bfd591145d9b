"""Who is running a study now: a note its driver leaves for whoever watches."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from minaction.errors import StorageError
from minaction.study.directory import write_text_atomically

ACTIVITY_NAME = "driver.json"
_TYPES = {"host": str, "pid": int, "workers": int, "began": float, "finished_before": int}


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A driver at work.

    Attributes:
        host: The machine it runs on.
        pid: Its process there.
        workers: How many runs it does at once.
        began: When it gave out the first run, in seconds since 1970.
        finished_before: Runs that were finished then.
    """

    host: str
    pid: int
    workers: int
    began: float
    finished_before: int


@contextlib.contextmanager
def announced(directory: Path, workers: int, finished_before: int) -> Iterator[None]:
    """Say that this process runs a study, for as long as it does; where there is no room, don't."""
    path = directory / ACTIVITY_NAME
    activity = Activity(
        host=platform.node(),
        pid=os.getpid(),
        workers=workers,
        began=time.time(),
        finished_before=finished_before,
    )
    with contextlib.suppress(StorageError):
        write_text_atomically(path, json.dumps(asdict(activity)) + "\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read_activity(directory: str | Path) -> Activity | None:
    """Return what a driver says of itself, None where none runs.

    A driver that was killed leaves its note: it counts only if there is such a process. Of another
    machine's processes nothing is known here, so its driver is taken at its word.
    """
    try:
        activity = Activity(**json.loads((Path(directory) / ACTIVITY_NAME).read_text("utf-8")))
        if any(type(value) is not _TYPES[name] for name, value in asdict(activity).items()):
            return None
        alive = activity.host != platform.node() or _is_alive(activity.pid)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return activity if alive else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
