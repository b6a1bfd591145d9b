from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from real_study import comparable_records, study_of, wait_until

from minaction.errors import ClusterError, InputError
from minaction.progress import PlainListener
from minaction.study.driver import run_study
from minaction.study.execute_ray import RayCluster, RayExecutor
from minaction.study.journal import latest_records
from minaction.study.status import study_status

STUDY = study_of(seeds=3, train="parameters = 5000\nsave_weights = true")


def ray_processes():
    """Processes of clusters that our client has started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if "minaction-shared-" in command and "ray" in command.lower():
            found.append(process)
    return found


def test_runs_in_a_local_cluster_are_those_of_local_processes(tmp_path, monkeypatch, capfd):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(200 << 20))
    listener, before = PlainListener(), ray_processes()
    here, there = tmp_path / "here", tmp_path / "there"
    outcome = run_study(STUDY, there, listener, workers=2, cluster=RayCluster())
    assert (outcome.ran, outcome.failed) == (6, 0)
    assert "ray" not in capfd.readouterr().err.lower()
    run_study(STUDY, here, listener, workers=1, fleet="off")
    assert comparable_records(there) == comparable_records(here)
    for weights in (here / "models").iterdir():
        assert (there / "models" / weights.name).read_bytes() == weights.read_bytes()
    provenances = [record.provenance for record in latest_records(there)]
    assert {provenance["threads"] for provenance in provenances} == {1}
    assert all("/" in provenance["worker"] for provenance in provenances)
    assert study_status(there).done == 6
    until = time.monotonic() + 10
    while set(ray_processes()) - set(before) and time.monotonic() < until:
        time.sleep(0.2)
    assert not set(ray_processes()) - set(before)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["gcs_server", "raylet/raylet"])
def test_ctrl_c_while_a_cluster_starts_leaves_nothing(launch, tmp_path, stage):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    out = tmp_path / "study"
    run = launch(STUDY, out, options=("--executor", "ray"))
    driver = psutil.Process(run.process.pid)

    def begun():
        started = driver.children(recursive=True)
        with contextlib.suppress(psutil.Error):
            if any(stage in " ".join(process.cmdline()) for process in started):
                return started
        return []

    started = wait_until(begun)
    (shared,) = {json.loads(process.cmdline()[-1])["shared"] for process in driver.children()}
    run.send(signal.SIGINT, group=True)
    code, line = run.wait()
    assert code == 130
    assert line.startswith("minaction: stopped; finished runs are kept in ")
    assert started
    assert wait_until(lambda: not any(process.is_running() for process in started), 10)
    assert not Path(shared).exists()
    assert run.left_behind() == []


def test_stacks_are_refused_in_a_cluster(tmp_path):
    with pytest.raises(InputError, match="--fleet on: a cluster trains runs one at a time"):
        run_study(STUDY, tmp_path / "s", PlainListener(), fleet="on", cluster=RayCluster())
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "address", ["", "ray", "10.0.0.1", "10.0.0.1:", ":6379", "10.0.0.1:x", "ray://10.0.0.1:10001"]
)
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ClusterError, match=r"no Ray address: .*`auto`, or HOST:PORT"):
        RayCluster(address=address)


@pytest.mark.parametrize("gpus", [-1, 1.5, float("nan"), float("inf")])
def test_a_number_of_gpus_that_cannot_be_reserved_is_refused(gpus):
    with pytest.raises(ClusterError, match="GPUs for a run; give a whole number"):
        RayCluster(gpus_per_run=gpus)


@pytest.mark.parametrize("address", [None, "auto", "10.0.0.1:6379", "[::1]:6379"])
def test_an_address_as_ray_has_it_is_taken(address):
    assert RayCluster(address=address).address == address


def test_without_ray_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(
            ClusterError, match=r"needs ray; install with: pip install 'minaction\[ray\]"
        ),
        RayExecutor(RayCluster(), 1, None, []),
    ):
        pytest.fail("entered")


def test_the_driver_s_side_imports_neither_ray_nor_torch():
    code = (
        "import sys, minaction.study.execute_ray; sys.exit(bool({'ray', 'torch'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
