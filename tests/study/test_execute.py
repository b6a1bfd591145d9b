from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from real_study import running_workers, study_of, task_of, wait_until, workers_of

from minaction.errors import MinActionError, StorageError
from minaction.study.design import runs
from minaction.study.execute import MAX_ATTEMPTS, LocalExecutor

CONFIG = runs(study_of())[0]
LONG = {**CONFIG, "epochs": 1000}
whole_studies_show_it = pytest.mark.slow  # those of test_faults.py, by default


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder for temporary files that only this module uses."""
    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def executor(scratch, tmp_path_factory):
    """Two workers, started in a folder whose files are named like modules they import."""
    trap = tmp_path_factory.mktemp("trap")
    for name in ("torch", "queue", "json", "minaction"):
        (trap / f"{name}.py").write_text("raise ImportError('imported from the current folder')")
    with contextlib.ExitStack() as running:
        with contextlib.chdir(trap):
            executor = running.enter_context(LocalExecutor(2, None))
        list(executor.map([task_of(CONFIG)]))
        yield executor


def one(executor, task):
    (answer,) = executor.map([task])
    return answer.content


def test_a_worker_answers_with_a_record(executor):
    record = one(executor, task_of(CONFIG))["record"]
    assert record["status"] == "ok"
    assert record["provenance"]["threads"] == 1
    assert record["provenance"]["worker"] in (0, 1)


def test_every_task_is_answered_once_and_tasks_are_drawn_as_they_are_needed(executor):
    drawn = []

    def tasks():
        for seed in range(12):
            drawn.append(seed)
            yield task_of({**CONFIG, "seed": seed})

    seeds = []
    for answer in executor.map(tasks()):
        seeds.append(answer.content["record"]["config"]["seed"])
        assert len(drawn) <= len(seeds) + 2
    assert sorted(seeds) == list(range(12))


def test_no_tasks_no_answers(executor):
    assert list(executor.map([])) == []


def test_tasks_and_answers_larger_than_any_pipe_arrive_whole(executor):
    sizes = {seed: 100_000 * (seed + 1) for seed in range(4)}
    tasks = [task_of({**CONFIG, "seed": s, "note": "é" * size}) for s, size in sizes.items()]
    answers = [answer.content["record"]["config"] for answer in executor.map(tasks)]
    assert {config["seed"]: len(config["note"]) for config in answers} == sizes


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (task_of({**CONFIG, "dataset": "digit"}), "unknown data set 'digit'; did you mean"),
        (task_of({**CONFIG, "parameters": 10}), "cannot meet the budget of 10 parameters"),
        (task_of({"dataset": "digits"}), r"KeyError: 'model' \(run.py, line \d+\)$"),
        ({"task": "run"}, "KeyError: 'config'"),
        (task_of({**CONFIG, "dataset": "x" * 10**6}), "unknown data set 'xxx"),
    ],
)
def test_a_run_that_raises_is_an_answer_of_one_short_line(executor, task, error):
    content = one(executor, task)
    assert re.search(error, content["error"])
    assert "\n" not in content["error"]
    assert len(content["error"]) < 1200


def test_weights_that_cannot_be_written_stop_the_work(executor, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError, match=r"1\.safetensors: .* same command"):
        one(executor, task_of(CONFIG, weights=str(tmp_path / "models" / "1.safetensors")))


def test_an_idle_worker_that_dies_is_replaced_when_it_is_needed(executor, scratch):
    for process in workers_of(scratch):
        process.kill()
    assert wait_until(lambda: not workers_of(scratch))
    assert one(executor, task_of(CONFIG))["record"]["status"] == "ok"
    assert len(workers_of(scratch)) == 1  # one task, one worker


def test_leaving_ends_the_workers_and_removes_what_they_shared(scratch):
    before = set(scratch.iterdir())
    others = {process.pid for process in workers_of(scratch)}
    with LocalExecutor(2, None):
        assert len(workers_of(scratch)) == len(others) + 2
        (shared,) = set(scratch.iterdir()) - before
        assert shared.stat().st_mode & 0o077 == 0
    assert {process.pid for process in workers_of(scratch)} == others
    assert set(scratch.iterdir()) == before


@whole_studies_show_it
def test_ctrl_c_leaves_nothing(scratch):
    before = set(scratch.iterdir())
    others = {process.pid for process in workers_of(scratch)}
    interrupt = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt), LocalExecutor(1, None) as executor:
        list(executor.map([task_of(LONG)]))
    assert {process.pid for process in workers_of(scratch)} == others
    assert set(scratch.iterdir()) == before


class Killer(threading.Thread):
    """Kills every worker that has begun a run, so many times."""

    def __init__(self, folder, times):
        super().__init__(daemon=True)
        self.folder, self.times, self.killed = folder, times, 0
        self.start()

    def run(self):
        until = time.monotonic() + 200
        while self.killed < self.times and time.monotonic() < until:
            for process in running_workers(self.folder):
                process.kill()
                self.killed += 1
                wait_until(lambda gone=process: gone not in running_workers(self.folder))
            time.sleep(0.05)


@whole_studies_show_it
def test_a_task_that_kills_every_worker_is_given_up_and_the_others_are_done(executor, scratch):
    killer = Killer(scratch, MAX_ATTEMPTS)
    (given_up,) = executor.map([task_of(LONG)])
    killer.join(10)
    assert killer.killed == MAX_ATTEMPTS
    assert given_up.content["error"] == (
        "the worker was killed by SIGKILL; if memory ran out, use fewer workers; "
        "this happened 3 times"
    )
    assert one(executor, task_of(CONFIG))["record"]["status"] == "ok"


def test_workers_that_cannot_start_are_an_error_and_not_started_for_ever(tmp_path, monkeypatch):
    starts = tmp_path / "starts"
    module = tmp_path / "modules" / "torch.py"
    module.parent.mkdir()
    module.write_text(
        f"open({str(starts)!r}, 'a').write('x')\nprint('on the way')\n"
        "raise ImportError('libtorch is broken')"
    )
    monkeypatch.setenv("PYTHONPATH", str(module.parent))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(MinActionError, match="cannot be started: ended with code 1: ImportError"),
        LocalExecutor(2, None) as executor,
    ):
        list(executor.map([task_of(CONFIG), task_of(LONG), task_of(LONG)]))
    assert MAX_ATTEMPTS <= len(starts.read_text()) <= MAX_ATTEMPTS + 1
    assert not list(tmp_path.glob("minaction-shared-*"))


def test_no_room_for_temporary_files_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with (
        pytest.raises(StorageError, match=r"missing: no temporary folder .*TMPDIR"),
        LocalExecutor(1, None),
    ):
        pytest.fail("entered")


def test_the_driver_s_side_imports_no_torch():
    code = "import sys, minaction.study.driver; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ORPHANING = """
