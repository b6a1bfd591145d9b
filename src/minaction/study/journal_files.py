"""The files of a journal: `journal.jsonl`, and the parts of it that were rotated away.

`journal.00001.jsonl.gz`, `journal.00002.jsonl.gz`, ... and at last `journal.jsonl`: read one after
the other they are the journal. A part is first the renamed file and then its compressed copy, so
that at every moment each line is in exactly one of the files that count: where both forms of a part
are there, the compressed one does. A file is known by its number, the live one by the highest.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from minaction.errors import JournalError, StorageError, StudyDirectoryError
from minaction.study.toml_text import one_line

JOURNAL_NAME = "journal.jsonl"
LOCK_NAME = "journal.lock"
_PART = re.compile(r"journal\.(\d{5,})\.jsonl(?:\.gz)?")
_PARTIAL = ".partial"
_CHUNK = 1 << 20
_LEVEL = 6


class Line(NamedTuple):
    """A line of a journal, its newline included, and where it stands."""

    file: int
    path: Path
    number: int
    content: bytes


Mark = list[int]
"""Inode, size and times of change of a file: what is not the same once it was changed."""


class JournalView:
    """A journal's files as they were at one moment; what a writer adds later is not seen.

    Attributes:
        count: How many files there are.
        parts: How many of them were rotated away.
    """

    def __init__(self, directory: Path, parts: int, live: BinaryIO | None) -> None:
        self.count, self.parts = parts + (live is not None), parts
        self._directory, self._live = directory, live

    def lines(self, file: int = 1, offset: int = 0, after: int = 0) -> Iterator[Line]:
        """Yield every line from a place on; a torn last line is passed over.

        A last line that only lacks its newline is yielded without one.

        Args:
            file: The file to begin with, numbered from 1.
            offset: Bytes of it, uncompressed, to leave out.
            after: Lines these are.
        """
        for number in range(file, self.count + 1):
            with self.open(number) as (path, stream):
                stream.seek(offset)
                for line, content in enumerate(stream, start=after + 1):
                    if not content.endswith(b"\n") and self.is_live(number) and is_torn(content):
                        return
                    yield Line(number, path, line, content)
                    if not content.endswith(b"\n"):  # a writer may be about to continue it
                        break
            offset = after = 0

    @contextlib.contextmanager
    def open(self, file: int) -> Iterator[tuple[Path, BinaryIO]]:
        """Give a file's path and its bytes, uncompressed, from the start.

        Raises:
            JournalError: On reading, if a compressed part is damaged.
            StorageError: If the disk refuses.
        """
        if self._live is not None and self.is_live(file):
            path = self._directory / JOURNAL_NAME
            self._live.seek(0)
            with _reading(path):
                yield path, self._live
            return
        with contextlib.ExitStack() as opened:
            path, raw = self._open_part(file)
            stream = opened.enter_context(raw)
            if path.suffix == ".gz":
                stream = opened.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
            with _reading(path):
                yield path, stream  # pyright: ignore[reportReturnType]

    def mark(self, file: int) -> Mark:
        """Return what changes when a file is changed.

        Raises:
            StorageError: If the disk refuses.
        """
        found = self.stat(file)
        return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]

    def stat(self, file: int) -> os.stat_result:
        """Return what the file system says of a file.

        Raises:
            StorageError: If the disk refuses.
        """
        if self._live is not None and self.is_live(file):
            return os.fstat(self._live.fileno())
        path, raw = self._open_part(file)
        with raw, _reading(path):
            return os.fstat(raw.fileno())

    def is_live(self, file: int) -> bool:
        """Whether a file is the one that grows."""
        return file > self.parts

    def _open_part(self, file: int) -> tuple[Path, BinaryIO]:
        path = part_path(self._directory, file)
        packed = path.with_name(f"{path.name}.gz")
        for candidate in (packed, path, packed):  # it may be compressed just now
            with _reading(candidate), contextlib.suppress(FileNotFoundError):
                return candidate, candidate.open("rb")
        raise missing_part(path)


@contextlib.contextmanager
def open_journal(directory: str | Path) -> Iterator[JournalView]:
    """Open a journal for reading, also while another process writes it or rotates it away.

    Raises:
        StudyDirectoryError: If the directory is missing.
        JournalError: If a part is missing.
        StorageError: If the disk refuses.
    """
    directory = Path(directory)
    path = directory / JOURNAL_NAME
    require_directory(directory)
    with contextlib.ExitStack() as opened:
        with _reading(path):
            while True:
                live = _open_if_there(path)
                if live is not None:
                    opened.enter_context(live)
                parts = _count_parts(directory)
                # rotation gives the name to another file: then the parts are to be counted again
                if _is_still(path, live):
                    break
                opened.close()
        yield JournalView(directory, parts, live)


def part_path(directory: Path, number: int) -> Path:
    """Return where a part is before it is compressed."""
    return directory / f"journal.{number:05}.jsonl"


def part_count(directory: str | Path) -> int:
    """Return the number of parts that were rotated away.

    Raises:
        JournalError: If one before the last of them is missing.
        StorageError: If the disk refuses.
    """
    with _reading(Path(directory)):
        return _count_parts(Path(directory))


def compress_parts(directory: Path) -> list[int]:
    """Compress the parts that are not yet; each appears whole and then takes the other's place.

    Call it with the directory's lock held.

    Returns:
        The numbers of the parts that were not.

    Raises:
        OSError: If the disk refuses; every part is there in one form or the other.
    """
    done = []
    for number in range(1, _count_parts(directory) + 1):
        path = part_path(directory, number)
        packed = path.with_name(f"{path.name}.gz")
        if path.exists():
            if not packed.exists():
                _compress(path, packed)
                done.append(number)
            path.unlink()
    return done


def _compress(path: Path, packed: Path) -> None:
    partial = packed.with_name(f"{packed.name}{_PARTIAL}")
    try:
        with path.open("rb") as source, partial.open("wb") as target:
            with gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as stream:
                shutil.copyfileobj(source, stream, _CHUNK)
            target.flush()
            os.fsync(target.fileno())
        partial.replace(packed)
        sync_directory(packed.parent)
    finally:
        partial.unlink(missing_ok=True)


def repair_last_line(path: Path) -> None:
    """Give the last line its newline, or cut it off where it was torn.

    Raises:
        OSError: If the disk refuses.
    """
    with path.open("r+b") as file:
        start = _start_of_last_line(file)
        file.seek(start)
        last = file.read()
        if not last:
            return
        if is_torn(last):
            file.truncate(start)
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _start_of_last_line(file: BinaryIO) -> int:
    """Return where the bytes after the last newline begin, looking from the end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _CHUNK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def is_torn(line: bytes) -> bool:
    """Tell whether a line without newline was cut short: then it is not even JSON."""
    try:
        json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return True
    return False


