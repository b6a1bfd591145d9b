"""The program an executor starts: reads JSON lines, answers with JSON lines.

Started as `python -P worker.py SETUP`. It ends when its standard input does, so it never outlives
the driver; that watch begins before torch, or ray, is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

PROGRAM = str(Path(__file__).resolve())
PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
CLEANINGS = 50  # attempts of an orphan to remove the shared folder

Send = Callable[[dict[str, Any]], None]
"""Answers the driver."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every task of a worker shares.

    Attributes:
        data_dir: Where data sets are looked for first, or None.
        shared: Folder through which workers share data sets.
        threads: Torch threads of a worker.
        serves: The module whose `serve` is run.
    """

    data_dir: str | None
    shared: str
    threads: int = 1
    serves: str = "minaction.study.tasks"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that must be set before torch is imported."""
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            **dict.fromkeys(threads, str(self.threads)),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            # activations come and go with every step; given back to the system each time, their
            # page faults cost more than what computes them
            "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
            "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        }


def main() -> None:
    """Serve until standard input ends."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the driver's to handle
        signal.signal(number, signal.SIG_IGN)
    settings = json.loads(sys.argv[1])
    tasks, answers = _private_pipes()
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(tasks, inbox, settings["shared"]), daemon=True)
    reader.start()

    if PACKAGE_ROOT not in sys.path:  # the driver may have found the package in its own way
        sys.path.insert(0, PACKAGE_ROOT)

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        importlib.import_module(settings["serves"]).serve(settings, inbox, send)
    except BrokenPipeError:
        reader.join()


def _private_pipes() -> tuple[TextIO, TextIO]:
    """Keep the pipes to the driver to ourselves.

    What libraries print goes to standard error, and programs they start read nothing.
    """
    tasks, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(tasks, encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8")


def _read(tasks: TextIO, inbox: queue.SimpleQueue[str], shared: str) -> None:
    """Pass tasks on; when they end, leave at once, even in the middle of a run."""
    for line in tasks:
        inbox.put(line)
    for _ in range(CLEANINGS):
        shutil.rmtree(shared, ignore_errors=True)
        if not os.path.lexists(shared):
            break
        time.sleep(0.01)  # other workers may still write
    os._exit(0)


if __name__ == "__main__":
    main()
