"""The lambda tables as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.report import formatting as write
from minaction.report.tables import compute_findings
from minaction.study.directory import load_study_directory
from minaction.study.journal import latest_records

HEADER = ("lambda", "energy", "of lambda 0", "test accuracy", "change", "")
CHOSEN = "<- chosen on validation"


def lambda_summary(directory: str | Path) -> list[str]:
    """Return the lambda tables of a study as lines of text.

    A line on progress, then a table per data set, model and energy: means over the runs that are
    `ok`, energy as geometric mean ratio to lambda = 0, accuracy change in percentage points. The
    intervals are in the report.

    Args:
        directory: The study's directory.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
    """
    findings = compute_findings(load_study_directory(directory), latest_records(directory))
    lines = [findings["headlines"][0]]
    for table in findings["lambda_tables"]:
        lines += ["", table["label"], *aligned([HEADER, *map(summary_row, table["rows"])])]
    return lines


def summary_row(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one lambda; a dash where there is nothing to compare."""

    def cell(name: str, formatter: write.Formatter) -> str:
        return write.optional(row[name]["estimate"], formatter)

    return (
        write.lam(row["lam"]),
        cell("energy", write.number),
        cell("energy_percent", write.percent),
        cell("test_accuracy", write.accuracy),
        cell("accuracy_change_pp", write.points),
        CHOSEN if row["validation"]["selected"] else "",
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as indented lines, every column but the last flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return [
        "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
