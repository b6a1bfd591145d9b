"""Putting the journals of one study together that were made on several machines."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minaction.errors import InputError, MinActionError, StorageError
from minaction.study.canonical import sha256_of
from minaction.study.directory import (
    STUDY_NAME,
    load_study_directory,
    study_difference,
    weights_path,
)
from minaction.study.journal_files import (
    JOURNAL_NAME,
    LOCK_NAME,
    JournalView,
    lock_directory,
    open_journal,
    sync_directory,
)
from minaction.study.journal_index import WORTH_BYTES, ledger_of, write_index
from minaction.study.ledger import Ledger
from minaction.study.record import RunStatus
from minaction.study.toml_text import one_line

NAMED = 5
"""Conflicting runs that a refusal names."""
_PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True)
class Merge:
    """What a merge did.

    Attributes:
        runs: Runs in the merged journal.
        taken: Runs taken from each directory.
        agreeing: Runs that were finished in several directories, with the same result.
        failed: Runs whose record says that they failed; a resume tries them again.
    """

    runs: int
    taken: dict[str, int]
    agreeing: int
    failed: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def merge_studies(directories: Sequence[str | Path], out: str | Path) -> Merge:
    """Merge directories of one study into a new one, in which every run is once.

    Of each directory a run's last record counts. Where several have the run, one that finished (ok,
    diverged or collapsed) wins over one that failed. Finished ones must agree in everything but
    provenance and seconds; then, as among failed ones, the directory named first wins. Weights come
    with their records. The directories are only read; the new one appears whole or not at all.

    Args:
        directories: Two or more directories of one study; drivers may be at work in them.
        out: The directory to make.

    Raises:
        InputError: There are fewer than two directories or one is named twice, `out` exists, the
            studies differ, or finished records do.
        StudyDirectoryError, StudyFileError, JournalError: A directory cannot be read.
        StorageError: The disk refused the new directory.
    """
    paths, out = [Path(directory) for directory in directories], Path(out)
    _require_distinct(paths)
    _require_free(out)
    _require_one_study(paths)
    with contextlib.ExitStack() as opened:
        sources = [_Source(path, opened.enter_context(open_journal(path))) for path in paths]
        agreeing = _choose(sources)
        with _new_directory(out) as partial:
            shutil.copyfile(paths[0] / STUDY_NAME, partial / STUDY_NAME)
            _write_journal(sources, partial)
            for source in sources:
                _copy_weights(source, partial)
    failed = sum(
        source.latest[name] is RunStatus.FAILED for source in sources for name in source.taken
    )
    return Merge(
        runs=sum(len(source.taken) for source in sources),
        taken={str(source.path): len(source.taken) for source in sources},
        agreeing=agreeing,
        failed=failed,
    )


class _Source:
    """A directory that is merged.

    Attributes:
        path: Where it is.
        view: Its journal.
        ledger: What that says of each line.
        latest: How each run ended there.
        taken: Runs whose record is taken from here.
    """

    def __init__(self, path: Path, view: JournalView) -> None:
        self.path, self.view = path, view
        self.ledger = ledger_of(view, path)
        self.latest = self.ledger.latest()
        self.taken: set[str] = set()

    def last_lines(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield the last line of each run: its number from 0, the run, what it says."""
        last = self.ledger.last_lines()
        for number, (counts, name, line) in enumerate(
            zip(last, self.ledger.names(), self.view.lines(), strict=False)
        ):
            if counts:
                yield number, name, line.content


def _choose(sources: Sequence[_Source]) -> int:
    """Decide where each run's record is taken from; return how many are in several, agreeing.

    Raises:
        InputError: Finished records differ.
    """
    finished: dict[str, _Source] = {}
    contested: set[str] = set()
    for source in sources:
        for name, status in source.latest.items():
            if status is RunStatus.FAILED:
                continue
            if name in finished:
                contested.add(name)
            else:
                finished[name] = source
                source.taken.add(name)
    _require_agreement(sources, contested)
    failed: set[str] = set()
    for source in sources:
        source.taken |= (new := source.latest.keys() - finished.keys() - failed)
        failed |= new
    return len(contested)


