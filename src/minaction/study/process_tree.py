"""A process with everything it has started; needs the extra `ray`."""

from __future__ import annotations

import contextlib

import psutil


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants, also those that it is about to start.

    Whoever is stopped starts no more, so all are stopped first, parents before their children.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in _stopped(psutil.Process(pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _stopped(process: psutil.Process) -> list[psutil.Process]:
    found = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        for child in process.children():
            found += _stopped(child)
    return found
