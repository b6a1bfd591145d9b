from __future__ import annotations

import gzip
import os
import shutil
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minaction.errors import JournalError
from minaction.study import journal, journal_index, ledger
from minaction.study.journal import (
    Journal,
    last_records,
    latest_records,
    read_records,
    repeated_runs,
)
from minaction.study.journal_files import open_journal
from minaction.study.journal_index import INDEX_NAME, ledger_of, read_ledger
from minaction.study.record import Record, RunStatus

PART = 1200


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    """Any journal is worth an index here, in blocks of 64 bytes."""
    for module in (journal, journal_index):
        monkeypatch.setattr(module, "WORTH_BYTES", 1)
    for module in (ledger, journal_index):
        monkeypatch.setattr(module, "BLOCK", 64)


def record(number, status=RunStatus.OK, error=None):
    return Record(run_id=f"{number:016x}", status=status, config={"seed": number}, error=error)


def write(directory, *records, rotate_bytes=None):
    with Journal(directory, rotate_bytes=rotate_bytes) as opened:
        for each in records:
            opened.append(each)


def facts(directory):
    """What a ledger says, and what the records say without one."""
    found = read_ledger(directory)
    records = list(read_records(directory))
    latest = {each.run_id: each for each in records}
    finished = {n for n, r in latest.items() if r.status is not RunStatus.FAILED}
    said = (
        list(found.names()),
        [ledger.STATUSES[status] for status in found.statuses],
        found.latest(),
        found.finished(),
        found.errors(),
    )
    true = (
        [each.run_id for each in records],
        [each.status for each in records],
        {name: each.status for name, each in latest.items()},
        finished,
        Counter(each.error for each in latest.values() if each.error),
    )
    return said, true


def assert_true(directory):
    said, true = facts(directory)
    assert said == true
    with Journal(directory) as opened:
        assert opened.finished == true[3]
    said, true = facts(directory)
    assert said == true


def parsed_lines(directory, monkeypatch):
    """How many lines reading the ledger parses."""
    count = 0
    parse = ledger.parse_line

    def counted(*arguments):
        nonlocal count
        count += 1
        return parse(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "parse_line", counted)
        read_ledger(directory)
    return count


@pytest.fixture
def directory(tmp_path):
    """Twelve lines, one run failed for good and one at first, in one file."""
    write(tmp_path, *(record(n) for n in range(8)), record(8, RunStatus.FAILED, "no luck"))
    write(tmp_path, record(9, RunStatus.FAILED, "memory"), record(9), record(10))
    return tmp_path


@pytest.fixture(params=["one file", "parts"])
def indexed(request, directory, tmp_path_factory):
    """The same as one file and as compressed parts."""
    if request.param == "one file":
        return directory
    rotated = tmp_path_factory.mktemp("rotated")
    tries = list(read_records(directory))
    write(rotated, *tries, rotate_bytes=PART)
    assert len(list(rotated.glob("*.gz"))) >= 1
    return rotated


def test_an_index_spares_parsing_and_says_the_same(indexed, monkeypatch):
    assert (indexed / INDEX_NAME).exists()
    assert parsed_lines(indexed, monkeypatch) == 0
    assert_true(indexed)


def test_a_missing_index_is_made_again(indexed, monkeypatch):
    (indexed / INDEX_NAME).unlink()
    assert parsed_lines(indexed, monkeypatch) == 12
    assert not (indexed / INDEX_NAME).exists()  # who reads writes nothing
    assert_true(indexed)
    assert parsed_lines(indexed, monkeypatch) == 0


def test_no_cut_and_no_changed_byte_of_an_index_is_believed(directory, monkeypatch):
    path = directory / INDEX_NAME
    whole = path.read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))
    ]
    expected = facts(directory)[1]
    for content in damaged[::17]:
        path.write_bytes(content)
        assert parsed_lines(directory, monkeypatch) == 12
    path.write_bytes(damaged[1])
    assert facts(directory) == (expected, expected)
    assert_true(directory)


