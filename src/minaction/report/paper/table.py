"""What a table of a paper is: rows of findings, printed as LaTeX and kept whole as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minaction.report import formatting as write
from minaction.report.paper.latex import BREAK, escape, number, tabular

Row = Mapping[str, Any]
ENDS = ("estimate", "low", "high", "n")
"""Columns that an interval takes in a CSV file: its own, and three with these endings."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key: Name in the rows and in the CSV file.
        heading: What stands above it in print; None where only the CSV file has it.
        write: How its numbers, or the estimates of its intervals, are printed; None for texts.
        ends: Whether the ends of its intervals are printed.
    """

    key: str
    heading: str | None
    write: write.Formatter | None = None
    ends: bool = True


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table.

    Attributes:
        name: Of its files, letters and hyphens.
        caption: Plain text that says what its numbers are.
        columns: In order; their rows hold texts, numbers, None, or intervals as dicts.
        rows: From the findings, unrounded.
        group: Key of the text that rows are put together under in print, none where empty.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    group: str = ""


def as_latex(table: PaperTable) -> str:
    """Return a table for LaTeX: numbers rounded, intervals in brackets behind their estimates."""
    printed = [column for column in table.columns if column.heading is not None]
    groups: dict[str, list[list[str]]] = {}
    for row in table.rows:
        name = write.short(str(row[table.group])) if table.group else ""
        groups.setdefault(escape(name or ""), []).append(
            [(number if column.write else escape)(cell(row, column)) for column in printed]
        )
    alignment = "".join("r" if column.write else "l" for column in printed)
    return tabular([heading(column) for column in printed], list(groups.items()), alignment)


def heading(column: Column) -> str:
    """Return what stands above a column, for LaTeX."""
    return BREAK.join(map(escape, (column.heading or "").split(BREAK)))


def cell(row: Row, column: Column) -> str:
    """Return what is printed of one value."""
    value = row.get(column.key)
    if column.write is None:
        return write.ABSENT if value in (None, "") else write.short(str(value)) or ""
    if isinstance(value, Mapping):
        if value["estimate"] is None:
            return write.ABSENT
        text = column.write(value["estimate"])
        if not column.ends or (value["low"] is None and value["high"] is None):
            return text
        low, high = (
            "\u221e" if value[end] is None else column.write(value[end]) for end in ("low", "high")
        )
        return f"{text} [{low}, {high}]"
    return write.optional(value, column.write)


def as_csv(table: PaperTable) -> str:
    """Return a table as CSV: every number in full, an interval as four columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    wide = {
        column.key: any(isinstance(row.get(column.key), Mapping) for row in table.rows)
        for column in table.columns
    }
    names = [
        [key, *(f"{key}_{end}" for end in ENDS[1:])] if of else [key] for key, of in wide.items()
    ]
    writer.writerow([name for group in names for name in group])
    for row in table.rows:
        writer.writerow(
            [
                part
                for key, of in wide.items()
                for part in (parts(row.get(key)) if of else [row.get(key)])
            ]
        )
    return text.getvalue()


def parts(value: Any) -> list[Any]:
    """Return estimate, ends and number of an interval, empty where it is none."""
    return [value[end] if isinstance(value, Mapping) else None for end in ENDS]


def bare(formatter: write.Formatter) -> write.Formatter:
    """Return a formatter that leaves out the unit, for a column whose heading has it."""

    def written(value: float) -> str:
        text = formatter(value)
        for unit in (" %", " pp", "x"):
            text = text.removesuffix(unit)
        return text

    return written
