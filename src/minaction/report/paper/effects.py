"""Forest plots: effect sizes of the factors and gains in training efficiency, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minaction.report import formatting as write
from minaction.report.analysis.architecture import numbers
from minaction.report.forest import effect_name
from minaction.report.paper.anova_table import convention
from minaction.report.paper.drawing import Drawing, Entry, Missing, Panel
from minaction.report.paper.style import GREY_LOOK, Look, entries, look, looks, plain

COHEN = (0.01, 0.06, 0.14)
"""Eta squared of a small, a medium and a large effect, as Cohen has them."""
MOST_ROWS = 24
"""Of one panel."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One estimate of a forest plot: where it stands, its look, and what is written beside it."""

    row: int
    shift: float
    estimate: float
    low: float | None
    high: float | None
    look: Look
    filled: bool
    text: str


def effect_drawings(tables: Sequence[dict[str, Any]]) -> Iterator[Drawing | Missing]:
    """Yield the forest plot of partial eta squared, all responses in one.

    Args:
        tables: From `factorial_tables`.
    """
    shown = [table for table in tables if not table["reason"]]
    if not shown:
        yield Missing(name="effect-sizes", reason=tables[0]["reason"])
        return
    tested = [[row for row in table["rows"] if row["F"] is not None] for table in shown]
    names = list(dict.fromkeys(row["effect"] for rows in tested for row in rows))
    shifts = np.linspace(-0.18, 0.18, len(shown)) if len(shown) > 1 else np.zeros(1)
    marks = [
        Mark(
            row=names.index(row["effect"]),
            shift=float(shift),
            estimate=row["partial_eta_sq"],
            low=row["partial_eta_sq_low"],
            high=row["partial_eta_sq_high"],
            look=look(order),
            filled=not order,
            text=numbers(row),
        )
        for order, (rows, shift) in enumerate(zip(tested, shifts, strict=True))
        for row in rows
    ]
    labels = list(map(effect_name, names))
    legend = [
        Entry(text=table["label"], line=look(order).line(filled=not order, joined=False))
        for order, table in enumerate(shown)
    ]
    yield Drawing(
        name="effect-sizes",
        caption=(
            f"Partial \u03b7\u00b2 of every effect on {' and '.join(t['label'] for t in shown)}. "
            f"Bars are 95 % intervals. {convention(shown[0])} Dotted lines: what Cohen calls a "
            "small, a medium and a large effect (0.01, 0.06, 0.14)."
        ),
        panels=forest(labels, marks, "partial \u03b7\u00b2", COHEN, (-0.02, 1.03)),
        legend=legend if len(legend) > 1 else [],
        columns=1,
        height=0.55 + 0.3 * min(len(names), MOST_ROWS),
    )


def gain_drawings(efficiency: dict[str, Any]) -> Iterator[Drawing | Missing]:
    """Yield the forest plot of gains in training efficiency over the best conventional model.

    Args:
        efficiency: From `training_efficiency`.
    """
    rows = [row for row in efficiency["gains"] if row["against"] == "best"]
    if not rows:
        reason = efficiency["reason"] or "the histories have no costs to compare"
        yield Missing(name="efficiency-gains", reason=reason)
        return
    found = looks(row["unit"] for row in rows)
    names = list(dict.fromkeys(map(name_of_gain, rows)))
    shifts = dict(zip(found, np.linspace(-0.22, 0.22, len(found)).tolist(), strict=True))
    marks = [
        Mark(
            row=names.index(name_of_gain(row)),
            shift=shifts[row["unit"]],
            estimate=100 * row["gain"],
            low=None if row["low"] is None else 100 * row["low"],
            high=None if row["high"] is None else 100 * row["high"],
            look=found[row["unit"]],
            filled=True,
            text=gain_text(row),
        )
        for row in rows
    ]
    yield Drawing(
        name="efficiency-gains",
        caption=(
            "Gain in training efficiency: 1 - cost to reach the target / cost of the best "
            "conventional model, in percent; right of the dotted line is cheaper. The target is "
            "95 % of that model's mean final validation accuracy. Runs that never reach it are "
            "censored. Bars are 95 % intervals of a bootstrap over seeds, stratified by model."
        ),
        panels=forest(names, marks, "gain (%)", (0.0,), None),
        legend=entries(found),
        columns=1,
        height=0.55 + 0.34 * min(len(names), MOST_ROWS),
    )


def name_of_gain(row: dict[str, Any]) -> str:
    """Return where a gain was measured and of which model."""
    return f"{row['dataset'] or 'all of ' + row['modality']} \u00b7 {row['model']}"


def gain_text(row: dict[str, Any]) -> str:
    """Write a gain with its interval, in percent."""
    texts = [
        write.signed(f"{100 * row[name]:.0f}")
        for name in ("gain", "low", "high")
        if row[name] is not None
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if len(texts) == 3 else texts[0]


def forest(
    names: Sequence[str],
    marks: Sequence[Mark],
    axis: str,
    lines: Sequence[float],
    limits: tuple[float, float] | None,
) -> list[Panel]:
    """Return the panels of a forest plot, at most `MOST_ROWS` rows in each."""
    return [
        Panel(title="", x=axis, y="", draw=rows_drawer(names, marks, start, lines, limits))
        for start in range(0, len(names), MOST_ROWS)
    ]


def rows_drawer(
    names: Sequence[str],
    marks: Sequence[Mark],
    start: int,
    lines: Sequence[float],
    limits: tuple[float, float] | None,
) -> Callable[[Axes], None]:
    """Return what draws the rows of a forest plot from one on, first at the top."""
    shown = names[start : start + MOST_ROWS]

    def draw(axes: Axes) -> None:
        for line in lines:
            axes.axvline(line, color=GREY_LOOK.colour, linestyle=":", linewidth=0.7)
        for mark in marks:
            if not start <= mark.row < start + MOST_ROWS:
                continue
            y = mark.row - start + mark.shift
            ends = [mark.estimate if end is None else end for end in (mark.low, mark.high)]
            reach = [[abs(mark.estimate - ends[0])], [abs(ends[1] - mark.estimate)]]
            style = mark.look.line(filled=mark.filled, joined=False)
            axes.errorbar([mark.estimate], [y], xerr=reach, **style, elinewidth=1.0)
            axes.annotate(
                mark.text,
                (1.02, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=5.5,
                color=mark.look.colour,
            )
        axes.set_yticks(range(len(shown)), [plain(name) for name in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        if limits:
            axes.set_xlim(*limits)

    return draw
