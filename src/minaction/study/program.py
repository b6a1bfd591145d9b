"""A program the driver starts and talks to over pipes, in JSON lines. Imports no torch.

Nothing is pickled, a killed program is noticed by its closed pipe, and the driver stays small.
POSIX only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minaction.study.worker import PROGRAM, Setup

LAST_WORDS = 2000  # bytes of a dead program's log that are looked at
CHUNK = 1 << 20
ENDING_SECONDS = 10.0

Message = dict[str, Any]


class Program:
    """A program that serves what its setup names, and the pipes to it.

    Args:
        setup: What it is told at its start.
        log: File for what it and its libraries print.

    Attributes:
        answers: The pipe its answers come from.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, setup: Setup, log: Path) -> None:
        self._log = log
        self._buffer = b""
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                # -P: a user's folder may hold files named like modules
                [sys.executable, "-P", PROGRAM, json.dumps(asdict(setup))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | setup.environment(),
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._tasks = self._process.stdin
        self.answers = self._process.stdout

    def send(self, message: Message) -> None:
        """Tell it something; if it is dead, that is noticed when its answer is awaited."""
        with contextlib.suppress(BrokenPipeError):
            self._tasks.write(json.dumps(message).encode() + b"\n")
            self._tasks.flush()

    def receive(self) -> list[Message] | None:
        """Return the messages that have arrived whole, or None if it is dead."""
        chunk = os.read(self.answers.fileno(), CHUNK)
        if not chunk:
            return None
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def cause_of_death(self) -> str:
        """Say how it ended, in words that go on from 'the worker'.

        Its pipe closes a moment before it ends; one that closed it and lives on is killed.
        """
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code < 0:
            hint = "; if memory ran out, use fewer workers" if code == -signal.SIGKILL else ""
            return f"was killed by {_signal_name(-code)}{hint}"
        try:
            words = self._log.read_bytes()[-LAST_WORDS:].decode(errors="replace").split("\n")
        except OSError:
            words = []
        said = [line.strip() for line in words if line.strip()]
        return f"ended with code {code}: {said[-1] if said else 'no message'}"

    def end(self, message: Message) -> None:
        """Tell it to end and wait for that, but not for long."""
        self.send(message)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_SECONDS)
        self.kill()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once and close the pipes."""
        self._process.kill()
        self._process.wait()
        self.answers.close()
        with contextlib.suppress(BrokenPipeError):
            self._tasks.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
