"""Figures of what lambda does: accuracy, energy, and what is left without rescaling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes

from minaction.report.figures import (
    axis_note,
    comparable,
    drawable,
    gauge_note,
    has_budget,
    of_zero,
    other_energies,
    raw_percent,
    split,
)
from minaction.report.panels import ON_LOGITS, OVER_SEEDS
from minaction.report.paper.axes import arms, lambda_ticks, linear_limits, log_limits, log_ticks
from minaction.report.paper.drawing import Drawing, Entry, Missing, Panel
from minaction.report.paper.style import GREY_LOOK, Look, entries, looks
from minaction.report.tables import Findings
from minaction.report.traces import Table, Value, lambda_places, positive, scaled
from minaction.study.study_file import BUDGET

LAMBDA = "\u03bb"
ACCURACY = "test accuracy (%)"
RING = " The ringed point is the \u03bb chosen on the validation split."
BUDGET_MARK = " Larger symbols are budgets."
KINDS = "Raw (filled symbols) and gauge-fixed (open symbols)"


def lambda_drawings(findings: Findings) -> Iterator[Drawing | Missing]:
    """Yield the lambda curves: accuracy, energy, and energy relative to lambda = 0."""
    tables = [table for table in findings["lambda_tables"] if any(map(drawable, table["rows"]))]
    if not any(len(table["rows"]) > 1 for table in tables):
        reason = "no network was measured at two values of \u03bb"
        yield from (Missing(name=name, reason=reason) for name in ("accuracy", "energy"))
        return
    yield accuracy_drawing(tables)
    yield energy_drawing(tables)
    if any(row["gauge_fixed_percent"]["n"] for table in tables for row in table["rows"]):
        yield rescaling_drawing(tables)
    else:
        reason = "no gauge-fixed energy was recorded at two values of \u03bb"
        yield Missing(name="rescaling", reason=reason)


def accuracy_drawing(tables: Sequence[Table]) -> Drawing:
    """Return test accuracy against lambda."""
    return lambda_drawing(
        tables,
        name="accuracy",
        caption=(
            f"Test accuracy against \u03bb.{RING if has_choice(tables) else ''} {OVER_SEEDS} "
            f"{ON_LOGITS}"
        ),
        values={"": lambda row: scaled(row["test_accuracy"], 100)},
        axis=ACCURACY,
    )


def energy_drawing(tables: Sequence[Table]) -> Drawing:
    """Return the trained energy against lambda, raw and gauge-fixed."""
    both = any(comparable(row) for table in tables for row in table["rows"])
    return lambda_drawing(
        tables,
        name="energy",
        caption=(
            f"{KINDS if both else 'Raw'} internal energy per sample on the test split "
            f"(dimensionless, logarithmic axis) against \u03bb. {OVER_SEEDS}"
            f"{gauge_note(tables)}{other_energies(tables)}"
        ),
        values={
            "raw": lambda row: positive(row["energy"]),
            **({"gauge-fixed": comparable} if both else {}),
        },
        axis="energy per sample",
    )


def rescaling_drawing(tables: Sequence[Table]) -> Drawing:
    """Return both energies relative to lambda = 0: what lies between them is mere rescaling."""
    return lambda_drawing(
        tables,
        name="rescaling",
        caption=(
            f"{KINDS} activation energy in percent of that at \u03bb = 0, logarithmic axis. The "
            "gap between the two curves of a group is rescaling that left the function unchanged. "
            "Points are geometric mean ratios paired by seed; error bars are 95 % t intervals of "
            f"the mean log ratio over seeds.{gauge_note(tables)}"
        ),
        values={
            "raw": raw_percent,
            "gauge-fixed": lambda row: of_zero(row, "energy_gauge_fixed", "gauge_fixed_percent"),
        },
        axis="energy, % of \u03bb = 0",
    )


def lambda_drawing(
    tables: Sequence[Table], *, name: str, caption: str, values: dict[str, Value], axis: str
) -> Drawing:
    """Return a figure of lambda curves, a panel per data set and energy.

    Args:
        tables: Lambda tables.
        name: The figure's name.
        caption: What it shows; the lambda axis is described here.
        values: What is drawn by what the legend calls it, the gauge-fixed twin second.
        axis: Title of the vertical axis, which is logarithmic where there are names in the legend.
    """
    found = looks(table["curve"] for table in tables)
    kinds = [
        Entry(text=kind, line=GREY_LOOK.line(filled=not order))
        for order, kind in enumerate(values)
        if kind
    ]
    logarithmic = bool(kinds)
    panels = [
        Panel(
            title=title if len(split(tables)) > 1 else "",
            x=LAMBDA,
            y=axis,
            draw=curves(members, values, found, logarithmic),
        )
        for title, members in split(tables)
    ]
    marks = BUDGET_MARK if has_budget(tables) else ""
    return Drawing(
        name=name,
        caption=f"{caption} {axis_note(tables)}{marks}",
        panels=panels,
        legend=[*entries(found), *(kinds if len(kinds) > 1 else [])],
    )


def curves(
    tables: Sequence[Table], values: dict[str, Value], found: dict[str, Look], logarithmic: bool
) -> Any:
    """Return what draws the lambda curves of one panel."""
    places = lambda_places([row["lam"] for table in tables for row in table["rows"]])

    def draw(axes: Axes) -> None:
        if logarithmic:
            axes.set_yscale("log", nonpositive="clip")
        ends: list[float] = []
        for table in tables:
            look = found[table["curve"]]
            for order, value in enumerate(values.values()):
                ends += curve(axes, table, value, places, look, filled=not order)
            if not logarithmic:
                ring(axes, table, next(iter(values.values())), places, look)
        lambda_ticks(axes, places)
        if ends:
            limits = log_limits(ends) if logarithmic else linear_limits(ends)
            axes.set_ylim(*limits)
            if logarithmic:
                log_ticks(axes.yaxis, limits)

    return draw


def curve(
    axes: Axes,
    table: Table,
    value: Value,
    places: dict[float | str, float],
    look: Look,
    *,
    filled: bool,
) -> list[float]:
    """Draw one lambda curve and its budget, which is joined to nothing; return what it spans."""
    ends: list[float] = []
    for budget in (False, True):
        points = [(r, value(r)) for r in table["rows"] if (r["lam"] == BUDGET) is budget]
        drawn = [(row, v) for row, v in points if v and v["estimate"] is not None]
        if not drawn:
            continue
        style = look.line(filled=filled, joined=not budget)
        if budget:
            style["markersize"] = 6.5
        intervals = [v for _, v in drawn]
        axes.errorbar(
            [places[row["lam"]] for row, _ in drawn],
            [v["estimate"] for v in intervals],
            yerr=arms(intervals),
            **style,
            elinewidth=0.8,
        )
        ends += [
            end
            for v in intervals
            for end in (v["estimate"], v["low"], v["high"])
            if end is not None
        ]
    return ends


def ring(
    axes: Axes, table: Table, value: Value, places: dict[float | str, float], look: Look
) -> None:
    """Draw a ring around the chosen lambda's point."""
    for row in table["rows"]:
        v = value(row)
        if row["validation"]["selected"] and v and v["estimate"] is not None:
            axes.plot(
                places[row["lam"]],
                v["estimate"],
                marker="o",
                markersize=8,
                markerfacecolor="none",
                markeredgecolor=look.colour,
                linestyle="none",
            )


def has_choice(tables: Sequence[Table]) -> bool:
    """Return whether any table has a chosen lambda to ring."""
    return any(row["validation"]["selected"] for table in tables for row in table["rows"])
