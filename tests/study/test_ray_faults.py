"""What befalls a study on a Ray cluster of three nodes, all of them on this machine."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from real_study import comparable_records, study_of, wait_until

import minaction
from minaction.study.activity import ACTIVITY_NAME
from minaction.study.design import run_id, runs
from minaction.study.execute import MAX_ATTEMPTS
from minaction.study.journal import latest_records, read_records
from minaction.study.status import study_status

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, while it starts nodes
]
STUDY = study_of(seeds=6, model='["mlp", "cnn"]', epochs=3)
LONG = study_of(epochs=20)
STORE_BYTES = 100 << 20
SOURCE = Path(minaction.__file__).parents[1]


class ThreeNodes:
    """A cluster whose nodes have a CPU each; the first is its head."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self.nodes = [self.add() for _ in range(3)]

    def add(self, **options):
        """Start a node."""
        return self._cluster.add_node(
            num_cpus=1, include_dashboard=False, object_store_memory=STORE_BYTES, **options
        )

    @property
    def options(self):
        """What the command line is told."""
        return ("--executor", "ray", "--ray-address", self._cluster.address)

    def workers(self):
        """Processes that do runs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "ray::do_batch" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill_node(self):
        """Kill a node that is not the head, and all that runs there."""
        self._cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def stop(self):
        """Kill everything, the head first."""
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        for node in self.nodes[1:]:
            node.kill_all_processes(check_alive=False, allow_graceful=False)


@pytest.fixture
def three_nodes(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # of ours
    started = []

    def start():
        started.append(ThreeNodes())
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


@pytest.fixture(scope="module")
def undisturbed(launch, tmp_path_factory):
    """The records of an ordinary run by this machine's processes."""
    out = tmp_path_factory.mktemp("undisturbed") / "study"
    assert launch(STUDY, out, workers=2).wait()[0] == 0
    return comparable_records(out)


@pytest.fixture
def on_ray(launch):
    """Start a study on a cluster, as many runs at once as there are CPUs."""

    def start(study, out, cluster):
        return launch(study, out, workers=3, options=cluster.options)

    return start


def wait_for_a_record(run, seconds):
    """Wait for one more record, but only so long."""
    before, until = run.records(), time.monotonic() + seconds
    wait_until(lambda: run.records() > before or time.monotonic() > until)


def assert_complete(directory, records):
    """Every run is in the journal exactly once, with the records of an undisturbed study."""
    lines = Counter(record.run_id for record in read_records(directory))
    assert lines == Counter(run_id(config) for config in runs(STUDY))
    assert comparable_records(directory) == records


def test_a_killed_worker_costs_a_run_and_a_killed_node_its_runs(
    three_nodes, on_ray, undisturbed, tmp_path
):
    cluster, out = three_nodes(), tmp_path / "study"
    run = on_ray(STUDY, out, cluster)
    run.wait_for_records(1)
    wait_until(cluster.workers)[0].kill()
    run.wait_for_records(run.records() + 1)
    cluster.kill_node()
    code, _ = run.wait()
    assert code == 0, run.errors
    assert "a worker was killed or crashed" in run.errors
    assert "raylet" not in run.errors
    assert_complete(out, undisturbed)
    assert run.left_behind() == []


def test_a_killed_driver_leaves_no_run_behind_and_is_resumed(
    three_nodes, on_ray, undisturbed, tmp_path
):
    cluster, out = three_nodes(), tmp_path / "study"
    run = on_ray(STUDY, out, cluster)
    run.wait_for_records(2)
    found = study_status(out)
    assert found.running == 3
    run.send(signal.SIGKILL)
    run.process.wait()
    assert wait_until(lambda: not cluster.workers() and not run.left_behind(), 60)
    assert on_ray(STUDY, out, cluster).wait()[0] == 0
    assert_complete(out, undisturbed)


def test_a_stopped_head_ends_the_study_in_a_line_and_another_cluster_does_the_rest(
    three_nodes, on_ray, undisturbed, tmp_path
):
    cluster, out = three_nodes(), tmp_path / "study"
    run = on_ray(STUDY, out, cluster)
    run.wait_for_records(2)
    cluster.stop()
    stopped = time.monotonic()
    code, line = run.wait()
    assert time.monotonic() - stopped < 60
    assert code in (1, 2)
    assert line.startswith("minaction: the Ray cluster ")
    assert line.endswith("finished runs are kept")
    assert run.left_behind() == []
    assert on_ray(STUDY, out, three_nodes()).wait()[0] == 0
    assert_complete(out, undisturbed)


