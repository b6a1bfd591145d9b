from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minaction.errors import JournalError, StorageError, StudyDirectoryError
from minaction.study.journal import Journal, Record, RunStatus, latest_records, read_records

JOURNAL = "journal.jsonl"


def record(number: int, status: RunStatus = RunStatus.OK, size: int = 0) -> Record:
    return Record(
        run_id=f"{number:016x}",
        status=status,
        config={"dataset": "mnist", "lam": 1e-4, "seed": number},
        metrics={"test_accuracy": 0.99, "energy_activation": 142.0, "pad": "x" * size},
        history=[{"epoch": 1, "train_loss": 0.3}],
        error="out of memory" if status is RunStatus.FAILED else None,
    )


def write(directory: Path, *records: Record) -> None:
    with Journal(directory) as journal:
        for each in records:
            journal.append(each)


# Records

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
RECORDS = st.builds(
    Record,
    run_id=st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}"),
    status=st.sampled_from(RunStatus),
    config=OBJECTS,
    metrics=st.none() | OBJECTS,
    layers=OBJECTS,
    history=st.lists(OBJECTS, max_size=3),
    provenance=OBJECTS,
    error=st.none() | st.text(max_size=20),
)


@given(RECORDS)
def test_a_record_survives_its_line(original):
    line = original.to_line()
    assert line.isascii()
    assert line.isprintable()
    assert Record.from_line(line) == original
    assert Record.from_line(line).to_line() == line


@given(st.lists(RECORDS, max_size=5, unique_by=lambda each: each.run_id))
@settings(max_examples=30)
def test_records_survive_the_journal(originals):
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), *originals)
        assert list(read_records(directory)) == originals
        assert latest_records(directory) == sorted(originals, key=lambda each: each.run_id)


def test_a_line_is_canonical():
    one = Record(run_id="a", status=RunStatus.OK, config={"a": 1, "b": 2.0})
    other = Record(run_id="a", status=RunStatus.OK, config={"b": 2.0, "a": 1})
    assert one.to_line() == other.to_line()
    assert one.to_line() == (
        '{"config":{"a":1,"b":2.0},"error":null,"history":[],"layers":{},"metrics":null,'
        '"provenance":{},"run_id":"a","schema":1,"status":"ok"}'
    )


def test_what_json_cannot_hold_becomes_null():
    original = Record(
        run_id="a",
        status=RunStatus.DIVERGED,
        config={},
        metrics={"test_loss": float("nan")},
        history=[{"epoch": 1, "train_loss": float("inf"), "values": (1.0, -float("inf"))}],
        error="file \udcff",
    )
    line = original.to_line()
    assert "NaN" not in line
    assert "Infinity" not in line
    read = Record.from_line(line)
    assert read.metrics == {"test_loss": None}
    assert read.history == [{"epoch": 1, "train_loss": None, "values": [1.0, None]}]
    assert read.error == "file \\udcff"


GOOD = json.loads(record(1).to_line())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not a record"),
        ("[1]", "no JSON object"),
        ("null", "no JSON object"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(GOOD)[:-1], "not a record"),
        (json.dumps(GOOD).replace("142.0", "NaN"), "NaN is not JSON"),
        (json.dumps({**GOOD, "status": "fine"}), "unknown status 'fine'"),
        (json.dumps({**GOOD, "status": 1}), "'status' is missing or of a wrong type"),
        (json.dumps({**GOOD, "schema": True}), "'schema' is missing or of a wrong type"),
        (json.dumps({**GOOD, "layers": None}), "'layers' is missing or of a wrong type"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "error"}), "'error' is missing"),
        (json.dumps({**GOOD, "extra": 1}), "unknown field 'extra'"),
        (json.dumps({**GOOD, "schema": 2, "new": 1}), "upgrade minaction"),
    ],
)
def test_a_bad_line_names_file_and_line(tmp_path, content, problem):
    path = tmp_path / JOURNAL
    path.write_text(f"{record(1).to_line()}\n{content}\n{record(2).to_line()}\n")
    before = path.read_bytes()
    with pytest.raises(JournalError, match=problem) as caught:
        list(read_records(tmp_path))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert str(caught.value).isprintable()
    with pytest.raises(JournalError), Journal(tmp_path):
        pass
    assert path.read_bytes() == before
    path.write_text(f"{record(1).to_line()}\n")
    write(tmp_path, record(2))  # the lock was given back


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_journal_error(content):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / JOURNAL
        path.write_bytes(record(1).to_line().encode() + b"\n" + content)
        message = ""
        try:
            assert list(read_records(directory)) == [record(1)]
        except JournalError as error:
            message = str(error)
        if message:
            assert message.startswith(f"{path}:")
            assert message.isprintable()
        else:
            with Journal(directory) as journal:
                assert journal.finished == {record(1).run_id}


