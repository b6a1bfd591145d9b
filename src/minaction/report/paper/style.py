"""How figures of a paper look: the page's colours and symbols, and text any font can write."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.ft2font import FT2Font

from minaction.report.figures_compared import GREY
from minaction.report.paper.drawing import Entry
from minaction.report.traces import DASHES, PALETTE, SYMBOLS

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a figure has the same bytes on every machine."""

MARKERS = dict(zip(SYMBOLS, ("o", "s", "D", "^", "X"), strict=True))
"""The page's symbols as matplotlib names them."""
LINES = dict(zip(DASHES, ("-", (0, (4, 1.6)), (0, (1, 1.4)), (0, (4, 1.4, 1, 1.4))), strict=True))
"""The page's dashes."""

SHOWN = 40
"""Characters of a name that a figure shows; captions and tables have more."""

RC: dict[RcKeyType, Any] = {
    "pdf.fonttype": 42,
    "font.family": FONT,
    "mathtext.fontset": "dejavusans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.1,
    "lines.markeredgewidth": 0.9,
    "errorbar.capsize": 1.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
}
"""matplotlib's settings for every figure, over its own defaults, whatever the user's are."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colour, marker and dash of one group, as on the page."""

    colour: str
    marker: str
    dash: Any

    def line(self, *, filled: bool = True, joined: bool = True) -> dict[str, Any]:
        """Return what matplotlib draws a curve by; an open one is thin."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dash if joined else "none",
            "linewidth": 1.1 if filled else 0.7,
            "markersize": 3.8,
            "markerfacecolor": self.colour if filled else "white",
            "markeredgecolor": self.colour,
        }


GREY_LOOK = Look(colour=GREY, marker="o", dash="-")


def look(index: int) -> Look:
    """Return the look of the index-th group."""
    return Look(
        colour=PALETTE[index % len(PALETTE)],
        marker=MARKERS[SYMBOLS[index % len(SYMBOLS)]],
        dash=LINES[DASHES[index % len(DASHES)]],
    )


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return a look for each name, in order of first appearance."""
    return {name: look(index) for index, name in enumerate(dict.fromkeys(names))}


def entries(found: dict[str, Look]) -> list[Entry]:
    """Return the legend of groups; none is needed for a single one."""
    if len(found) < 2:
        return []
    return [Entry(text=name, line=one.line()) for name, one in found.items()]


def plain(text: object, shown: int = SHOWN) -> str:
    """Return text as a figure can write it: one line, cut, no mathematics, known glyphs only.

    Characters that the font has no glyph for are written as `U+1F600`.
    """
    known = glyphs()
    whole = " ".join(str(text).encode("utf-8", "replace").decode("utf-8").split())
    cut = whole if len(whole) <= shown else f"{whole[: shown - 1]}\u2026"
    written = "".join(
        c if ord(c) in known and not unicodedata.category(c).startswith("C") else f"U+{ord(c):04X}"
        for c in cut
    )
    # a legend leaves out what begins with an underscore
    return ("\u2009" if written.startswith("_") else "") + written.replace("$", r"\$")


@cache
def glyphs() -> frozenset[int]:
    """Return the code points that the font has a glyph for."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(FT2Font(str(path)).get_charmap())