def test_ctrl_c_ends_the_runs_and_leaves_the_cluster(three_nodes, on_ray, undisturbed, tmp_path):
    cluster, out = three_nodes(), tmp_path / "study"
    for stop in (signal.SIGINT, signal.SIGTERM):
        run = on_ray(STUDY, out, cluster)
        run.wait_for_records(run.records() + 1)
        run.send(stop, group=stop == signal.SIGINT)
        code, line = run.wait()
        assert code == 130
        assert line == (
            f"minaction: stopped; finished runs are kept in {out}: the same command does the rest"
        )
        assert run.left_behind() == []
        assert wait_until(lambda: not cluster.workers(), 30)
    assert on_ray(STUDY, out, cluster).wait()[0] == 0
    assert_complete(out, undisturbed)


def test_a_run_that_always_kills_its_worker_fails_with_the_reason(three_nodes, launch, tmp_path):
    cluster, out = three_nodes(), tmp_path / "study"
    run = launch(LONG, out, workers=1, options=cluster.options)
    assert wait_until((out / ACTIVITY_NAME).exists, 600)  # the runs have begun
    for _ in range(MAX_ATTEMPTS):
        wait_until(cluster.workers)[0].kill()
        assert wait_until(lambda: not cluster.workers())
    code, line = run.wait()
    assert code == 1
    assert "1 of 2 runs failed" in line
    (failed,) = (record for record in latest_records(out) if record.error)
    assert failed.error == (
        "the worker was killed or crashed; if memory ran out, use fewer workers; this happened "
        f"{MAX_ATTEMPTS} times"
    )


def test_a_node_with_another_version_is_refused_with_both_named(three_nodes, on_ray, tmp_path):
    cluster, other = three_nodes(), tmp_path / "other"
    shutil.copytree(SOURCE / "minaction", other / "minaction")
    with (other / "minaction" / "errors.py").open("a") as file:
        file.write("# another version\n")
    cluster.add(env_vars={"PYTHONPATH": str(other)})
    code, line = on_ray(STUDY, tmp_path / "study", cluster).wait()
    assert code == 2
    assert "of the Ray cluster has minaction 0." in line
    assert line.count("(code ") == 2
    assert line.endswith("; install the same on both")


WITHOUT_DATA = """
import os, signal, sys, ray
from minaction.study.ray_tasks import Conditions, do_batch, load_packed, version_reader
ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote
def put():
    return [ray.put(load_packed("digits", None)[1])], os.getpid()

[reference], owner = ray.get(put.remote())
os.kill(owner, signal.SIGKILL)  # with it goes what it owns
conditions = Conditions(
    versions=tuple(version_reader()().items()), threads=1, datasets=(("digits", reference),)
)
task = {"task": "measure", "datasets": ["digits"]}
do = ray.remote(num_returns="streaming", max_retries=3)(do_batch)  # one may meet the dead worker
print(ray.get(next(do.remote([task], conditions))).answer["storage_error"])
"""


def test_a_node_that_cannot_get_a_data_set_names_both(three_nodes):
    address = three_nodes().options[-1]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DATA, address], capture_output=True, text=True, check=False
    )
    line = done.stdout.strip().split("\n")[-1]
    assert line.startswith("node ")
    assert "cannot get data set digits from the object store (OwnerDiedError" in line


def test_an_address_where_nothing_answers_is_one_line_within_seconds(launch, tmp_path):
    started = time.monotonic()
    run = launch(
        STUDY, tmp_path / "s", options=("--executor", "ray", "--ray-address", "127.0.0.1:9")
    )
    code, line = run.wait()
    assert time.monotonic() - started < 30
    assert code == 2
    assert line.startswith("minaction: no Ray cluster can be joined at 127.0.0.1:9 (")
    assert line.endswith("; if it asks for a token, as Ray's may, set RAY_AUTH_MODE=token")
    assert run.errors.count("\n") <= 2
    assert run.left_behind() == []


def test_25_random_kills_of_drivers_workers_and_nodes_lose_nothing(
    three_nodes, on_ray, undisturbed, tmp_path
):
    cluster, out, chance = three_nodes(), tmp_path / "study", random.Random(25)
    study = study_of(seeds=40, model='["mlp", "cnn"]', epochs=3)
    run, killed = on_ray(study, out, cluster), Counter()
    while killed.total() < 25:
        wait_for_a_record(run, chance.uniform(0, 20))
        assert run.process.poll() is None, run.wait()
        victim = chance.choice(["driver", "worker", "node"])
        if victim == "driver":
            run.send(signal.SIGKILL)
            run.process.wait()
            run = on_ray(study, out, cluster)
        elif victim == "worker":
            if not (workers := cluster.workers()):
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(workers).kill()
        else:
            cluster.kill_node()
            cluster.nodes.append(cluster.add())
        killed[victim] += 1
    code, _ = run.wait()
    again = on_ray(study, out, cluster).wait()[0] if code == 1 else code  # what failed three times
    assert again == 0
    finished = Counter(r.run_id for r in read_records(out) if not r.error)
    assert finished == Counter(run_id(config) for config in runs(study))
    mine = {json.dumps(record, sort_keys=True) for record in comparable_records(out)}
    assert {json.dumps(record, sort_keys=True) for record in undisturbed} <= mine