import sys
sys.path[:0] = [sys.argv[1]]
from real_study import study_of, task_of
from minaction.study.design import runs
from minaction.study.execute import LocalExecutor
with LocalExecutor(1, None) as executor:
    list(executor.map([task_of({**runs(study_of())[0], "epochs": 100_000})]))
"""


@whole_studies_show_it
def test_an_orphan_leaves_at_once_in_the_middle_of_a_run(tmp_path):
    driver = subprocess.Popen(
        [sys.executable, "-c", ORPHANING, str(Path(__file__).parent)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        (worker,) = wait_until(lambda: running_workers(tmp_path))
        driver.kill()
        killed = time.monotonic()
        worker.wait(20)
        assert time.monotonic() - killed < 3
        assert wait_until(lambda: not list(tmp_path.iterdir()), 3)
    finally:
        driver.kill()
        driver.wait()


def stack_of(config, count):
    """What the driver asks of a worker that is to train runs as one."""
    return {"task": "stack", "runs": [task_of({**config, "seed": s}) for s in range(count)]}


def test_a_stack_is_answered_run_by_run_beside_single_runs(executor):
    answers = list(executor.map([stack_of(CONFIG, 3), task_of({**CONFIG, "seed": 9})]))
    records = {a.content["record"]["config"]["seed"]: a for a in answers}
    assert records.keys() == {0, 1, 2, 9}
    for seed, answer in records.items():
        provenance = answer.content["record"]["provenance"]
        assert answer.task == task_of({**CONFIG, "seed": seed})
        assert provenance.get("stacked", {}).get("runs") == (None if seed == 9 else 3)
        assert provenance["worker"] in (0, 1)


def test_a_stack_whose_worker_dies_is_tried_again_in_halves(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notes = []
    with LocalExecutor(1, None, notes.append) as executor:
        killer = Killer(tmp_path, 1)
        answers = executor.map([stack_of({**CONFIG, "epochs": 20}, 3)])
        records = [answer.content["record"] for answer in answers]
        killer.join(10)
    assert killer.killed == 1
    assert sorted(record["config"]["seed"] for record in records) == [0, 1, 2]
    stacked = {r["config"]["seed"]: r["provenance"].get("stacked", {"runs": 1}) for r in records}
    assert [stacked[seed]["runs"] for seed in range(3)] == [2, 2, 1]
    assert len(notes) == 1
    assert notes[0].endswith("its 3 runs are tried again in two halves")