# Reading


def test_a_directory_without_a_journal_has_no_records(tmp_path):
    assert list(read_records(tmp_path)) == latest_records(tmp_path) == []


def test_a_missing_directory_is_refused(tmp_path):
    for use in (latest_records, lambda path: Journal(path).__enter__()):
        with pytest.raises(StudyDirectoryError, match="no such directory; give the --out"):
            use(tmp_path / "none")


def test_the_last_record_of_a_run_counts(tmp_path):
    write(tmp_path, record(2), record(1, RunStatus.FAILED), record(1), record(3, RunStatus.FAILED))
    assert len(list(read_records(tmp_path))) == 4
    assert latest_records(tmp_path) == [record(1), record(2), record(3, RunStatus.FAILED)]


def test_a_journal_can_be_read_while_it_is_written(tmp_path):
    with Journal(tmp_path) as journal:
        for number in range(5):
            journal.append(record(number))
            assert len(list(read_records(tmp_path))) == number + 1


def test_reading_streams(tmp_path):
    """The first record is there before the second line is looked at."""
    (tmp_path / JOURNAL).write_text(f"{record(1).to_line()}\nnot a record\n")
    records = read_records(tmp_path)
    assert next(records) == record(1)
    with pytest.raises(JournalError):
        next(records)


# Writing


def test_finished_runs_are_refused_and_failed_ones_tried_again(tmp_path):
    statuses = list(RunStatus)
    write(tmp_path, *(record(number, status) for number, status in enumerate(statuses)))
    with Journal(tmp_path) as journal:
        failed = statuses.index(RunStatus.FAILED)
        finished = set(range(len(statuses))) - {failed}
        assert journal.finished == {record(n).run_id for n in finished}
        before = journal.path.read_bytes()
        with pytest.raises(JournalError, match="in the journal already"):
            journal.append(record(0))
        assert journal.path.read_bytes() == before
        journal.append(record(failed))
        with pytest.raises(JournalError, match="in the journal already"):
            journal.append(record(failed))


