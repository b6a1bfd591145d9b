"""The journal of a study: the only reader and writer of `DIR/journal.jsonl`.

Append-only, one line of canonical JSON a run, on the disk before the next run is recorded. One
process writes, under a lock; anybody may read at any time. What can tear is the last line, and
only a write cut short by a crash or a full disk tears it: a line without its newline.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from minaction.errors import JournalError, StorageError, StudyDirectoryError
from minaction.study.canonical import canonical_json
from minaction.study.toml_text import one_line

JOURNAL_NAME = "journal.jsonl"
LOCK_NAME = "journal.lock"
SCHEMA = 1


class RunStatus(StrEnum):
    """How a run ended."""

    OK = "ok"
    DIVERGED = "diverged"
    """The loss became NaN or infinite."""
    COLLAPSED = "collapsed"
    """Lambda killed the network: it predicts no better than chance."""
    FAILED = "failed"
    """An error stopped the run; it is tried again on resume."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run: what was asked, what came out, and under which conditions.

    Attributes:
        run_id: The id of `config`, see `design.run_id`.
        status: How the run ended.
        config: The run's configuration, JSON scalars.
        metrics: Final measurements by name; None where the run has none.
        layers: Measurements of each observed layer.
        history: One entry a validation.
        provenance: Versions, device, data and study hashes: what makes the run repeatable.
        error: Why the run failed, else None.
        schema: Version of this layout.
    """

    run_id: str
    status: RunStatus
    config: dict[str, Any]
    metrics: dict[str, Any] | None = None
    layers: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    schema: int = SCHEMA

    def to_line(self) -> str:
        """Return the record as one line of canonical JSON, without the newline.

        NaN and infinities, which JSON does not have, become null.
        """
        return canonical_json(_portable({f.name: getattr(self, f.name) for f in fields(self)}))

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read what `to_line` wrote.

        Raises:
            JournalError: If the line is no JSON, no record, or of a newer schema.
        """
        try:
            content = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise JournalError(f"not a record ({_reason(error)}); {_REMEDY}") from error
        return cls(**_checked(content))


_REMEDY = "restore the file from a copy, or delete this line and its run will be done again"
_TYPES: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "status": (str,),
    "config": (dict,),
    "metrics": (dict, type(None)),
    "layers": (dict,),
    "history": (list,),
    "provenance": (dict,),
    "error": (str, type(None)),
    "schema": (int,),
}


def _checked(content: object) -> dict[str, Any]:
    """Return the fields of a record read from JSON, or raise a JournalError that names one."""
    if not isinstance(content, dict):
        raise JournalError(f"not a record (no JSON object); {_REMEDY}")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise JournalError(
            f"written by a newer minaction (schema {schema}, this one reads up to {SCHEMA}); "
            "upgrade minaction to read it"
        )
    for name, types in _TYPES.items():
        if name not in content or type(content[name]) not in types:
            raise JournalError(f"not a record ({name!r} is missing or of a wrong type); {_REMEDY}")
    for name in sorted(content.keys() - _TYPES.keys()):
        raise JournalError(f"not a record (unknown field {name[:40]!r}); {_REMEDY}")
    try:
        return {**content, "status": RunStatus(content["status"])}
    except ValueError:
        status = content["status"][:40]
        raise JournalError(f"not a record (unknown status {status!r}); {_REMEDY}") from None