@given(content=st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes_may_stand_where_the_index_is(content, tmp_path_factory):
    directory = tmp_path_factory.mktemp("any")
    write(directory, record(1))
    (directory / INDEX_NAME).write_bytes(content)
    assert_true(directory)


def test_an_index_that_is_a_folder_or_unreadable_does_no_harm(directory):
    (directory / INDEX_NAME).unlink()
    (directory / INDEX_NAME).mkdir()
    assert_true(directory)
    write(directory, record(11))
    assert_true(directory)


def test_what_was_appended_since_is_read_from_the_journal(indexed, monkeypatch):
    index = (indexed / INDEX_NAME).read_bytes()
    write(indexed, record(20), record(21, RunStatus.COLLAPSED))
    (indexed / INDEX_NAME).write_bytes(index)
    assert parsed_lines(indexed, monkeypatch) == 2
    assert_true(indexed)


def test_every_edit_of_the_journal_is_seen_though_its_size_and_time_are_kept(directory):
    path = directory / "journal.jsonl"
    times = path.stat()
    index = (directory / INDEX_NAME).read_bytes()
    text = path.read_text()
    for number in range(8):
        (directory / INDEX_NAME).write_bytes(index)
        path.write_text(text.replace(f'"{number:016x}"', f'"{number + 100:016x}"'))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert path.stat().st_size == times.st_size
        assert f"{number + 100:016x}" in read_ledger(directory).finished()
        said, true = facts(directory)
        assert said == true


def test_a_cut_replaced_or_copied_journal_is_read_anew(directory, tmp_path_factory, monkeypatch):
    path = directory / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    index = (directory / INDEX_NAME).read_bytes()
    for rest in (lines[:5], lines[5:], [*lines[3:], *lines[:3]], []):
        (directory / INDEX_NAME).write_bytes(index)
        path.unlink()
        path.write_text("".join(rest))
        assert_true(directory)
    path.write_text("".join(lines))
    (directory / INDEX_NAME).write_bytes(index)
    copied = shutil.copytree(directory, tmp_path_factory.mktemp("copy") / "study")
    assert parsed_lines(copied, monkeypatch) == 0  # other inodes, the same bytes
    path.unlink()
    assert_true(directory)


def test_a_damaged_line_is_an_error_with_and_without_an_index(indexed):
    path = indexed / "journal.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"status":"ok"', '"status":"no"', 1))
    index = indexed / INDEX_NAME
    messages = set()
    for _ in range(2):
        with pytest.raises(JournalError, match="unknown status 'no'") as caught:
            read_ledger(indexed)
        messages.add(str(caught.value))
        index.unlink(missing_ok=True)
    assert len(messages) == 1


def test_an_index_that_had_to_be_compared_is_written_again(directory):
    index = directory / INDEX_NAME
    before = index.read_bytes()
    write(directory)
    assert index.read_bytes() == before
    os.utime(directory / "journal.jsonl")
    write(directory)
    assert index.read_bytes() != before
    assert_true(directory)


def test_a_journal_that_is_edited_while_it_is_written_gets_no_index(directory):
    path = directory / "journal.jsonl"
    with Journal(directory) as opened:
        opened.append(record(30))
        (directory / INDEX_NAME).unlink()
        time.sleep(0.02)  # the clock of files ticks
        text = path.read_bytes().replace(b'"0000000000000003"', b'"0000000000000f03"')
        with path.open("r+b") as file:
            file.write(text)
        opened.append(record(31))
    assert not (directory / INDEX_NAME).exists()
    assert_true(directory)


def test_a_part_that_is_edited_while_the_journal_is_written_is_compared(tmp_path):
    write(tmp_path, *(record(n) for n in range(30)), rotate_bytes=PART)
    part = sorted(tmp_path.glob("*.gz"))[0]
    with Journal(tmp_path, rotate_bytes=PART) as opened:
        text = gzip.decompress(part.read_bytes())
        part.write_bytes(gzip.compress(text.replace(b'"0000000000000001"', b'"0000000000000f01"')))
        for number in range(30, 60):
            opened.append(record(number))
    said, true = facts(tmp_path)
    assert said == true
    assert record(1).run_id not in read_ledger(tmp_path).finished()


def test_a_last_line_without_its_newline_counts_for_everybody(tmp_path):
    write(tmp_path, record(1), record(2))
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(record(3, RunStatus.FAILED, "no luck").to_line())
    said, true = facts(tmp_path)
    assert said == true
    assert len(said[0]) == 3
    assert list(last_records(tmp_path)) == latest_records(tmp_path)
    assert_true(tmp_path)


@pytest.mark.parametrize("change", ["replaced", "removed", "damaged"])
def test_parts_are_not_taken_on_trust(tmp_path, change):
    write(tmp_path, *(record(n) for n in range(30)), rotate_bytes=PART)
    parts = sorted(tmp_path.glob("*.gz"))
    assert len(parts) >= 2
    if change == "replaced":
        parts[1].write_bytes(parts[0].read_bytes())
        said, true = facts(tmp_path)
        assert said == true
        assert len(repeated_runs(tmp_path)) > 3
    elif change == "removed":
        parts[-1].unlink()
        with pytest.raises(JournalError, match=r"missing; .*, or delete journal\.index if"):
            read_ledger(tmp_path)
        (tmp_path / INDEX_NAME).unlink()
        said, true = facts(tmp_path)
        assert said == true
    else:
        parts[0].write_bytes(parts[0].read_bytes()[:-9])
        with pytest.raises(JournalError, match=r"00001\.jsonl\.gz: is damaged"):
            read_ledger(tmp_path)


def test_a_reader_who_opened_the_journal_before_it_was_rotated_misses_no_part(tmp_path):
    write(tmp_path, record(1), record(2))
    with open_journal(tmp_path) as view:
        write(tmp_path, record(3), record(4), rotate_bytes=1)  # its index names two parts
        assert sorted(ledger_of(view, tmp_path).names()) == [record(n).run_id for n in (1, 2, 3)]
    assert_true(tmp_path)


def test_an_index_from_before_a_rotation_still_helps(tmp_path, monkeypatch):
    """A crash between the rotation and the index: the index calls the part the live file."""
    write(tmp_path, *(record(n) for n in range(5)))
    index = (tmp_path / INDEX_NAME).read_bytes()
    write(tmp_path, record(5), record(6), rotate_bytes=1)
    (tmp_path / INDEX_NAME).write_bytes(index)
    assert parsed_lines(tmp_path, monkeypatch) == 2
    assert_true(tmp_path)


def test_small_journals_have_no_index(tmp_path, monkeypatch):
    monkeypatch.undo()
    write(tmp_path, *(record(n) for n in range(50)))
    assert not (tmp_path / INDEX_NAME).exists()


def test_ids_no_program_makes_are_known_without_an_index(tmp_path):
    odd = Record(run_id="Odd", status=RunStatus.OK, config={})
    write(tmp_path, odd, record(1), record(2))
    assert not (tmp_path / INDEX_NAME).exists()
    assert list(read_ledger(tmp_path).names()) == ["Odd", record(1).run_id, record(2).run_id]
    assert_true(tmp_path)


def test_a_disk_that_refuses_the_index_does_not_stop_the_study(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "write_index", full)
    write(tmp_path, record(1), record(2))
    assert_true(tmp_path)


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from(RunStatus), st.sampled_from(["no luck", "memory"])
    ),
    max_size=25,
)


