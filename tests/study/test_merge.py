from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from real_study import study_of

from minaction.errors import InputError, JournalError, StorageError, StudyDirectoryError
from minaction.study import merge
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory, weights_path
from minaction.study.journal import Journal, latest_records, read_records
from minaction.study.journal_files import lock_directory
from minaction.study.merge import merge_studies
from minaction.study.record import Record, RunStatus

STUDY = study_of(seeds=4)
CONFIGS = runs(STUDY)


def record(number, status=RunStatus.OK, accuracy=0.9, **provenance):
    failed = status is RunStatus.FAILED
    return Record(
        run_id=run_id(CONFIGS[number]),
        status=status,
        config={**CONFIGS[number]},
        metrics=None if failed else {"test_accuracy": accuracy, "train_seconds": random.random()},
        history=[] if failed else [{"epoch": 1, "train_seconds": random.random()}],
        provenance=provenance,
        error="no luck" if failed else None,
    )


def study_in(directory, *records, study=STUDY, rotate_bytes=None):
    open_study_directory(directory, study)
    with Journal(directory, rotate_bytes=rotate_bytes) as journal:
        for each in records:
            journal.append(each)
    return directory


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_two_halves_are_the_whole(tmp_path):
    records = [record(n) for n in range(8)]
    first = study_in(tmp_path / "a", *records[:5])
    second = study_in(tmp_path / "b", *records[5:], rotate_bytes=1)
    before = contents(first), contents(second)
    found = merge_studies([first, second], tmp_path / "c")
    assert (found.runs, found.agreeing, found.failed) == (8, 0, 0)
    assert found.taken == {str(first): 5, str(second): 3}
    assert list(read_records(tmp_path / "c")) == records
    assert (contents(first), contents(second)) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["journal.jsonl", "study.toml"]
    with Journal(tmp_path / "c") as journal:
        assert len(journal.finished) == 8


def test_a_merged_study_is_resumed_and_merged_again(tmp_path):
    parts = [study_in(tmp_path / f"{n}", record(n)) for n in range(4)]
    merge_studies(parts[:3], tmp_path / "c")
    merge_studies([tmp_path / "c", parts[3]], tmp_path / "d")
    open_study_directory(tmp_path / "d", STUDY)
    assert [r.run_id for r in read_records(tmp_path / "d")] == [
        run_id(config) for config in CONFIGS[:4]
    ]


def test_runs_done_twice_with_the_same_result_are_there_once(tmp_path):
    mine, theirs = record(1, started="monday"), record(1, started="tuesday")
    first = study_in(tmp_path / "a", record(0), mine)
    second = study_in(tmp_path / "b", theirs, record(2))
    found = merge_studies([first, second], tmp_path / "c")
    assert (found.runs, found.agreeing) == (3, 1)
    assert mine in latest_records(tmp_path / "c")
    assert theirs not in latest_records(tmp_path / "c")


@pytest.mark.parametrize("status", [RunStatus.OK, RunStatus.DIVERGED, RunStatus.COLLAPSED])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_failed_run_loses_against_a_finished_one(tmp_path, status, order):
    failed, finished = record(1, RunStatus.FAILED), record(1, status)
    directories = [study_in(tmp_path / "a", failed), study_in(tmp_path / "b", finished)]
    found = merge_studies([directories[n] for n in order], tmp_path / "c")
    assert list(read_records(tmp_path / "c")) == [finished]
    assert (found.failed, found.agreeing) == (0, 0)


