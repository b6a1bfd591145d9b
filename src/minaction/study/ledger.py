"""What every line of a journal says of its run, in nine bytes: which one, and how it ended.

Enough to know what is finished without holding records. `journal_index` keeps one on the disk.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minaction.study.journal_files import JournalView, Mark
from minaction.study.record import RunStatus, parse_line

BLOCK = 1 << 22
ID_BYTES = 8
STATUSES = tuple(RunStatus)
FAILED = STATUSES.index(RunStatus.FAILED)
_PLAIN_ID = re.compile(r"[0-9a-f]{16}")


class BlockDigests:
    """SHA-256 of a growing content, block by block, so that it can be checked and continued.

    Args:
        whole: Digests of the blocks that are full already.
        rest: The content after these.

    Attributes:
        whole: Digests of the blocks that are full.
    """

    def __init__(self, whole: Iterable[str] = (), rest: bytes = b"") -> None:
        self.whole = list(whole)
        self._hash, self._room = hashlib.sha256(), BLOCK
        self._rest: str | None = None
        self.update(rest)

    def update(self, content: bytes) -> None:
        """Take in more of the content."""
        assert self._rest is None
        while len(content) >= self._room:
            self._hash.update(content[: self._room])
            self.whole.append(self._hash.hexdigest())
            content = content[self._room :]
            self._hash, self._room = hashlib.sha256(), BLOCK
        self._hash.update(content)
        self._room -= len(content)

    @classmethod
    def closed(cls, whole: Iterable[str], rest: str) -> BlockDigests:
        """Return the digests of a content that does not grow any more."""
        digests = cls(whole)
        digests._rest = rest
        return digests

    def rest(self) -> str:
        """Return the digest of what follows the last full block."""
        return self._rest or self._hash.hexdigest()


@dataclass(kw_only=True)
class Covered:
    """How much of one of a journal's files a ledger knows.

    Attributes:
        lines: Lines of it.
        size: Bytes these are, uncompressed.
        digests: Of these bytes.
        mark: What the file system said of the file before it was read, where it is a part that
            changes no more; None: not known.
    """

    lines: int = 0
    size: int = 0
    digests: BlockDigests = field(default_factory=BlockDigests)
    mark: Mark | None = None

    def add(self, line: bytes) -> None:
        """Cover one more line."""
        self.lines += 1
        self.size += len(line)
        self.digests.update(line)


class Ledger:
    """Run and outcome of each line of a journal, from the first on.

    Attributes:
        ids: Eight bytes a line: the run's id.
        statuses: One byte a line: where in `STATUSES` its outcome is.
        failures: Lines, from 0, of runs with an error, each followed by its message's number.
        messages: Error messages, each once.
        unusual: Ids that are no 16 hex digits, by line from 0; no program writes such a one.
        files: What is known of each file of the journal.
        size: Bytes of the journal that are known, uncompressed.
        stored: Bytes of the journal that a current index on the disk covers.
    """

    def __init__(self) -> None:
        self.ids, self.statuses = bytearray(), bytearray()
        self.failures: array[int] = array("Q")
        self.messages: dict[str, int] = {}
        self.unusual: dict[int, str] = {}
        self.files: list[Covered] = []
        self.size = self.stored = 0

    def __len__(self) -> int:
        return len(self.statuses)

    def catch_up(self, view: JournalView) -> None:
        """Take in every line of a journal that is not known yet.

        A last line that only lacks its newline counts, but is not covered: a writer may be about to
        write the rest.

        Raises:
            JournalError: If a line cannot be read; the message names file and line.
            StorageError: If the disk refuses the read.
        """
        self.forget(len(self.files))  # a line that was not covered
        file = max(1, len(self.files))
        known = self.files[-1] if self.files else Covered()
        marks = {number: view.mark(number) for number in range(file, view.parts + 1)}
        for line in view.lines(file, known.size, known.lines):
            record = parse_line(line.path, line.number, line.content)
            said = record.run_id, record.status, record.error
            if line.content.endswith(b"\n") or not view.is_live(line.file):
                self.note(line.file, line.content, *said)
            else:
                self._add(*said)
        for number, mark in marks.items():
            if number <= len(self.files):
                self.files[number - 1].mark = mark

    def may_be_of(self, view: JournalView) -> bool:
        """Whether a journal has grown from the one this is of, as far as sizes tell."""
        last = len(self.files)
        if last > view.count:
            return False
        return not last or not view.is_live(last) or view.stat(last).st_size >= self.files[-1].size

    def note(
        self, file: int, content: bytes, run_id: str, status: RunStatus, error: str | None
    ) -> None:
        """Take in one more line of a file, numbered from 1, and what it says."""
        self._add(run_id, status, error)
        while len(self.files) < file:
            self.files.append(Covered())
        self.files[-1].add(content)
        self.size += len(content)

    def _add(self, run_id: str, status: RunStatus, error: str | None) -> None:
        if _PLAIN_ID.fullmatch(run_id):
            self.ids += bytes.fromhex(run_id)
        else:
            self.unusual[len(self)] = run_id
            self.ids += bytes(ID_BYTES)
        if error:
            message = self.messages.setdefault(error, len(self.messages))
            self.failures.extend((len(self), message))
        self.statuses.append(STATUSES.index(status))

    def forget(self, files: int) -> None:
        """Keep only what the first `files` files say."""
        del self.files[files:]
        lines = sum(covered.lines for covered in self.files)
        self.size = sum(covered.size for covered in self.files)
        del self.ids[lines * ID_BYTES :], self.statuses[lines:]
        while self.failures and self.failures[-2] >= lines:
            del self.failures[-2:]
        self.unusual = {line: name for line, name in self.unusual.items() if line < lines}

    def names(self) -> Iterator[str]:
        """Return the run id of every line, one after the other."""
        text = self.ids.hex()
        plain = (text[start : start + 2 * ID_BYTES] for start in range(0, len(text), 2 * ID_BYTES))
        if not self.unusual:
            return plain
        return (self.unusual.get(line, name) for line, name in enumerate(plain))

    def finished(self) -> set[str]:
        """Return the ids of the runs that need no further try: ok, diverged or collapsed."""
        if FAILED not in self.statuses:
            return set(self.names())
        return {name for name, status in self.latest().items() if status is not RunStatus.FAILED}

    def latest(self) -> dict[str, RunStatus]:
        """Return how every run ended, as its last line has it."""
        return {
            name: STATUSES[status] for name, status in zip(self.names(), self.statuses, strict=True)
        }

    def last_lines(self) -> bytearray:
        """Return one byte a line: 1 for the last line of a run, else 0."""
        seen: set[str] = set()
        marks = bytearray(len(self))
        names = list(self.names())
        for line in range(len(self) - 1, -1, -1):
            if names[line] not in seen:
                seen.add(names[line])
                marks[line] = 1
        return marks

    def error_at(self) -> dict[int, str]:
        """Return the error messages by line from 0."""
        messages = list(self.messages)
        pairs = zip(self.failures[::2], self.failures[1::2], strict=True)
        return {line: messages[message] for line, message in pairs}

    def errors(self) -> Counter[str]:
        """Return the error messages of runs whose last line has one, with their numbers."""
        last = self.last_lines() if self.failures else b""
        return Counter(message for line, message in self.error_at().items() if last[line])

    def repeated(self) -> dict[str, list[int]]:
        """Return the runs that were recorded again after they were finished, with all their lines.

        Line numbers count from 1, through all files; tries that failed before a run was finished
        are no repetition.
        """
        lines: dict[str, list[int]] = {}
        for number, (name, status) in enumerate(
            zip(self.names(), self.statuses, strict=True), start=1
        ):
            if name in lines or status != FAILED:
                lines.setdefault(name, []).append(number)
        return {name: lines[name] for name in sorted(lines) if len(lines[name]) > 1}
