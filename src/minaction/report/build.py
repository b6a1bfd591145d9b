"""From a study directory to its report."""

from __future__ import annotations

from pathlib import Path

from minaction.errors import InputError
from minaction.report.frame import naming_journal
from minaction.report.page import render_page
from minaction.report.tables import compute_findings
from minaction.study.directory import load_study_directory, write_text_atomically
from minaction.study.journal import latest_records
from minaction.study.measurements import read_measurements

REPORT_NAME = "report.html"


def write_report(directory: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a study, finished or not, from its study file, journal, measurements.

    Args:
        directory: The study's directory; only the page is written to it.
        output: Where to write the page; `report.html` in the directory by default.

    Returns:
        The page's path.

    Raises:
        StudyDirectoryError: The directory is missing or holds no study.
        StudyFileError: Its study file cannot be read.
        JournalError: A line of its journal or measurements cannot be read.
        InputError: The output's folder does not exist, or the output is a folder.
        StorageError: The disk refused the page; a page that was there before is intact.
    """
    study = load_study_directory(directory)
    path = Path(output) if output is not None else Path(directory) / REPORT_NAME
    require_page_place(path)
    records, measurements = latest_records(directory), read_measurements(directory)
    with naming_journal(directory):
        findings = compute_findings(study, records, measurements)
    write_text_atomically(path, render_page(study, findings, records))
    return path


def require_page_place(path: Path) -> None:
    """Check that a page can be written to a path.

    Raises:
        InputError: It is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of an .html file")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")
