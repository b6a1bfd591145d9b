"""The figures as plotly specifications: plain dicts computed from the findings alone.

Colours, grid and text are set by the page for light, dark and print; what is written here is what
does not depend on them. A group is told apart by colour, symbol and dash together, never by colour
alone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minaction.report.formatting import lam as lam_text
from minaction.report.markup import clean

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Six colours of Okabe and Ito (2008), distinct under every common colour blindness."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
DASHES = ("solid", "dash", "dot", "dashdot")
DASHED_TICK = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot"}}

Row = dict[str, Any]
Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot: an id that is unique on the page, a title and plotly's `data` and `layout`."""

    id: str
    title: str
    spec: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page: panels side by side under one caption."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]


OVER_SEEDS = (
    "Points are means over the seeds whose run is ok; error bars are 95 % t intervals of the mean "
    "over seeds. A single seed has no error bar."
)


def figures(findings: dict[str, Any]) -> list[Figure]:
    """Return the figures of the page; none before the first run has been measured."""
    tables = [table for table in findings["lambda_tables"] if any(map(drawable, table["rows"]))]
    if not tables:
        return []
    return [accuracy_figure(tables), energy_figure(tables), trade_off_figure(tables)]


def accuracy_figure(tables: Sequence[Table]) -> Figure:
    """Return test accuracy against lambda, one trace per group."""
    return Figure(
        id="accuracy",
        title="Test accuracy against \u03bb",
        caption=f"Test accuracy against \u03bb. {OVER_SEEDS} {AXIS_NOTE}",
        panels=panels(
            "accuracy",
            tables,
            lambda row: scaled(row["test_accuracy"], 100),
            {"title": {"text": "test accuracy (%)"}},
        ),
    )


def energy_figure(tables: Sequence[Table]) -> Figure:
    """Return the trained energy against lambda, one trace per group."""
    return Figure(
        id="energy",
        title="Energy against \u03bb",
        caption=(
            "Raw internal energy per sample on the test split (dimensionless, logarithmic axis) "
            f"against \u03bb. {OVER_SEEDS} A bar that would reach below 0 runs to the edge. "
            f"{AXIS_NOTE}"
        ),
        panels=panels(
            "energy",
            tables,
            lambda row: positive(row["energy"]),
            LOG_ENERGY,
        ),
    )


def trade_off_figure(tables: Sequence[Table]) -> Figure:
    """Return test accuracy against energy; the chosen lambda of each group is ringed."""
    made = [
        Panel(
            id=f"trade-off-{index}",
            title=title,
            spec=specification(
                [trade_off_trace(table, style(i)) for i, table in enumerate(members)],
                {**LOG_ENERGY, "title": {"text": "raw energy (log)"}},
                {"title": {"text": "test accuracy (%)"}},
            ),
        )
        for index, (title, members) in enumerate(split(tables))
    ]
    return Figure(
        id="trade-off",
        title="Accuracy against energy",
        caption=(
            "Each point is one \u03bb, labelled; up and to the left is better. The larger, open "
            f"symbol is the \u03bb chosen on the validation split. {OVER_SEEDS}"
        ),
        panels=tuple(made),
    )


AXIS_NOTE = (
    "The \u03bb axis is logarithmic; \u03bb = 0 has no place on it and stands at the left, before "
    "the dotted line."
)
LOG_ENERGY = {
    "type": "log",
    "title": {"text": "raw energy (log)"},
    "exponentformat": "power",
    "dtick": 1,
    "minor": {"showgrid": False},
}