def test_a_journal_is_written_only_inside_its_context(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(JournalError, match="not open"):
        journal.append(record(1))
    with journal:
        journal.append(record(1))
    with pytest.raises(JournalError, match="not open"):
        journal.append(record(2))
    assert latest_records(tmp_path) == [record(1)]


def test_every_possible_tear_is_repaired(tmp_path):
    path = tmp_path / JOURNAL
    lines = [record(number).to_line().encode() + b"\n" for number in range(3)]
    whole = b"".join(lines)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = sum(cut >= len(b"".join(lines[: n + 1])) - 1 for n in range(3))
        assert list(read_records(tmp_path)) == [record(n) for n in range(kept)]
        assert path.read_bytes() == whole[:cut]
        if cut % 7 == 0 or cut > len(whole) - 3:
            with Journal(tmp_path) as journal:
                assert len(journal.finished) == kept
                assert path.read_bytes() == b"".join(lines[:kept])


def test_a_tail_of_zeros_is_a_tear(tmp_path):
    path = tmp_path / JOURNAL
    path.write_bytes(record(1).to_line().encode() + b"\n" + bytes(4096))
    write(tmp_path, record(2))
    assert list(read_records(tmp_path)) == [record(1), record(2)]


def test_a_record_of_a_newer_version_is_never_cut_off(tmp_path):
    newer = json.dumps({**GOOD, "schema": 2})
    (tmp_path / JOURNAL).write_text(newer)
    with pytest.raises(JournalError, match="upgrade"), Journal(tmp_path):
        pass
    assert (tmp_path / JOURNAL).read_text().rstrip("\n") == newer


def test_an_interrupted_append_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with Journal(tmp_path) as journal:
        journal.append(record(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", interrupt)
            with pytest.raises(KeyboardInterrupt):
                journal.append(record(2))
        assert list(read_records(tmp_path)) == [record(1)]
        journal.append(record(2))
    assert list(read_records(tmp_path)) == [record(1), record(2)]


@pytest.mark.parametrize("how", ["moved", "replaced"])
def test_a_journal_that_was_taken_away_is_noticed(tmp_path, how):
    with Journal(tmp_path) as journal:
        journal.append(record(1))
        journal.path.rename(tmp_path / "elsewhere")
        if how == "replaced":
            journal.path.write_text("")
        with pytest.raises(StorageError):
            journal.append(record(2))
    assert (tmp_path / "elsewhere").read_text() == record(1).to_line() + "\n"


# Other processes

WRITER = """
import sys, time
from pathlib import Path
from minaction.errors import MinActionError
from minaction.study.journal import Journal, Record, RunStatus

def record(number, size):
    return Record(run_id=f"{number:016x}", status=RunStatus.OK, config={"seed": number},
                  metrics={"pad": "x" * size})
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_driver_is_refused_and_the_lock_dies_with_its_holder(tmp_path):
    first = python(
        "with Journal(sys.argv[1]) as j:\n"
        "    j.append(record(1, 0)); print('locked', flush=True); time.sleep(60)",
        tmp_path,
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(StudyDirectoryError, match="another process is running this study"):
            write(tmp_path, record(2))
        assert len(latest_records(tmp_path)) == 1
        first.kill()
    write(tmp_path, record(2))
    assert len(latest_records(tmp_path)) == 2


def test_a_second_journal_of_the_same_process_is_refused(tmp_path):
    with Journal(tmp_path), pytest.raises(StudyDirectoryError, match="another process"):
        write(tmp_path, record(1))
    write(tmp_path, record(1))


def test_kill_at_random_moments_loses_no_acknowledged_record(tmp_path):
    moments = random.Random(7)
    acknowledged: set[str] = set()
    for _ in range(8):
        writer = python(
            "with Journal(sys.argv[1]) as j:\n"
            "    print('open', flush=True)\n"
            "    n = len(j.finished)\n"
            "    while True:\n"
            "        r = record(n, 200_000); j.append(r); print(r.run_id, flush=True); n += 1",
            tmp_path,
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            time.sleep(moments.uniform(0, 0.05))
            writer.kill()
            acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
        found = [each.run_id for each in read_records(tmp_path)]
        assert len(found) == len(set(found))
        assert acknowledged <= set(found)
        # The one record that may have reached the disk without its acknowledgement.
        assert len(found) <= len(acknowledged) + 1
        acknowledged = set(found)
    assert acknowledged
    with Journal(tmp_path) as journal:
        assert journal.finished == acknowledged


def test_a_file_that_may_not_grow_stays_readable_and_resumes(tmp_path):
    """A real EFBIG in the middle of a line, by the file size limit."""
    limited = python(
        "import resource\n"
        "with Journal(sys.argv[1]) as j:\n"
        "    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))\n"
        "    n = 0\n"
        "    try:\n"
        "        while True: j.append(record(n, 1000)); n += 1\n"
        "    except MinActionError as e: print(n, type(e).__name__, e, sep='|')\n"
        "    print(Path(sys.argv[1], 'journal.jsonl').read_bytes().endswith(b'\\n'))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "    j.append(record(n, 1000))",
        tmp_path,
    )
    out, err = limited.communicate()
    assert (limited.returncode, err) == (0, "")
    failure, whole = out.splitlines()
    number, kind, message = failure.split("|")
    assert (number, kind, whole) == ("4", "StorageError", "True")
    assert message.startswith(f"{tmp_path / JOURNAL}: cannot be read or written (File too large)")
    assert [each.config["seed"] for each in read_records(tmp_path)] == [0, 1, 2, 3, 4]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A real file system of 64 KiB, where the machine lets us mount one."""
    point = tmp_path / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(point)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def fill(journal: Journal) -> None:
    for number in itertools.count():
        journal.append(record(number, size=3000))


def test_a_full_disk(small_disk):
    with Journal(small_disk) as journal:
        with pytest.raises(StorageError, match="No space left on device"):
            fill(journal)
        written = len(journal.finished)
        assert 10 < written < 64
        assert len(list(read_records(small_disk))) == written
        with pytest.raises(StorageError, match="No space left on device"):
            journal.append(record(written, size=30_000))
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    write(small_disk, record(written, size=3000))
    assert len(list(read_records(small_disk))) == written + 1


def test_a_read_only_disk(small_disk):
    write(small_disk, record(1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="Read-only file system"):
        write(small_disk, record(2))
    assert list(read_records(small_disk)) == [record(1)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in any directory")
def test_a_read_only_directory(tmp_path):
    write(tmp_path, record(1))
    (tmp_path / JOURNAL).chmod(0o444)
    with pytest.raises(StorageError, match="Permission denied"):
        write(tmp_path, record(2))
    assert list(read_records(tmp_path)) == [record(1)]
