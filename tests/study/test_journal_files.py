from __future__ import annotations

import gzip
import random
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from minaction.errors import JournalError, StorageError
from minaction.study import journal_files
from minaction.study.journal import Journal, last_records, latest_records, read_records
from minaction.study.journal_files import open_journal, part_count, repair_last_line
from minaction.study.record import Record, RunStatus

PART = 800  # bytes: six records


def record(number, status=RunStatus.OK, size=0):
    return Record(
        run_id=f"{number:016x}",
        status=status,
        config={"seed": number},
        metrics={"pad": "x" * size},
        error="no luck" if status is RunStatus.FAILED else None,
    )


def write(directory, numbers, rotate_bytes=PART):
    with Journal(directory, rotate_bytes=rotate_bytes) as journal:
        for number in numbers:
            journal.append(record(number))


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != "journal.lock")


@pytest.fixture
def rotated(tmp_path):
    """A journal of 20 runs in three parts and what follows them."""
    write(tmp_path, range(20))
    return tmp_path


def test_a_journal_that_grows_becomes_compressed_parts(rotated):
    assert names(rotated) == [
        "journal.00001.jsonl.gz",
        "journal.00002.jsonl.gz",
        "journal.00003.jsonl.gz",
        "journal.jsonl",
    ]
    whole = b"".join(
        gzip.decompress(rotated.joinpath(name).read_bytes()) for name in names(rotated)[:3]
    )
    whole += (rotated / "journal.jsonl").read_bytes()
    assert whole == b"".join(f"{record(n).to_line()}\n".encode() for n in range(20))


def test_parts_are_read_as_if_they_were_one_file(rotated):
    assert list(read_records(rotated)) == [record(n) for n in range(20)]
    assert latest_records(rotated) == list(last_records(rotated)) == list(read_records(rotated))
    with Journal(rotated) as journal:
        assert journal.finished == {record(n).run_id for n in range(20)}
        with pytest.raises(JournalError, match="in the journal already"):
            journal.append(record(3))
        journal.append(record(20))
    assert [each.config["seed"] for each in read_records(rotated)] == list(range(21))


