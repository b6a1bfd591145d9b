from __future__ import annotations

import signal

import pytest
from real_study import StudyRun, tasks_in


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start `minaction study run`; what is still running at the end is killed.

    Runs are not stacked unless a test says so: whether that is faster depends on what else the
    machine does, and records of stacked runs are rounded otherwise.
    """
    started = []

    def start(study, out, workers=1, options=()):
        folder = tmp_path_factory.mktemp("launch")
        spec, scratch = folder / "study.toml", folder / "tmp"
        spec.write_text(study.to_toml())
        scratch.mkdir()
        fleet = [] if "--fleet" in options else ["--fleet", "off"]
        started.append(StudyRun(spec, out, scratch, ["--workers", str(workers), *fleet, *options]))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.send(signal.SIGKILL)
        run.process.communicate()


@pytest.fixture
def tasks(tmp_path):
    """What a worker does, in this process; its settings of torch last for one test."""
    with tasks_in(tmp_path / "shared") as made:
        yield made
