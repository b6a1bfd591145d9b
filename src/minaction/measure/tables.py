"""Tables in plain text that fit in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100
"""Columns of a terminal that a table fits in."""


def lines_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table whose first column is text and all others are to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = max(10, min(widths[0], WIDTH - sum(widths[1:]) - len(widths) + 1))
    lines = [line for row in rows for line in _lines(row, widths)]
    return [*_lines(header, widths), "-" * (sum(widths) + len(widths) - 1), *lines]


def short(value: float | None) -> str:
    """Return a number with three digits and a suffix, such as 12.3M; "-" for None."""
    if value is None:
        return "-"
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Lay out one row; a name too long goes over several lines, broken after its dots."""
    name, *numbers = cells
    first, *more = _folded(name, widths[0])
    right = " ".join(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
    return [f"{first.ljust(widths[0])} {right}".rstrip(), *more]


def _folded(name: str, width: int) -> list[str]:
    if len(name) <= width:
        return [name]
    lines = textwrap.wrap(
        name.replace(".", ". "), width, subsequent_indent="  ", break_on_hyphens=False
    )
    return [line.replace(". ", ".") for line in lines]
