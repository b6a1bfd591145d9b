"""The journal of a study: the only reader and writer of `DIR/journal.jsonl` and its parts.

Append-only, one line of canonical JSON a run, on the disk before the next run is recorded. One
process writes, under a lock; anybody may read at any time. What can tear is the last line, and
only a write cut short by a crash or a full disk tears it: a line without its newline.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from minaction.errors import JournalError, MinActionError
from minaction.study.journal_files import (
    JOURNAL_NAME,
    compress_parts,
    lock_directory,
    open_journal,
    part_count,
    part_path,
    repair_last_line,
    storage_error,
    sync_directory,
)
from minaction.study.journal_index import WORTH_BYTES, read_ledger, write_index
from minaction.study.record import Record, RunStatus, parse_line

INDEXED_AGAIN = 16
"""The index is written again when the journal has grown by this part of its size."""


class Journal:
    """The one writer of a study's journal, a context manager.

    Entering takes the lock, repairs a torn last line and finds out which runs are finished.

    Args:
        directory: The study's directory.
        rotate_bytes: Size at which the journal's file becomes a compressed part, and another is
            begun; None for never.

    Attributes:
        path: The file that is written.
        finished: Ids of the runs that need no further try: ok, diverged or collapsed.

    Raises:
        StudyDirectoryError: On entering, if the directory is missing or another process writes.
        JournalError: On entering, if a line is unreadable; the message names file and line.
        StorageError: If the disk refuses a write; every record appended before is intact.
    """

    def __init__(self, directory: str | Path, *, rotate_bytes: int | None = None) -> None:
        self.path = Path(directory) / JOURNAL_NAME
        self.finished: set[str] = set()
        self._rotate_bytes = rotate_bytes
        self._file: FileIO | None = None
        self._open = contextlib.ExitStack()
        self._torn_at: int | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            opening.enter_context(lock_directory(self.path.parent))
            try:
                self._file = self.path.open("ab", buffering=0)
                opening.callback(self._close)
                repair_last_line(self.path)
                self._changed_at, self._edited = _changed_at(self._file), False
                sync_directory(self.path.parent)
                self._parts = part_count(self.path.parent)
            except OSError as error:
                raise storage_error(self.path, error) from error
            self._ledger = read_ledger(self.path.parent)
            self.finished = self._ledger.finished()
            self._compress_parts()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._open:
            self._write_index(after=1)

    def append(self, record: Record) -> None:
        """Write one record; when this returns it is on the disk.

        Raises:
            JournalError: If the run is finished already, or the journal is not open.
            StorageError: If the disk refuses; the journal is then as it was before the call.
        """
        if self._file is None:
            raise JournalError("the journal is not open; append inside `with Journal(...)`")
        if record.run_id in self.finished:
            raise JournalError(f"run {record.run_id} is in the journal already; skip finished runs")
        line = record.to_line().encode("ascii") + b"\n"
        try:
            self._cut_torn_line(self._file)
            self._torn_at = self._size_of_named_file(self._file)
            _write_all(self._file, line)
            os.fsync(self._file.fileno())
            self._torn_at, self._changed_at = None, _changed_at(self._file)
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._cut_torn_line(self._file)
            if isinstance(error, OSError):
                raise storage_error(self.path, error) from error
            raise
        self._note(record, line)
        if self._rotate_bytes and self._ledger.files[self._parts].size >= self._rotate_bytes:
            self._rotate(self._file)
        self._write_index(after=max(WORTH_BYTES, self._ledger.size // INDEXED_AGAIN))

    def _note(self, record: Record, line: bytes) -> None:
        self._ledger.note(self._parts + 1, line, record.run_id, record.status, record.error)
        if record.status is RunStatus.FAILED:
            self.finished.discard(record.run_id)
        else:
            self.finished.add(record.run_id)

    def _rotate(self, file: FileIO) -> None:
        """Make the file that is written a part, begin another, and compress the part.

        Where there is no room to compress it, it stays as it is.

        Raises:
            StorageError: If another file cannot be begun.
        """
        part = part_path(self.path.parent, self._parts + 1)
        try:
            self.path.rename(part)
            try:
                self._file = self.path.open("ab", buffering=0)
            except OSError:
                part.rename(self.path)
                raise
            file.close()
            self._parts += 1
            self._changed_at = _changed_at(self._file)
            sync_directory(self.path.parent)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._compress_parts()

    def _compress_parts(self) -> None:
        if self._rotate_bytes:
            with contextlib.suppress(OSError, MinActionError):
                done = compress_parts(self.path.parent)
                with open_journal(self.path.parent) as view:
                    for number in done:
                        self._ledger.files[number - 1].mark = view.mark(number)

    def _write_index(self, after: int) -> None:
        """Store the index once so many bytes are not in it; where that fails, there is none.

        None is stored of a journal that somebody else has changed meanwhile.
        """
        size, file = self._ledger.size, self._file
        if file is not None and size >= WORTH_BYTES and size - self._ledger.stored >= after:
            with contextlib.suppress(OSError, MinActionError):
                self._size_of_named_file(file)
                if self._edited:
                    return
                write_index(self.path.parent, self._ledger)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut_torn_line(self, file: FileIO) -> None:
        if self._torn_at is not None:
            os.ftruncate(file.fileno(), self._torn_at)
            self._torn_at, self._changed_at = None, _changed_at(file)

    def _size_of_named_file(self, file: FileIO) -> int:
        """Return the size of the open file, having made sure that it still is the journal."""
        opened = os.fstat(file.fileno())
        if not os.path.samestat(opened, self.path.stat()):
            raise OSError("the file was replaced while the study ran")
        self._edited |= opened.st_mtime_ns != self._changed_at
        return opened.st_size


def read_records(directory: str | Path) -> Iterator[Record]:
    """Read a journal line by line, also while another process writes it.

    A torn last line is passed over and no file touched; a directory without a journal has no
    records.

    Raises:
        StudyDirectoryError: If the directory is missing.
        JournalError: If a line cannot be read; the message names file and line.
        StorageError: If the disk refuses the read.
    """
    with open_journal(directory) as view:
        for line in view.lines():
            yield parse_line(line.path, line.number, line.content)


def last_records(directory: str | Path) -> Iterator[Record]:
    """Yield the last record of every run, in the order of the journal, holding none of them.

    Runs that are recorded while this goes on are left out. See `read_records` for errors.
    """
    last = read_ledger(directory).last_lines()
    with open_journal(directory) as view:
        for line, counts in zip(view.lines(), last, strict=False):
            if counts:
                yield parse_line(line.path, line.number, line.content)


def latest_records(directory: str | Path) -> list[Record]:
    """Return the last record of every run, sorted by run id; see `read_records` for errors."""
    latest = {record.run_id: record for record in read_records(directory)}
    return [latest[run_id] for run_id in sorted(latest)]


def repeated_runs(directory: str | Path) -> dict[str, list[int]]:
    """Return the runs that were recorded again after they were finished, with all their lines.

    The program never writes such a line: the file was edited or put together from two. Tries that
    failed before a run was finished are no repetition. See `read_records` for errors.

    Returns:
        Line numbers, from 1 and through all parts, of the first finished record and all later
        ones, by run id, sorted.
    """
    return read_ledger(directory).repeated()


def _changed_at(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_mtime_ns


def _write_all(file: FileIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]
