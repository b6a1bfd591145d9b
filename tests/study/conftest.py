from __future__ import annotations

import signal

import pytest
import torch
from real_study import StudyRun

from minaction.study.tasks import Tasks
from minaction.study.worker import Setup


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start `minaction study run`; what is still running at the end is killed."""
    started = []

    def start(study, out, workers=1, options=()):
        folder = tmp_path_factory.mktemp("launch")
        spec, scratch = folder / "study.toml", folder / "tmp"
        spec.write_text(study.to_toml())
        scratch.mkdir()
        started.append(StudyRun(spec, out, scratch, workers, options))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.send(signal.SIGKILL)
        run.process.communicate()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """What a worker does, in this process."""
    threads = torch.get_num_threads()
    yield Tasks(Setup(data_dir=None, shared=str(tmp_path_factory.mktemp("shared"))))
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