def _portable(value: Any) -> Any:
    """Return a value any JSON reader takes: no NaN or infinity, no half of a surrogate pair."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_portable(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    return value


def _refuse_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


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
    _require_directory(directory)
    lock = FileLock(directory / LOCK_NAME, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        problem = "another process is running this study; wait for it or stop it"
        raise StudyDirectoryError(one_line(f"{directory}: {problem}")) from None
    except (OSError, NotImplementedError) as error:
        raise _storage_error(directory / LOCK_NAME, error) from error
    try:
        yield
    finally:
        lock.release()


class Journal:
    """The one writer of a study's journal, a context manager.

    Entering takes the lock, repairs a torn last line and reads which runs are finished.

    Attributes:
        path: The journal file.
        finished: Ids of the runs that need no further try: ok, diverged or collapsed.

    Raises:
        StudyDirectoryError: On entering, if the directory is missing or another process writes.
        JournalError: On entering, if a line is unreadable; the message names file and line.
        StorageError: If the disk refuses a write; every record appended before is intact.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / JOURNAL_NAME
        self.finished: set[str] = set()
        self._file: FileIO | None = None
        self._open = contextlib.ExitStack()
        self._torn_at: int | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            opening.enter_context(lock_directory(self.path.parent))
            try:
                file = opening.enter_context(self.path.open("ab", buffering=0))
                _repair(self.path)
                sync_directory(self.path.parent)
            except OSError as error:
                raise _storage_error(self.path, error) from error
            self.finished = set()
            for record in read_records(self.path.parent):
                self._note(record)
            self._file, self._open = file, opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file = None
        self._open.close()

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
            self._torn_at = None
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._cut_torn_line(self._file)
            if isinstance(error, OSError):
                raise _storage_error(self.path, error) from error
            raise
        self._note(record)

    def _note(self, record: Record) -> None:
        if record.status is RunStatus.FAILED:
            self.finished.discard(record.run_id)
        else:
            self.finished.add(record.run_id)

    def _cut_torn_line(self, file: FileIO) -> None:
        if self._torn_at is not None:
            os.ftruncate(file.fileno(), self._torn_at)
            self._torn_at = None

    def _size_of_named_file(self, file: FileIO) -> int:
        """Return the size of the open file, having made sure that it still is the journal."""
        opened = os.fstat(file.fileno())
        if not os.path.samestat(opened, self.path.stat()):
            raise OSError("the file was replaced while the study ran")
        return opened.st_size


def read_records(directory: str | Path) -> Iterator[Record]:
    """Read a journal line by line, also while another process writes it.

    A torn last line is passed over and the file never touched; a directory without a journal has
    no records.

    Raises:
        StudyDirectoryError: If the directory is missing.
        JournalError: If a line cannot be read; the message names file and line.
        StorageError: If the disk refuses the read.
    """
    for _, record in numbered_records(directory):
        yield record


def numbered_records(directory: str | Path) -> Iterator[tuple[int, Record]]:
    """Read a journal as `read_records` does, each record with its line number from 1."""
    path = Path(directory) / JOURNAL_NAME
    _require_directory(path.parent)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and _is_torn(line):
                    return
                yield number, _parse(path, number, line)
                if not line.endswith(b"\n"):  # a writer may be about to continue it
                    return
    except FileNotFoundError:
        return
    except OSError as error:
        raise _storage_error(path, error) from error


def latest_records(directory: str | Path) -> list[Record]:
    """Return the last record of every run, sorted by run id; see `read_records` for errors."""
    latest = {record.run_id: record for record in read_records(directory)}
    return [latest[run_id] for run_id in sorted(latest)]


def repeated_runs(directory: str | Path) -> dict[str, list[int]]:
    """Return the runs that were recorded again after they were finished, with all their lines.

    The program never writes such a line: the file was edited or put together from two. Tries that
    failed before a run was finished are no repetition. See `read_records` for errors.

    Returns:
        Line numbers from 1 of the first finished record and all later ones, by run id, sorted.
    """
    lines: dict[str, list[int]] = {}
    for number, record in numbered_records(directory):
        if record.run_id in lines or record.status is not RunStatus.FAILED:
            lines.setdefault(record.run_id, []).append(number)
    return {run_id: lines[run_id] for run_id in sorted(lines) if len(lines[run_id]) > 1}


def _parse(path: Path, number: int, line: bytes) -> Record:
    try:
        return Record.from_line(line.decode("utf-8"))
    except UnicodeDecodeError:
        problem = f"not a record (not UTF-8); {_REMEDY}"
    except JournalError as error:
        problem = str(error)
    raise JournalError(one_line(f"{path}:{number}: {problem}"))


def _is_torn(line: bytes) -> bool:
    """Tell whether a line without newline was cut short: then it is not even JSON."""
    try:
        json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return True
    return False


def _repair(path: Path) -> None:
    """Give the last line its newline, or cut it off where it was torn."""
    with path.open("r+b") as file:
        last = b"\n"
        for line in file:
            last = line
        if last.endswith(b"\n"):
            return
        if _is_torn(last):
            file.truncate(file.tell() - len(last))
        else:
            file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())


def _write_all(file: FileIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]


def _require_directory(directory: Path) -> None:
    if not directory.is_dir():
        problem = "no such directory; give the --out directory of a `minaction study run`"
        raise StudyDirectoryError(one_line(f"{directory}: {problem}"))


def _storage_error(path: Path, error: Exception) -> StorageError:
    reason = getattr(error, "strerror", None) or error
    return StorageError(
        one_line(f"{path}: cannot be read or written ({reason}); ")
        + "make room or mend the permissions, then run the same command again: "
        "finished runs are kept"
    )