def test_a_part_without_compression_is_read_too(rotated):
    packed = rotated / "journal.00002.jsonl.gz"
    (rotated / "journal.00002.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    expected = [record(n) for n in range(20)]
    assert list(read_records(rotated)) == expected  # both forms: each line once
    packed.unlink()
    assert list(read_records(rotated)) == expected
    write(rotated, [])
    assert packed.exists()
    assert not (rotated / "journal.00002.jsonl").exists()
    assert list(read_records(rotated)) == expected


def test_a_missing_part_is_named(rotated):
    (rotated / "journal.00002.jsonl.gz").unlink()
    for use in (latest_records, lambda path: Journal(path).__enter__()):
        with pytest.raises(JournalError, match=r"journal\.00002\.jsonl\.gz: this part of the jour"):
            use(rotated)


@pytest.mark.parametrize("damage", ["cut", "byte", "no gzip"])
def test_a_damaged_part_is_named(rotated, damage):
    path = rotated / "journal.00002.jsonl.gz"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-20:]
    elif damage == "byte":
        content[len(content) // 2] ^= 0xFF
    else:
        content[:] = b"something else"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.00002\.jsonl\.gz(:\d+)?: .*; restore"):
        list(read_records(rotated))
    path.write_bytes(gzip.compress(b'{"not": "a record"}\n'))
    with pytest.raises(JournalError, match=r"journal\.00002\.jsonl\.gz:1: not a record"):
        list(read_records(rotated))


def test_every_moment_at_which_a_rotation_can_stop_is_whole(rotated):
    """The states on the disk between the steps of a rotation, each read and resumed."""
    expected = [record(n) for n in range(20)]
    live, part = rotated / "journal.jsonl", rotated / "journal.00004.jsonl"
    packed = rotated / "journal.00004.jsonl.gz"
    content = live.read_bytes()

    def renamed():
        live.rename(part)

    def begun():
        live.write_bytes(b"")

    def half_compressed():
        packed.with_name(f"{packed.name}.partial").write_bytes(gzip.compress(content)[:30])

    def compressed():
        packed.write_bytes(gzip.compress(content))

    for step in (renamed, begun, half_compressed, compressed):
        step()
        assert list(read_records(rotated)) == expected
        assert part_count(rotated) == 4
    write(rotated, [20])
    assert list(read_records(rotated)) == [*expected, record(20)]
    assert not part.exists()


def test_where_a_part_cannot_be_compressed_it_stays_as_it_is(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_files.shutil, "copyfileobj", full)
        write(tmp_path, range(12))
    assert "journal.00001.jsonl" in names(tmp_path)
    assert not [name for name in names(tmp_path) if name.endswith(("gz", "partial"))]
    assert list(read_records(tmp_path)) == [record(n) for n in range(12)]
    write(tmp_path, [12])
    assert "journal.00001.jsonl.gz" in names(tmp_path)
    assert list(read_records(tmp_path)) == [record(n) for n in range(13)]


def test_where_no_file_can_be_begun_the_journal_is_as_before(tmp_path, monkeypatch):
    with Journal(tmp_path, rotate_bytes=300) as journal:
        journal.append(record(1))
        opening = type(journal.path).open

        def refuse(path, *arguments, **options):
            if path == journal.path and not path.exists():
                raise OSError(24, "Too many open files")
            return opening(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(type(journal.path), "open", refuse)
            with pytest.raises(StorageError, match="Too many open files"):
                journal.append(record(2, size=300))
        assert names(tmp_path) == ["journal.jsonl"]
        journal.append(record(3))
    assert sorted(r.config["seed"] for r in read_records(tmp_path)) == [1, 2, 3]


WRITER = """
import sys
from minaction.study.journal import Journal, Record, RunStatus
with Journal(sys.argv[1], rotate_bytes=int(sys.argv[2])) as journal:
    print("open", flush=True)
    n = len(journal.finished)
    while True:
        r = Record(run_id=f"{n:016x}", status=RunStatus.OK, config={"seed": n},
                   metrics={"pad": "x" * int(sys.argv[3])})
        journal.append(r)
        print(r.run_id, flush=True)
        n += 1
"""


def writer(directory, rotate_bytes, size):
    command = [sys.executable, "-c", WRITER, directory, rotate_bytes, size]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def kill_writers(directory, kills):
    """Kill writers whose journals rotate every few records; nothing acknowledged may be lost."""
    moments, acknowledged = random.Random(kills), set()
    for _ in range(kills):
        with writer(directory, 100_000, 20_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            time.sleep(moments.uniform(0, 0.1))
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        found = [each.run_id for each in read_records(directory)]
        assert len(found) == len(set(found))
        assert acknowledged <= set(found)
        assert len(found) <= len(acknowledged) + 1
        acknowledged = set(found)
    assert part_count(directory) >= 2
    with Journal(directory) as journal:
        assert journal.finished == acknowledged


def test_kill_9_while_the_journal_rotates_loses_nothing(tmp_path):
    kill_writers(tmp_path, 6)


@pytest.mark.slow
def test_100_kills_while_the_journal_rotates_lose_nothing(tmp_path):
    kill_writers(tmp_path, 100)


def test_readers_see_whole_lines_once_while_the_journal_is_written_and_rotated(tmp_path):
    seen = []
    with writer(tmp_path, 20_000, 3000) as process:
        assert process.stdout is not None
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            seeds = [each.config["seed"] for each in read_records(tmp_path)]
            assert seeds == list(range(len(seeds)))
            seen.append(len(seeds))
        process.kill()
        drain.join()
    assert part_count(tmp_path) > 3
    assert seen[-1] > seen[0]
    assert all(one <= other for one, other in pairwise(seen))


def test_a_reader_holds_on_to_the_files_it_began_with(tmp_path):
    with Journal(tmp_path, rotate_bytes=PART) as journal:
        for number in range(4):
            journal.append(record(number))
        with open_journal(tmp_path) as view:
            lines = view.lines()
            next(lines)
            for number in range(4, 20):
                journal.append(record(number))
            rest = [line.content for line in lines]
    assert len(rest) + 1 >= 4
    assert rest == [f"{record(n).to_line()}\n".encode() for n in range(1, len(rest) + 1)]


def test_the_last_line_is_found_from_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_files, "_CHUNK", 7)
    path = tmp_path / "journal.jsonl"
    for whole, torn in [(b"", b'{"a": 1'), (b'{"a": 1}\n', b""), (b"{}\n" * 9, b"{" * 30)]:
        path.write_bytes(whole + torn)
        repair_last_line(path)
        assert path.read_bytes() == whole
    path.write_bytes(b"{}\n" * 5 + b'{"b": 2222222222222}')
    repair_last_line(path)
    assert path.read_bytes() == b"{}\n" * 5 + b'{"b": 2222222222222}\n'
