"""Tables in plain text that fit in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 100
"""Columns of a terminal that a table fits in."""


def lines_of(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> list[str]:
    """Lay out a table whose first `texts` columns are to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = max(10, min(widths[0], WIDTH - sum(widths[1:]) - len(widths) + 1))
    lines = [line for row in rows for line in _lines(row, widths, texts)]
    return [*_lines(header, widths, texts), "-" * (sum(widths) + len(widths) - 1), *lines]


def short(value: float | None) -> str:
    """Return a number with three digits and a suffix, such as 12.3M; "-" for None."""
    if value is None:
        return "-"
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _lines(cells: Sequence[str], widths: Sequence[int], texts: int) -> list[str]:
    """Lay out one row; a name too long goes over several lines, broken after its dots."""
    first, *more = _folded(cells[0], widths[0])
    aligned = [first.ljust(widths[0])]
    for column, cell in enumerate(cells[1:], 1):
        align = str.ljust if column < texts else str.rjust
        aligned.append(align(cell, widths[column]))
    return [" ".join(aligned).rstrip(), *more]


def _folded(name: str, width: int) -> list[str]:
    if len(name) <= width:
        return [name]
    lines = textwrap.wrap(
        name.replace(".", ". "), width, subsequent_indent="  ", break_on_hyphens=False
    )
    return [line.replace(". ", ".") for line in lines]
