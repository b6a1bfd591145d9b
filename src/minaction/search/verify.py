"""Does the page of a search still say what its journals say?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from minaction.report import formatting as write
from minaction.report.build import REPORT_NAME
from minaction.report.verify import (
    Check,
    Verification,
    check,
    check_lines,
    compare_pages,
    content_of,
    hash_of,
    read_page,
    verification,
    verify_report,
)
from minaction.search.directory import chosen_directory
from minaction.search.page import body, figures, read_search
from minaction.search.search_file import Search
from minaction.study.journal import Record


def verify_search(directory: str | Path) -> Verification:
    """Recompute every number of a search's page from its journals, and compare.

    Of the journal it is checked that no run was recorded again after it was finished, that each
    run's id is the hash of its configuration, and that it was made under this search file. The
    study of the chosen network, where there is one with a report, is verified as well.

    Args:
        directory: The search's directory.

    Raises:
        InputError: There is no page, or it is of another version of this program.
        StudyDirectoryError, StudyFileError, JournalError: The search cannot be read.
    """
    search, findings, records = read_search(directory)
    drawn = figures(search, findings)
    fresh = content_of(body(search, findings, drawn), drawn, findings, records)
    stored = read_page(Path(directory) / REPORT_NAME, directory)
    checks = [
        *check_lines(directory),
        *compare_pages(stored, fresh),
        *_check_journal(search, records),
    ]
    found = verification(checks, findings["warnings"])
    chosen = findings["chosen"]
    final = chosen and chosen_directory(directory, chosen["run_id"])
    if final is None or not (final / REPORT_NAME).is_file():
        return found
    last = verify_report(final)
    return Verification(
        checked=found.checked + last.checked,
        differences=[*found.differences, *last.differences],
        warnings=[*found.warnings, *last.warnings],
    )


def _check_journal(search: Search, records: Sequence[Record]) -> Iterator[Check]:
    expected = search.crossing.sha256
    for record in records:
        at = f"journal: {write.short(record.run_id)}"
        yield check(f"{at} run_id", record.run_id, hash_of(record.config))
        yield check(f"{at} study_sha256", record.provenance.get("study_sha256"), expected)
