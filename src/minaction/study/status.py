"""How far a study is."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minaction.study.directory import load_study_directory
from minaction.study.journal import RunStatus, latest_records, repeated_runs


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Progress of a study.

    Attributes:
        name: The study's name.
        total: Runs it consists of.
        done: Runs that are finished; failed ones are not.
        by_status: Runs by how they ended.
        errors: Error messages of failed runs, with their numbers.
        repeated: Lines of the journal with runs that were recorded again after they were finished,
            by run id; each is counted once, as its last line has it.
    """

    name: str
    total: int
    done: int
    by_status: dict[str, int]
    errors: dict[str, int]
    repeated: dict[str, list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def study_status(directory: str | Path) -> StudyStatus:
    """Read how far the study in `directory` is.

    Raises:
        StudyDirectoryError: There is no study there.
        JournalError: Its journal cannot be read.
    """
    study = load_study_directory(directory)
    records = latest_records(directory)
    counts = Counter(str(record.status) for record in records)
    return StudyStatus(
        name=study.name,
        total=study.run_count,
        done=sum(counts.values()) - counts[RunStatus.FAILED],
        by_status={str(s): counts[s] for s in RunStatus if counts[s]},
        errors=dict(Counter(r.error for r in records if r.error).most_common()),
        repeated=repeated_runs(directory),
    )
