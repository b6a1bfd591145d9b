"""The index of a journal: a ledger kept on the disk, so that nobody has to parse it all again.

`DIR/journal.index` is a cache and never trusted over the journal. It says of each of the journal's
files how much it covers, the SHA-256 of these bytes, block by block, and what the file system said
of the file when the index was written (inode, size, times of change). Where that still is so, only
the first and the last block of the file that grows are compared; where it is not, every block is.
What does not hold, and all that follows it, is read from the journal, as is everything if there is
no index or it is damaged. Only the one writer of a journal writes it, from a certain size on.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

from minaction.errors import JournalError, MinActionError
from minaction.study.journal_files import (
    JournalView,
    Mark,
    missing_part,
    open_journal,
    part_count,
    part_path,
)
from minaction.study.ledger import BLOCK, ID_BYTES, BlockDigests, Covered, Ledger
from minaction.study.record import SCHEMA

INDEX_NAME = "journal.index"
WORTH_BYTES = 1 << 24
"""A journal below this size is parsed sooner than its index is checked."""
_FORMAT = 1
_DIGEST_BYTES = 64
_COMPARED: Mark = [0, 0, 0, 0]
"""In place of the mark of a part that may not be the one that was read: it fits no file."""


def read_ledger(directory: str | Path) -> Ledger:
    """Return the ledger of a journal, by its index as far as that holds; writes nothing.

    Raises:
        StudyDirectoryError: If the directory is missing.
        JournalError: If a line cannot be read; the message names file and line.
        StorageError: If the disk refuses the read.
    """
    with open_journal(directory) as view:
        return ledger_of(view, directory)


def ledger_of(view: JournalView, directory: str | Path) -> Ledger:
    """Return the ledger of a journal that is open, as `read_ledger` does."""
    ledger = _load(Path(directory) / INDEX_NAME, view)
    ledger.catch_up(view)
    return ledger


def write_index(directory: Path, ledger: Ledger) -> None:
    """Store a ledger; call it with the directory's lock held.

    A ledger of run ids that no program makes is not stored.

    Raises:
        OSError: If the disk refuses; an index that was there before is intact.
    """
    if ledger.unusual:
        return
    content = _spelled(ledger, _marks(directory, ledger))
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    path = directory / INDEX_NAME
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines((digest.hexdigest().encode("ascii"), *content))
        partial.replace(path)
        ledger.stored = ledger.size
    finally:
        partial.unlink(missing_ok=True)


def _spelled(ledger: Ledger, marks: list[Mark]) -> tuple[bytes | bytearray, ...]:
    files = [
        {
            "lines": covered.lines,
            "size": covered.size,
            "blocks": covered.digests.whole,
            "rest": covered.digests.rest(),
            "mark": mark,
        }
        for covered, mark in zip(ledger.files, marks, strict=True)
    ]
    header = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "messages": list(ledger.messages),
        "files": files,
    }
    return (
        json.dumps(header).encode("ascii") + b"\n",
        ledger.ids,
        ledger.statuses,
        ledger.failures.tobytes(),
    )


def _load(path: Path, view: JournalView) -> Ledger:
    """Return what of a stored ledger holds for a journal; nothing of one that is damaged."""
    try:
        ledger, stored = _parse(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Ledger()
    if len(stored) - 1 > view.parts:
        if part_count(path.parent) > view.parts:
            return Ledger()  # of a journal that was rotated after the view was opened
        raise JournalError(
            f"{missing_part(part_path(path.parent, view.parts + 1))}, or delete {path.name} if it "
            "is gone for good"
        )
    current = True
    for number, file in enumerate(stored, start=1):
        mark = view.mark(number) if number <= view.count else None
        unchanged = mark == file["mark"]
        covered = _confirmed(view, number, file, unchanged, last=number == len(stored))
        if covered is None:
            ledger.forget(number - 1)
            break
        covered.mark = mark
        ledger.files[number - 1] = covered
        current &= unchanged
    ledger.stored = ledger.size if current else 0  # one that had to be compared is written again
    return ledger


def _parse(content: bytes) -> tuple[Ledger, list[dict[str, Any]]]:
    """Read what `write_index` wrote: the ledger, its files still to be confirmed, and these.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: It is something else.
    """
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(content).hexdigest().encode("ascii") != digest:
        raise ValueError("damaged")
    end = content.index(b"\n")
    header, content = json.loads(content[:end]), content[end + 1 :]
    if (header["format"], header["schema"]) != (_FORMAT, SCHEMA):
        raise ValueError("of another version")
    ledger, files = Ledger(), header["files"]
    lines = sum(file["lines"] for file in files)
    ledger.ids += content[: lines * ID_BYTES]
    ledger.statuses += content[lines * ID_BYTES : lines * (ID_BYTES + 1)]
    ledger.failures = array("Q", content[lines * (ID_BYTES + 1) :])
    ledger.messages = {message: number for number, message in enumerate(header["messages"])}
    ledger.files = [Covered(lines=file["lines"], size=file["size"]) for file in files]
    ledger.size = sum(covered.size for covered in ledger.files)
    return ledger, files


def _confirmed(
    view: JournalView, number: int, stored: dict[str, Any], unchanged: bool, *, last: bool
) -> Covered | None:
    """Return what the index says of a file if that is so, else None."""
    if number > view.count:
        return None
    known = {"lines": stored["lines"], "size": stored["size"]}
    if unchanged and not last:  # a part that was rotated away: it changes no more
        return Covered(**known, digests=BlockDigests.closed(stored["blocks"], stored["rest"]))
    blocks = stored["blocks"]
    checked = blocks[:1] if unchanged else blocks
    try:
        with view.open(number) as (_, stream):
            same = all(_digest(stream.read(BLOCK)) == block for block in checked)
            stream.seek(len(blocks) * BLOCK)
            rest = stream.read(stored["size"] - len(blocks) * BLOCK)
            ended = last or not stream.read(1)
    except MinActionError:  # whoever reads the file itself will say what is wrong with it
        return None
    if not (same and ended and _digest(rest) == stored["rest"]):
        return None
    return Covered(**known, digests=BlockDigests(blocks, rest))


def _marks(directory: Path, ledger: Ledger) -> list[Mark]:
    """Return the marks of a journal's files, of parts only where they are as they were read."""
    last = len(ledger.files)
    with open_journal(directory) as view:
        marks = [view.mark(number) for number in range(1, last + 1)]
    return [
        mark if number == last or mark == covered.mark else _COMPARED
        for number, (mark, covered) in enumerate(zip(marks, ledger.files, strict=True), start=1)
    ]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
