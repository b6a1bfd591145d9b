"""The lambda tables as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import naming_journal
from minaction.report.tables import compute_findings
from minaction.study.directory import load_study_directory
from minaction.study.journal import latest_records
from minaction.study.study_file import BUDGET

HEADER = ("lambda", "raw energy", "of 0", "gauge-fixed", "of 0", "accuracy", "change", "")
CHOSEN = "<- chosen on validation"


def lambda_summary(directory: str | Path) -> list[str]:
    """Return the lambda tables of a study as lines of text.

    A line on progress, then a table per data set, model and energy: means over the runs that are
    `ok`, raw and gauge-fixed energy also as geometric mean ratios to lambda = 0, accuracy change in
    percentage points; for a budget the multiplier found, the median over seeds. The intervals are
    in the report.

    Args:
        directory: The study's directory.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
    """
    study, records = load_study_directory(directory), latest_records(directory)
    with naming_journal(directory):
        findings = compute_findings(study, records)
    lines = [findings["headlines"][0]]
    for table in findings["lambda_tables"]:
        lines += ["", table["label"], *aligned([HEADER, *map(summary_row, table["rows"])])]
    return lines


def summary_row(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one lambda; a dash where there is nothing to compare."""

    def cell(name: str, formatter: write.Formatter) -> str:
        return write.optional(row[name]["estimate"], formatter)

    gauge_fixed = cell("energy_gauge_fixed", write.number)
    if row["energy"]["n"] and not row["energy_gauge_fixed"]["n"]:
        gauge_fixed = row["energy_gauge_fixed"]["reason"]
    return (
        write.lam(row["lam"]),
        cell("energy", write.number),
        cell("energy_percent", write.percent),
        gauge_fixed,
        cell("gauge_fixed_percent", write.percent),
        cell("test_accuracy", write.accuracy),
        cell("accuracy_change_pp", write.points),
        remark(row),
    )


def remark(row: dict[str, Any]) -> str:
    """Return what is to be said of one lambda in words."""
    if row["validation"]["selected"]:
        return CHOSEN
    found = row["multiplier"]["estimate"] if row["lam"] == BUDGET else None
    return "" if found is None else f"<- lambda {write.lam_found(found)} found"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as indented lines, every column but the last flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return [
        "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
