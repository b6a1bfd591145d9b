"""How far a study is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minaction.study.activity import read_activity
from minaction.study.directory import load_study_directory
from minaction.study.journal_files import open_journal
from minaction.study.journal_index import read_ledger
from minaction.study.ledger import Ledger
from minaction.study.record import RunStatus


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Progress of a study.

    Attributes:
        name: The study's name.
        total: Runs it consists of.
        done: Runs that are finished; failed ones are not.
        running: Runs its driver does just now; 0 where none is at work.
        by_status: Runs by how they ended.
        errors: Error messages of failed runs, with their numbers.
        repeated: Lines of the journal with runs that were recorded again after they were finished,
            by run id; each is counted once, as its last line has it.
        runs_per_hour: What the driver has finished an hour since it began, None where it has not.
        seconds_left: What the rest takes at this rate.
    """

    name: str
    total: int
    done: int
    running: int
    by_status: dict[str, int]
    errors: dict[str, int]
    repeated: dict[str, list[int]]
    runs_per_hour: float | None
    seconds_left: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


class StudyWatch:
    """Looks at a study again and again, each time only at what is new; writes nothing.

    Raises:
        StudyDirectoryError: There is no study there.
        StudyFileError: Its study file cannot be read.
    """

    def __init__(self, directory: str | Path) -> None:
        self._study = load_study_directory(directory)
        self._directory = Path(directory)
        self._ledger: Ledger | None = None

    def look(self) -> StudyStatus:
        """Return how far the study is now.

        Raises:
            JournalError: Its journal cannot be read.
            StorageError: The disk refuses the read.
        """
        activity = read_activity(self._directory)
        ledger = self._current_ledger()
        latest = ledger.latest()
        counts = Counter(latest.values())
        total, done = self._study.run_count, counts.total() - counts[RunStatus.FAILED]
        rate = None
        if activity and done > activity.finished_before and time.time() > activity.began:
            rate = (done - activity.finished_before) / (time.time() - activity.began)
        return StudyStatus(
            name=self._study.name,
            total=total,
            done=done,
            running=min(activity.workers, max(0, total - done)) if activity else 0,
            by_status={str(s): counts[s] for s in RunStatus if counts[s]},
            errors=dict(ledger.errors().most_common()),
            repeated=ledger.repeated() if len(latest) < len(ledger) else {},
            runs_per_hour=None if rate is None else 3600 * rate,
            seconds_left=None if rate is None else max(0, total - done) / rate,
        )

    def _current_ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = read_ledger(self._directory)
            return self._ledger
        with open_journal(self._directory) as view:
            if self._ledger.may_be_of(view):
                self._ledger.catch_up(view)
                return self._ledger
        self._ledger = None  # another journal has taken its place
        return self._current_ledger()


def study_status(directory: str | Path) -> StudyStatus:
    """Read how far the study in `directory` is.

    Raises:
        StudyDirectoryError: There is no study there.
        JournalError: Its journal cannot be read.
    """
    return StudyWatch(directory).look()