def split(tables: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    """Return the tables of each panel under the panel's title, in the order of the design.

    One panel per data set and energy; a title names the energy where there are several.
    """
    several = len({table["factors"]["energy"] for table in tables}) > 1
    members: dict[str, list[Table]] = {}
    for table in tables:
        factors = table["factors"]
        names = (factors["dataset"], factors["energy"]) if several else (factors["dataset"],)
        members.setdefault(" \u00b7 ".join(map(str, names)), []).append(table)
    return list(members.items())


def panels(
    name: str,
    tables: Sequence[Table],
    value: Callable[[Row], dict[str, Any] | None],
    axis: dict[str, Any],
) -> tuple[Panel, ...]:
    """Return the panels of lambda curves."""
    made = []
    for index, (title, members) in enumerate(split(tables)):
        places = lambda_places(sorted({row["lam"] for one in members for row in one["rows"]}))
        traces = [curve(one, value, places, style(i)) for i, one in enumerate(members)]
        spec = specification(traces, lambda_axis(places), axis)
        if len(places) > 1 and 0.0 in places:
            gap = places[0.0] + 0.5
            spec["layout"]["shapes"] = [{**DASHED_TICK, "x0": gap, "x1": gap}]
        made.append(Panel(id=f"{name}-{index}", title=title, spec=spec))
    return tuple(made)


def lambda_places(lams: Sequence[float]) -> dict[float, float]:
    """Return where each lambda stands on the axis: at log10, and 0 one decade left of the rest."""
    places = {lam: math.log10(lam) for lam in lams if lam > 0}
    if 0.0 in lams:
        places = {0.0: min(places.values(), default=0.0) - 1, **places}
    return places


def lambda_axis(places: dict[float, float]) -> dict[str, Any]:
    """Return the lambda axis with a tick and a label at every lambda of the design."""
    low, high = min(places.values()), max(places.values())
    return {
        "title": {"text": "\u03bb"},
        "tickvals": list(places.values()),
        "ticktext": [lam_text(lam) for lam in places],
        "range": [low - 0.35, high + 0.35],
    }


def curve(
    table: Table,
    value: Callable[[Row], dict[str, Any] | None],
    places: dict[float, float],
    look: dict[str, Any],
) -> dict[str, Any]:
    """Return one lambda curve; lambda = 0 is joined to the others like any other point."""
    points = [(row, value(row)) for row in table["rows"]]
    drawn = [(row, v) for row, v in points if v and v["estimate"] is not None]
    return {
        **look,
        "name": trace_name(table),
        "x": [places[row["lam"]] for row, _ in drawn],
        "y": [v["estimate"] for _, v in drawn],
        "error_y": error_bars([v for _, v in drawn]),
        "text": [f"\u03bb = {lam_text(row['lam'])}, n = {v['n']}" for row, v in drawn],
        "hovertemplate": "%{text}<br>%{y:.4~g}<extra>%{fullData.name}</extra>",
    }


def trade_off_trace(table: Table, look: dict[str, Any]) -> dict[str, Any]:
    """Return one group's path through energy and accuracy, in the order of lambda."""
    drawn = [row for row in table["rows"] if drawable(row) and positive(row["energy"])]
    accuracies = [scaled(row["test_accuracy"], 100) for row in drawn]
    chosen = [row["validation"]["selected"] for row in drawn]
    symbol = look["marker"]["symbol"]
    return {
        **look,
        "mode": "lines+markers+text",
        "name": trace_name(table),
        "x": [row["energy"]["estimate"] for row in drawn],
        "y": [accuracy["estimate"] for accuracy in accuracies],
        "error_x": error_bars([row["energy"] for row in drawn]),
        "error_y": error_bars(accuracies),
        "text": [lam_text(row["lam"]) for row in drawn],
        "textposition": "top right",
        "cliponaxis": False,
        "marker": {
            **look["marker"],
            "symbol": [f"{symbol}-open" if ring else symbol for ring in chosen],
            "size": [14 if ring else 8 for ring in chosen],
            "line": {"width": [2 if ring else 0 for ring in chosen]},
        },
        "hovertemplate": (
            "\u03bb = %{text}<br>energy %{x:.4~g}<br>accuracy %{y:.2f} %"
            "<extra>%{fullData.name}</extra>"
        ),
    }


def style(index: int) -> dict[str, Any]:
    """Return the look of the index-th group of a panel."""
    colour = PALETTE[index % len(PALETTE)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": DASHES[index % len(DASHES)]},
        "marker": {"color": colour, "size": 8, "symbol": SYMBOLS[index % len(SYMBOLS)]},
    }


def trace_name(table: Table) -> str:
    """Return a group's name in a legend, where plotly reads a little HTML: escaped."""
    return html.escape(clean(table["curve"]))


def error_bars(intervals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return plotly's error bars; a point without interval has none."""

    def arms(end: str, sign: int) -> list[float | None]:
        return [
            None if value[end] is None else sign * (value[end] - value["estimate"])
            for value in intervals
        ]

    return {
        "type": "data",
        "array": arms("high", 1),
        "arrayminus": arms("low", -1),
        "thickness": 1.5,
        "width": 4,
    }


def specification(
    traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any]
) -> dict[str, Any]:
    """Return plotly's `data` and `layout` of one panel."""
    axis = {"zeroline": False, "automargin": True}
    return {
        "data": traces,
        "layout": {
            "xaxis": {**axis, **x},
            "yaxis": {**axis, **y},
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 56, "r": 20, "t": 64, "b": 48},
            "height": 320 + 20 * math.ceil(len(traces) / 2),
            "hovermode": "closest",
        },
    }


def drawable(row: Row) -> bool:
    """Return whether a row has both numbers a figure needs."""
    return row["energy"]["estimate"] is not None and row["test_accuracy"]["estimate"] is not None


def scaled(interval: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return an interval in another unit."""
    ends = {key: interval[key] for key in ("estimate", "low", "high")}
    return {
        **interval,
        **{key: None if end is None else factor * end for key, end in ends.items()},
    }


def positive(interval: dict[str, Any]) -> dict[str, Any] | None:
    """Return an interval that has a place on a logarithmic axis, else None."""
    estimate = interval["estimate"]
    return interval if estimate is not None and estimate > 0 else None