def _require_agreement(sources: Sequence[_Source], contested: set[str]) -> None:
    """Check that runs which finished in several directories ended with the same result.

    Raises:
        InputError: They did not; the message names runs.
    """
    first: dict[str, tuple[str, _Source]] = {}
    for source in sources if contested else ():
        conflicts: dict[str, _Source] = {}
        for _, name, content in source.last_lines():
            if name in contested and source.latest[name] is not RunStatus.FAILED:
                result = _result_digest(content)
                found, other = first.setdefault(name, (result, source))
                if found != result:
                    conflicts[name] = other
        if conflicts:
            raise _conflict(source, conflicts)


def _conflict(source: _Source, conflicts: dict[str, _Source]) -> InputError:
    names = sorted(conflicts)
    others = ", ".join(dict.fromkeys(str(other.path) for other in conflicts.values()))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return InputError(
        one_line(f"{source.path}: has other results than {others} of ")
        + f"{'run' if len(names) == 1 else 'runs'} {', '.join(names[:NAMED])}{more}; delete these "
        "lines from the journal you trust less, then merge again"
    )


def _result_digest(content: bytes) -> str:
    """Return a hash of what a run came to: everything but its conditions and its seconds."""
    return sha256_of(_without_seconds({**json.loads(content), "provenance": None}))


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_seconds(v) for k, v in value.items() if not k.endswith("_seconds")}
    if isinstance(value, list):
        return [_without_seconds(item) for item in value]
    return value


def _write_journal(sources: Sequence[_Source], directory: Path) -> None:
    ledger, path = Ledger(), directory / JOURNAL_NAME
    with path.open("wb") as file:
        for source in sources:
            errors = source.ledger.error_at()
            for number, name, content in source.last_lines():
                if name in source.taken:
                    content = content if content.endswith(b"\n") else content + b"\n"
                    file.write(content)
                    ledger.note(1, content, name, source.latest[name], errors.get(number))
        file.flush()
        os.fsync(file.fileno())
    if ledger.size >= WORTH_BYTES:
        write_index(directory, ledger)


def _copy_weights(source: _Source, directory: Path) -> None:
    odd = set(source.ledger.unusual.values())  # no program makes them, and they may be paths
    for name in source.taken - odd:
        path, copy = weights_path(source.path, name), weights_path(directory, name)
        if path.is_file():
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
            with copy.open("rb+") as file:
                os.fsync(file.fileno())


@contextlib.contextmanager
def _new_directory(out: Path) -> Iterator[Path]:
    """Give a directory to fill that becomes `out` in the end, or is removed.

    Ones that an earlier merge left when it was killed are removed first.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        partial = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}"
        partial.mkdir()
        try:
            with lock_directory(partial):
                yield partial
                sync_directory(partial)
                partial.rename(out)
            (out / LOCK_NAME).unlink(missing_ok=True)
            sync_directory(out.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            one_line(f"{out}: cannot be written ({error.strerror or error}); ")
            + "make room, mend the permissions or choose another --out; nothing is left behind"
        ) from error


def _remove_abandoned(out: Path) -> None:
    for folder in out.parent.iterdir():
        if folder.name.startswith(f".{out.name}.") and folder.name.endswith(_PARTIAL):
            # a MinActionError says that another merge is filling it
            with contextlib.suppress(OSError, MinActionError), lock_directory(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _require_distinct(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise InputError("give two directories or more to merge")
    resolved = [path.resolve() for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise InputError(one_line(f"{path}: is named twice; name each directory once"))


def _require_free(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise InputError(one_line(f"{out}: is there already; choose another --out"))


def _require_one_study(paths: Sequence[Path]) -> None:
    first = load_study_directory(paths[0])
    for path in paths[1:]:
        difference = study_difference(first, load_study_directory(path))
        if difference:
            raise InputError(
                one_line(f"{path}: holds another study than {paths[0]}: {difference}; ")
                + "only directories of one study can be merged"
            )