@given(RECORDS, st.sampled_from([None, 300, 900]), st.integers(0, 25))
@settings(max_examples=60)
def test_a_ledger_says_what_the_records_say(tmp_path_factory, drawn, rotate_bytes, again):
    """Also for journals put together by hand, where finished runs come again."""
    directory = tmp_path_factory.mktemp("drawn")
    lines = []
    for number, status, error in drawn:
        failed = status is RunStatus.FAILED
        lines.append(record(number, status, error if failed else None))
    finished = set()
    with Journal(directory, rotate_bytes=rotate_bytes) as opened:
        for each in lines[again:]:
            if each.run_id not in finished:
                opened.append(each)
            if each.status is not RunStatus.FAILED:
                finished.add(each.run_id)
    with (directory / "journal.jsonl").open("a") as file:
        file.writelines(f"{each.to_line()}\n" for each in lines[:again])
    assert_true(directory)
    assert read_ledger(directory).repeated() == repeated_runs(directory) == naive_repeats(directory)
    last = read_ledger(directory).last_lines()
    marked = {r.run_id: r for r, mark in zip(read_records(directory), last, strict=True) if mark}
    assert [marked[name] for name in sorted(marked)] == latest_records(directory)


def naive_repeats(directory):
    lines = {}
    for number, each in enumerate(read_records(directory), start=1):
        if each.run_id in lines or each.status is not RunStatus.FAILED:
            lines.setdefault(each.run_id, []).append(number)
    return {name: lines[name] for name in sorted(lines) if len(lines[name]) > 1}
