"""What befalls a study from outside: kills, Ctrl-C, full disks, a second driver."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

import pytest
from real_study import (
    comparable_records,
    running_workers,
    study_of,
    wait_until,
    workers_of,
)

from minaction.report.tables import compute_findings
from minaction.study.activity import ACTIVITY_NAME
from minaction.study.design import run_id, runs
from minaction.study.execute import MAX_ATTEMPTS
from minaction.study.journal import JOURNAL_NAME, RunStatus, latest_records, read_records
from minaction.study.status import study_status

SLOW = pytest.mark.slow
STUDY = study_of(seeds=3, model='["mlp", "cnn"]', epochs=3)


def run_undisturbed(launch, study, out):
    """Run a study by one worker; return its directory, seconds to the first record, and after."""
    started = time.monotonic()
    run = launch(study, out)
    run.wait_for_records(1)
    first = time.monotonic()
    assert run.wait()[0] == 0
    return out, first - started, time.monotonic() - first


@pytest.fixture(scope="module")
def undisturbed(launch, tmp_path_factory):
    return run_undisturbed(launch, STUDY, tmp_path_factory.mktemp("undisturbed") / "study")


def findings(study, directory):
    """What the report says, times aside."""
    found = compute_findings(study, latest_records(directory))
    del found["timing"]
    for costs in found["target_costs"]:
        for arm in costs["arms"]:
            del arm["seconds"]
    return found


def assert_complete(directory, study=STUDY):
    """Every run of the study is finished in the journal exactly once."""
    lines = Counter(record.run_id for record in read_records(directory))
    assert lines == Counter(run_id(config) for config in runs(study))
    assert study_status(directory).done == study.run_count


def torn_lines(directory):
    """Lines of the journal without an end: 0 or 1."""
    content = (
        (directory / JOURNAL_NAME).read_bytes() if (directory / JOURNAL_NAME).exists() else b""
    )
    complete, end, rest = content.rpartition(b"\n")
    assert all(
        line.startswith(b"{") and line.endswith(b"}") for line in complete.split(b"\n") if end
    )
    return int(bool(rest))


def kill_at_random_moments(launch, study, out, undisturbed, kills):
    """Kill the driver of a study again and again; return the numbers of records found."""
    _, start, work = undisturbed
    moments, found = random.Random(kills), []
    latest = work / (2 * kills)  # a machine twice as fast as then must not finish before a kill
    for _ in range(kills):
        kill_at(launch(study, out), moments.uniform(0, 1.5 * start), moments.uniform(0, latest))
        if (out / JOURNAL_NAME).exists():
            assert torn_lines(out) <= 1
            found.append(len(list(read_records(out))))
    return found


def kill_at(run, moment, later):
    """Kill the driver `moment` seconds from now, or `later` seconds after a first record."""
    before, until = run.records(), time.monotonic() + moment
    wait_until(lambda: run.records() > before or time.monotonic() > until)
    if run.records() > before:
        time.sleep(later)
    assert run.process.poll() is None, run.wait()
    run.send(signal.SIGKILL)
    run.process.wait()
    assert wait_until(lambda: not run.left_behind(), 5), run.left_behind()


def test_kill_9_of_the_driver_at_3_random_moments_loses_nothing(undisturbed, launch, tmp_path):
    check_that_kills_lose_nothing(STUDY, undisturbed, launch, tmp_path / "study", 3)


@SLOW
@pytest.mark.timeout(3600)
def test_kill_9_of_the_driver_at_75_random_moments_loses_nothing(launch, tmp_path):
    study = study_of(seeds=45, model='["mlp", "cnn"]', epochs=3)
    undisturbed = run_undisturbed(launch, study, tmp_path / "undisturbed")
    check_that_kills_lose_nothing(study, undisturbed, launch, tmp_path / "study", 75)


def check_that_kills_lose_nothing(study, undisturbed, launch, out, kills):
    found = kill_at_random_moments(launch, study, out, undisturbed, kills)
    assert found == sorted(found)
    assert launch(study, out).wait()[0] == 0
    assert_complete(out, study)
    assert comparable_records(out) == comparable_records(undisturbed[0])
    assert findings(study, out) == findings(study, undisturbed[0])


def test_kill_9_of_a_worker_costs_only_its_run_which_is_tried_again(undisturbed, launch, tmp_path):
    out = tmp_path / "study"
    run = launch(STUDY, out, workers=2)
    run.wait_for_records(2)
    victims = wait_until(lambda: running_workers(run.scratch))
    victims[0].kill()
    code, _ = run.wait()
    assert code == 0
    assert "was killed by SIGKILL; if memory ran out, use fewer workers; its task" in run.errors
    assert_complete(out)
    assert comparable_records(out) == comparable_records(undisturbed[0])
    assert not run.left_behind()


def test_ctrl_c_and_sigterm_end_cleanly_and_a_resume_does_the_rest(undisturbed, launch, tmp_path):
    out = tmp_path / "study"
    line = f"minaction: stopped; finished runs are kept in {out}: the same command does the rest"
    stops = [
        lambda run: [run.send(signal.SIGINT, group=True) for _ in range(3)],  # at a terminal
        lambda run: run.send(signal.SIGTERM),
    ]
    for stop in stops:
        run = launch(STUDY, out)
        before = run.records()
        run.wait_for_records(before + 1)
        stop(run)
        assert run.wait() == (130, line)
        assert run.left_behind() == []
        assert torn_lines(out) == 0
    assert launch(STUDY, out).wait()[0] == 0
    assert_complete(out)
    assert comparable_records(out) == comparable_records(undisturbed[0])


def test_ctrl_c_at_the_start_leaves_nothing(launch, tmp_path):
    run = launch(STUDY, tmp_path / "study", workers=2)
    assert wait_until(lambda: len(workers_of(run.scratch)) == 2)
    run.send(signal.SIGINT, group=True)
    assert run.wait()[0] == 130
    assert run.left_behind() == []


def test_a_second_driver_is_refused_and_the_first_goes_on(launch, tmp_path):
    study, out = study_of(epochs=20), tmp_path / "study"
    first = launch(study, out)
    assert wait_until(lambda: (out / JOURNAL_NAME).exists())
    second = launch(study, out)
    code, line = second.wait()
    assert code == 2
    assert line == (
        f"minaction: {out}: another process is running this study; wait for it or stop it"
    )
    assert second.left_behind() == []
    assert first.wait()[0] == 0
    assert_complete(out, study)


def test_runs_that_fail_do_not_stop_the_others_and_are_tried_again(launch, tmp_path):
    study, out = study_of(seeds=2, epochs=20), tmp_path / "study"
    run = launch(study, out)
    assert wait_until(lambda: (out / ACTIVITY_NAME).exists())
    for _ in range(MAX_ATTEMPTS):  # the one worker is given the same run again and again
        wait_until(lambda: running_workers(run.scratch))[0].kill()
        assert wait_until(lambda: not running_workers(run.scratch))
    code, line = run.wait()
    assert code == 1
    assert line == (
        f"minaction: {out}: 1 of 4 runs failed; `minaction study status {out}` says why, and the "
        "same command tries them again"
    )
    found = study_status(out)
    assert found.by_status == {"ok": 3, "failed": 1}
    (message,) = found.errors
    assert message.endswith("use fewer workers; this happened 3 times")
    (record,) = [r for r in latest_records(out) if r.status is RunStatus.FAILED]
    assert record.provenance["study_sha256"] == study.sha256
    assert record.provenance["execution"]["precision"] == "float32"
    assert record.metrics is None
    assert launch(study, out).wait()[0] == 0
    assert study_status(out).by_status == {"ok": 4}
    assert [r.run_id for r in read_records(out)].count(record.run_id) == 2


@pytest.fixture
def small_disk(tmp_path, request):
    """A file system of the size that is asked for, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "minaction-test", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk takes root")
    if (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    def grow():
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    yield folder, grow
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("small_disk", "weights"),
    [("32k", False), pytest.param("64k", True, marks=SLOW)],
    indirect=["small_disk"],
)
def test_a_full_disk_stops_the_study_and_room_lets_it_finish(launch, small_disk, weights):
    disk, make_room = small_disk
    out = disk / "study"
    study = study_of(seeds=12, train=f"parameters = 5000\nsave_weights = {str(weights).lower()}")
    run = launch(study, out)
    code, line = run.wait()
    assert code == 1
    assert line.startswith(f"minaction: {out}/")
    assert "No space left on device" in line
    assert line.endswith("run the same command again: finished runs are kept")
    assert run.left_behind() == []
    kept = comparable_records(out)
    assert 0 < len(kept) < study.run_count
    assert torn_lines(out) == 0
    make_room()
    again = launch(study, out)
    assert again.wait()[0] == 0
    assert_complete(out, study)
    assert [r for r in comparable_records(out) if r in kept] == kept
    if weights:
        names = {f"{run_id(config)}.safetensors" for config in runs(study)}
        assert {path.name for path in (out / "models").iterdir()} == names


