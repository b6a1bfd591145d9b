from __future__ import annotations

import functools
import signal

import pytest
import torch
from real_study import StudyRun

from minaction.data.resident import resident
from minaction.study.directory import write_weights
from minaction.study.tasks import Tasks


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start `minaction study run`; what is still running at the end is killed."""
    started = []

    def start(study, out, workers=1, options=()):
        folder = tmp_path_factory.mktemp("launch")
        spec, scratch = folder / "study.toml", folder / "tmp"
        spec.write_text(study.to_toml())
        scratch.mkdir()
        started.append(StudyRun(spec, out, scratch, ["--workers", str(workers), *options]))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.send(signal.SIGKILL)
        run.process.communicate()


@pytest.fixture
def tasks(tmp_path):
    """What a worker does, in this process; its settings of torch last for one test."""
    threads = torch.get_num_threads()
    shared = tmp_path / "shared"
    shared.mkdir()
    load = functools.partial(resident, root=None, folder=shared)
    yield Tasks(load, threads=1, store=write_weights)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
