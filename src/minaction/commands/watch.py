"""`minaction study status --watch`: a study's progress, live, from another terminal."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import typer

from minaction.progress import duration
from minaction.study.status import StudyStatus, StudyWatch

SHARE = 0.1
"""Largest part of the time that looking may take; a long journal is looked at less often."""
_BACK = "\r\x1b[K"  # to the line's start, and clear it


def watch_study(directory: Path, every: float, as_json: bool) -> None:
    """Show how far a study is until its runs are done or its driver has ended; only reads.

    One line that changes on a terminal, elsewhere or as JSON a line for each change.

    Args:
        directory: The study's directory.
        every: Seconds between two looks.
        as_json: Whether a machine reads it.
    """
    watch = StudyWatch(directory)
    overwrite = sys.stdout.isatty() and not as_json
    shown = None
    try:
        while True:
            started = time.monotonic()
            found = watch.look()
            if overwrite:
                width = shutil.get_terminal_size().columns - 1  # the line must stay one
                typer.echo(_BACK + progress_line(found)[:width], nl=False)
            elif shown is None or _changed(shown, found):
                typer.echo(json.dumps(found.to_dict()) if as_json else progress_line(found))
            if found.done >= found.total or (shown and shown.running and not found.running):
                return
            shown = found
            time.sleep(max(every, (time.monotonic() - started) / SHARE))
    finally:
        if overwrite:
            typer.echo()


def progress_line(status: StudyStatus) -> str:
    """Return how far a study is in one line."""
    parts = [f"{status.name}: {status.done} of {status.total} runs done"]
    parts += [f"{n} {name}" for name, n in status.by_status.items() if name != "ok"]
    if status.running:
        parts.append(f"{status.running} running")
    elif status.done < status.total:
        parts.append("no driver is at work")
    if status.runs_per_hour is not None and status.seconds_left is not None and status.running:
        parts.append(f"{status.runs_per_hour:,.0f} runs/h")
        parts.append(f"{duration(status.seconds_left)} left")
    return ", ".join(parts)


def _changed(before: StudyStatus, now: StudyStatus) -> bool:
    return (before.by_status, before.running) != (now.by_status, now.running)