def sync_directory(directory: Path) -> None:
    """Make the names in a directory as durable as the contents of its files.

    Raises:
        OSError: If the file system refuses.
    """
    if os.name != "posix":  # elsewhere a directory cannot be opened
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold the one writer's lock on a study directory; it also ends when the process dies.

    Raises:
        StudyDirectoryError: If the directory is missing or another process holds the lock.
        StorageError: If the lock file cannot be written.
    """
    require_directory(directory)
    lock = FileLock(directory / LOCK_NAME, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        problem = "another process is running this study; wait for it or stop it"
        raise StudyDirectoryError(one_line(f"{directory}: {problem}")) from None
    except (OSError, NotImplementedError) as error:
        raise storage_error(directory / LOCK_NAME, error) from error
    try:
        yield
    finally:
        lock.release()


def require_directory(directory: Path) -> None:
    """Check that a study directory is there.

    Raises:
        StudyDirectoryError: If it is missing.
    """
    if not directory.is_dir():
        problem = "no such directory; give the --out directory of a `minaction study run`"
        raise StudyDirectoryError(one_line(f"{directory}: {problem}"))


def storage_error(path: Path, error: Exception) -> StorageError:
    """Return the error that says which file the disk refused, and what to do."""
    reason = getattr(error, "strerror", None) or error
    return StorageError(
        one_line(f"{path}: cannot be read or written ({reason}); ")
        + "make room or mend the permissions, then run the same command again: "
        "finished runs are kept"
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what can go wrong in reading a file into errors that name it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"is damaged ({error}); restore the file from a copy"
        raise JournalError(one_line(f"{path}: {problem}")) from error
    except OSError as error:
        raise storage_error(path, error) from error


def _open_if_there(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_still(path: Path, opened: BinaryIO | None) -> bool:
    """Whether a name still means the file that was opened, or still none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return opened is None
    return opened is not None and os.path.samestat(found, os.fstat(opened.fileno()))


def _count_parts(directory: Path) -> int:
    found = {
        int(match[1]) for entry in directory.iterdir() if (match := _PART.fullmatch(entry.name))
    }
    for number in range(1, len(found) + 1):
        if number not in found:
            raise missing_part(part_path(directory, number))
    return len(found)


def missing_part(path: Path) -> JournalError:
    """Return the error that says which part is missing."""
    return JournalError(
        one_line(f"{path}.gz: this part of the journal is missing; restore it from a copy")
    )
