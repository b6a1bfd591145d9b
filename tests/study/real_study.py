"""Real studies on scikit-learn's digits, run by real processes."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch

from minaction.data.resident import resident
from minaction.study.directory import write_weights
from minaction.study.journal import JOURNAL_NAME, latest_records
from minaction.study.read_study import parse_study
from minaction.study.tasks import Tasks
from minaction.study.worker import PROGRAM

STUDY = """
[study]
name = "digits"
seeds = {seeds}
[factors]
dataset = "digits"
model = {model}
lam = [0, 1e-3]
[train]
epochs = {epochs}
batch_size = 32
{train}
[execution]
precision = "{precision}"
compile = {compile}
channels_last = {channels_last}
"""
DEFAULTS = {
    "seeds": 1,
    "model": '"mlp"',
    "epochs": 1,
    "train": "parameters = 5_000",
    "precision": "float32",
    "compile": "false",
    "channels_last": "false",
}
PLAIN = {"precision": "float32", "compile": False, "channels_last": False}


def study_of(**settings):
    """A study of digits; keyword arguments replace what `DEFAULTS` says."""
    return parse_study(STUDY.format(**DEFAULTS | settings), source="study.toml")


@contextlib.contextmanager
def tasks_in(shared):
    """What a worker does, in this process; its settings of torch last as long as this."""
    threads = torch.get_num_threads()
    shared.mkdir()
    load = functools.partial(resident, root=None, folder=shared)
    try:
        yield Tasks(load, threads=1, store=write_weights)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def task_of(config, execution=PLAIN, weights=None):
    """What the driver asks of a worker."""
    return {"task": "run", "config": config, "execution": execution, "weights": weights}


def comparable(record):
    """A record without what may differ: its conditions and the seconds it took."""
    metrics = {k: v for k, v in (record.metrics or {}).items() if not k.endswith("_seconds")}
    return {
        "run_id": record.run_id,
        "status": record.status,
        "config": record.config,
        "metrics": metrics,
        "layers": record.layers,
        "history": [
            {key: value for key, value in entry.items() if not key.endswith("_seconds")}
            for entry in record.history
        ],
        "error": record.error,
    }


def comparable_records(directory):
    return [comparable(record) for record in latest_records(directory)]


def workers_of(scratch):
    """The worker processes whose shared folder lies in `scratch`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if PROGRAM in command and str(scratch) in command[-1]:
                found.append(process)
    return found


def running_workers(scratch):
    """Those of them that have begun a run: their data set is mapped."""
    found = []
    for process in workers_of(scratch):
        with contextlib.suppress(OSError):
            if "digits.safetensors" in Path(f"/proc/{process.pid}/maps").read_text():
                found.append(process)
    return found


def wait_until(condition, seconds=120.0):
    """Wait for a condition and return what it was at last."""
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


class StudyRun:
    """One `minaction study run` as a terminal starts it: a process group of its own."""

    def __init__(self, spec, out, scratch, options):
        self.out, self.scratch = Path(out), scratch
        command = [sys.executable, "-m", "minaction", "study", "run", spec, "--out", out]
        self.process = subprocess.Popen(
            [*map(str, command), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"TMPDIR": str(scratch)},
        )

    def records(self):
        """Lines in the journal so far."""
        journal = self.out / JOURNAL_NAME
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def wait_for_records(self, count):
        """Wait until the journal has so many lines; the study must not end before."""
        wait_until(lambda: self.records() >= count or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.stderr.read()

    def send(self, number, group=False):
        """Send a signal to the driver, or to all as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def wait(self):
        """Return exit code and last line of standard error."""
        _, self.errors = self.process.communicate(timeout=240)
        assert "Traceback" not in self.errors, self.errors
        return self.process.returncode, self.errors.strip().split("\n")[-1]

    def left_behind(self):
        """Workers and temporary files that outlived the driver."""
        caches = ("torchinductor_",)  # of the compiler, kept on purpose
        files = [f.name for f in self.scratch.iterdir() if not f.name.startswith(caches)]
        return workers_of(self.scratch) + files