def test_a_retried_run_counts_as_it_ended_and_its_failed_tries_are_left_out(tmp_path):
    ended = record(1)
    first = study_in(tmp_path / "a", record(1, RunStatus.FAILED), ended)
    second = study_in(tmp_path / "b", record(1, RunStatus.FAILED), record(2, RunStatus.FAILED))
    third = study_in(tmp_path / "c", record(2, RunStatus.FAILED))
    found = merge_studies([first, second, third], tmp_path / "d")
    assert [r.status for r in read_records(tmp_path / "d")] == [RunStatus.OK, RunStatus.FAILED]
    assert next(read_records(tmp_path / "d")) == ended
    assert (found.runs, found.failed) == (2, 1)
    assert found.taken == {str(first): 1, str(second): 1, str(third): 0}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"test_accuracy": 0.8}},
        {"status": RunStatus.DIVERGED},
        {"history": [{"epoch": 1, "val_loss": 1.0}]},
        {"layers": {"0": {"rms": 1.0}}},
    ],
)
def test_conflicting_results_are_refused_and_named(tmp_path, change):
    first = study_in(tmp_path / "a", *(record(n) for n in range(8)))
    changed = [replace(record(n), **change) for n in range(1, 8)]
    second = study_in(tmp_path / "b", record(0), *changed)
    with pytest.raises(InputError) as caught:
        merge_studies([first, second], tmp_path / "c")
    names = sorted(run_id(CONFIGS[n]) for n in range(1, 8))
    assert str(caught.value) == (
        f"{second}: has other results than {first} of runs {', '.join(names[:5])} and 2 more; "
        "delete these lines from the journal you trust less, then merge again"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_different_studies_are_refused(tmp_path):
    first = study_in(tmp_path / "a", record(0))
    second = study_in(tmp_path / "b", study=study_of(seeds=4, epochs=2))
    with pytest.raises(InputError, match=r"b: holds another study than .*/a: \[train\] epochs is"):
        merge_studies([first, second], tmp_path / "c")
    judged = STUDY.model_copy(
        update={"analysis": STUDY.analysis.model_copy(update={"margin": 0.01})}
    )
    third = study_in(tmp_path / "d", study=judged)
    with pytest.raises(InputError, match=r"\[analysis\] margin is 0.005 there, 0.01 here"):
        merge_studies([first, third], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_cannot_be_merged_is_refused(tmp_path):
    first, second = study_in(tmp_path / "a", record(0)), study_in(tmp_path / "b", record(1))
    (tmp_path / "link").symlink_to(first)
    for given, out, error, problem in [
        ([first], "c", InputError, "two directories or more"),
        ([first, second, first], "c", InputError, "a: is named twice"),
        ([first, tmp_path / "link"], "c", InputError, "is named twice"),
        ([first, tmp_path / "none"], "c", StudyDirectoryError, "no such directory"),
        ([first, second], "b", InputError, "b: is there already; choose another --out"),
        ([first, second], "a/journal.jsonl/c", StorageError, "cannot be written"),
    ]:
        with pytest.raises(error, match=problem):
            merge_studies(given, tmp_path / out)
    (second / "journal.jsonl").write_text("{}\n")
    with pytest.raises(JournalError, match=r"b/journal\.jsonl:1: not a record"):
        merge_studies([first, second], tmp_path / "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "link"]


def test_weights_come_with_their_records(tmp_path):
    first = study_in(tmp_path / "a", record(0), record(1, RunStatus.FAILED))
    second = study_in(tmp_path / "b", record(0), record(1))
    for directory, number in [(first, 0), (second, 0), (second, 1)]:
        path = weights_path(directory, run_id(CONFIGS[number]))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{directory.name}{number}".encode())
    merge_studies([first, second], tmp_path / "c")
    kept = [weights_path(tmp_path / "c", run_id(CONFIGS[n])).read_bytes() for n in range(2)]
    assert kept == [b"a0", b"b1"]


def test_a_study_that_runs_can_be_merged(tmp_path):
    first, second = study_in(tmp_path / "a", record(0)), study_in(tmp_path / "b", record(1))
    with Journal(first) as journal:
        journal.append(record(2))
        with (first / "journal.jsonl").open("ab") as file:
            file.write(b'{"half a line')
        assert merge_studies([first, second], tmp_path / "c").runs == 3
        os.truncate(first / "journal.jsonl", (first / "journal.jsonl").stat().st_size - 13)


def test_the_index_of_a_merged_journal_is_made_with_it(tmp_path, monkeypatch):
    first, second = study_in(tmp_path / "a", record(0)), study_in(tmp_path / "b", record(1))
    monkeypatch.setattr(merge, "WORTH_BYTES", 1)
    merge_studies([first, second], tmp_path / "c")
    index = (tmp_path / "c" / "journal.index").read_bytes()
    monkeypatch.setattr("minaction.study.journal.WORTH_BYTES", 1)
    with Journal(tmp_path / "c") as journal:
        assert journal.finished == {record(0).run_id, record(1).run_id}
    assert (tmp_path / "c" / "journal.index").read_bytes() == index  # nothing was to be added


MERGE = """
import sys
from minaction.study.merge import merge_studies
print("begin", flush=True)
merge_studies(sys.argv[1:3], sys.argv[3])
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_merge_that_is_stopped_leaves_no_half_of_it(tmp_path, stop):
    big = study_of(seeds=800)
    configs = runs(big)
    lines = [
        Record(run_id=run_id(c), status=RunStatus.OK, config={**c}, metrics={"pad": "x" * 3000})
        for c in configs
    ]
    for name, some in [("a", lines[:1000]), ("b", lines[600:])]:
        open_study_directory(tmp_path / name, big)
        text = "".join(f"{each.to_line()}\n" for each in some)
        (tmp_path / name / "journal.jsonl").write_text(text)
    before = contents(tmp_path)
    command = [sys.executable, "-c", MERGE, *(str(tmp_path / name) for name in "abc")]
    moments = random.Random(3)
    for _ in range(3):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.6))
            process.send_signal(stop)
        left = {p.name for p in tmp_path.iterdir()} - {"a", "b", "c"}
        assert all(name.startswith(".c.") for name in left)
        assert len(left) <= 1  # what an earlier one left is removed
        assert not left or stop is signal.SIGKILL
        if (tmp_path / "c").exists():
            break
    if not (tmp_path / "c").exists():
        subprocess.run(command, check=True, capture_output=True)
    found = {p.name for p in tmp_path.iterdir()}
    assert "c" in found
    assert list(read_records(tmp_path / "c")) == lines
    after = {p: content for p, content in contents(tmp_path).items() if p.parts[0] in ("a", "b")}
    assert after == before


def test_a_merge_that_is_at_work_is_not_disturbed(tmp_path):
    first, second = study_in(tmp_path / "a", record(0)), study_in(tmp_path / "b", record(1))
    other, abandoned = tmp_path / ".c.11111111.partial", tmp_path / ".c.22222222.partial"
    for folder in (other, abandoned):
        folder.mkdir()
    with lock_directory(other):
        merge_studies([first, second], tmp_path / "c")
        assert other.is_dir()
    assert not abandoned.exists()
