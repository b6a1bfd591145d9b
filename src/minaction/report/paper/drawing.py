"""What a figure of a paper is before it has a size: panels, a legend and a caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.axes import Axes

MOST_PANELS = 12
"""Panels on one sheet; what has more goes on several."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text that belongs to a point, put where there is room once the figure has its size."""

    x: float
    y: float
    text: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: Plain text.
        x: Its horizontal axis.
        y: Its vertical axis.
        draw: Draws everything between the axes.
        labels: Texts of points.
        points: Where markers are, which labels are to keep clear of.
    """

    title: str
    x: str
    y: str
    draw: Callable[[Axes], None]
    labels: Sequence[Label] = ()
    points: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a legend: what it says, and matplotlib's properties of the line it shows."""

    text: str
    line: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure: panels under one legend and one caption.

    Attributes:
        name: Of its files, letters and hyphens.
        caption: Plain text that defines what its error bars are.
        panels: In reading order.
        legend: Entries common to all panels.
        columns: Panels side by side on a page's full width.
        height: Of a panel in inches.
    """

    name: str
    caption: str
    panels: Sequence[Panel]
    legend: Sequence[Entry] = ()
    columns: int = 3
    height: float = 1.85


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A figure or table that a study does not allow, and why."""

    name: str
    reason: str


def sheets(drawing: Drawing) -> Iterator[Drawing]:
    """Yield a drawing in parts of at most `MOST_PANELS` panels, named `a`, `b`, and so on."""
    panels = drawing.panels
    parts = [panels[start : start + MOST_PANELS] for start in range(0, len(panels), MOST_PANELS)]
    if len(parts) == 1:
        yield drawing
        return
    for number, part in enumerate(parts):
        caption = f"{drawing.caption} Part {number + 1} of {len(parts)}."
        yield replace(
            drawing, name=f"{drawing.name}-{in_letters(number)}", panels=part, caption=caption
        )


def in_letters(number: int) -> str:
    """Return a number from 0 as letters: a, b, …, z, aa, ab."""
    rest, place = divmod(number, 26)
    return (in_letters(rest - 1) if rest else "") + chr(ord("a") + place)