@SLOW
def test_bfloat16_and_compiled_the_records_do_not_depend_on_the_workers(launch, tmp_path):
    settings = {"precision": "bfloat16", "compile": "true", "channels_last": "true"}
    study = study_of(seeds=2, model='["mlp", "cnn"]', epochs=3, **settings)
    one, two = tmp_path / "one", tmp_path / "two"
    assert launch(study, one, workers=1).wait()[0] == 0
    assert launch(study, two, workers=2).wait()[0] == 0
    assert comparable_records(one) == comparable_records(two)
    assert {r.provenance["worker"] for r in latest_records(two)} == {0, 1}


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=SLOW)])
def test_a_stack_that_is_cut_while_its_runs_are_measured_loses_none_that_was_recorded(
    launch, tmp_path, number
):
    study, out = study_of(seeds=4, train="parameters = 2_000"), tmp_path / "study"
    options = ("--fleet", "on")
    run = launch(study, out, options=options)
    run.wait_for_records(2)  # of 8 that were trained as one
    run.send(number)
    run.wait()
    before = [record.run_id for record in read_records(out)]
    assert 1 <= len(before) < 8  # what is cut while it is written is taken back
    assert launch(study, out, options=options).wait()[0] == 0
    assert [record.run_id for record in read_records(out)][: len(before)] == before
    assert_complete(out, study)
    stacked = {r.run_id: r.provenance["stacked"]["runs"] for r in read_records(out)}
    assert {stacked[name] for name in before} == {8}
    assert not run.left_behind() or number == signal.SIGKILL
