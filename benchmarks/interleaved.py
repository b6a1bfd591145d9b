"""Runs several programs in one go, in turns: each has the whole machine for a slice of time.

All but one are stopped (SIGSTOP) at any moment, so that slow and fast phases of a shared machine
fall on all of them alike; a program's time is the sum of its own slices.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field


@dataclass
class Contestant:
    """A program and the time it has used."""

    name: str
    command: list[str]
    seconds: float = 0.0
    process: subprocess.Popen | None = None
    returncode: int | None = field(default=None)

    def turn(self, slice_seconds):
        """Let the program run for one slice or until it ends."""
        started = time.perf_counter()
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, start_new_session=True, stdout=subprocess.DEVNULL, env=own_threads()
            )
        else:
            os.killpg(self.process.pid, signal.SIGCONT)
        try:
            self.returncode = self.process.wait(slice_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGSTOP)
        self.seconds += time.perf_counter() - started


def own_threads():
    """The environment, less what a shell may say of threads: each program uses its defaults."""
    settings = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {key: value for key, value in os.environ.items() if key not in settings}


def race(contestants, slice_seconds):
    """Run all programs to their end, in turns; their `seconds` then hold their times."""
    try:
        while any(c.returncode is None for c in contestants):
            for contestant in contestants:
                if contestant.returncode is None:
                    contestant.turn(slice_seconds)
                if contestant.returncode:
                    raise SystemExit(f"{contestant.name} ended with {contestant.returncode}")
    finally:
        for contestant in contestants:
            if contestant.process and contestant.returncode is None:
                os.killpg(contestant.process.pid, signal.SIGKILL)
