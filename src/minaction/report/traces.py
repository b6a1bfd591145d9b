"""Traces and axes of the figures as plotly specifications.

A group is told apart by colour, symbol and dash together, never by colour alone; gauge-fixed
energies have open symbols and thin lines, budgets a larger symbol with a dot.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

from minaction.report.formatting import lam as lam_text
from minaction.report.formatting import lam_found
from minaction.report.labels import FONT, PLACES, place_labels
from minaction.report.markup import clean
from minaction.study.study_file import BUDGET

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Six colours of Okabe and Ito (2008), distinct under every common colour blindness."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
DASHES = ("solid", "dash", "dot", "dashdot")
DASHED_TICK = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot"}}

Row = dict[str, Any]
Table = dict[str, Any]
Spec = dict[str, Any]
Value = Callable[[Row], dict[str, Any] | None]
"""Picks an estimate from a row of a lambda table, None where it has no place on the axis."""


def log_axis(title: str) -> Spec:
    """Return a logarithmic axis with a tick a decade; plotly writes powers 1.25 times as large."""
    return {
        "type": "log",
        "title": {"text": title},
        "exponentformat": "power",
        "dtick": 1,
        "tickfont": {"size": 10},
        "minor": {"showgrid": False},
    }


def lambda_places(lams: Sequence[float | str]) -> dict[float | str, float]:
    """Return where each lambda stands on the axis: at log10, and 0 one decade left of the rest.

    A budget is no number: it stands one decade right of all numbers.
    """
    places: dict[float | str, float] = {
        lam: math.log10(lam) for lam in lams if not isinstance(lam, str) and lam > 0
    }
    if 0.0 in lams:
        places = {0.0: min(places.values(), default=0.0) - 1, **places}
    if BUDGET in lams:
        places[BUDGET] = max(places.values(), default=0.0) + 1
    return places


def lambda_axis(places: dict[float | str, float]) -> Spec:
    """Return the lambda axis with a tick and a label at every lambda of the design."""
    low, high = min(places.values()), max(places.values())
    return {
        "title": {"text": "\u03bb"},
        "tickvals": list(places.values()),
        "ticktext": [lam_text(lam) for lam in places],
        "range": [low - 0.35, high + 0.35],
    }


def separators(places: dict[float | str, float]) -> list[Spec]:
    """Return the dotted lines that part lambda = 0 and the budget from the logarithmic axis."""
    if len(places) < 2:
        return []
    gaps = [places[0.0] + 0.5] if 0.0 in places else []
    if BUDGET in places and places[BUDGET] - 0.5 not in gaps:
        gaps.append(places[BUDGET] - 0.5)
    return [{**DASHED_TICK, "x0": gap, "x1": gap} for gap in gaps]


def lambda_traces(
    table: Table, value: Value, places: dict[float | str, float], look: Spec, suffix: str = ""
) -> list[Spec]:
    """Return one lambda curve and, where there is a budget, its point, joined to nothing.

    lambda = 0 is joined to the others like any other point.
    """
    traces: list[Spec] = []
    for budget in (False, True):
        points = [(r, value(r)) for r in table["rows"] if (r["lam"] == BUDGET) is budget]
        drawn = [(row, v) for row, v in points if v and v["estimate"] is not None]
        if not drawn:
            continue
        traces.append(
            {
                **(marked(look) if budget else look),
                "showlegend": not traces,
                "name": trace_name(table) + suffix,
                "legendgroup": trace_name(table) + suffix,
                "x": [places[row["lam"]] for row, _ in drawn],
                "y": [v["estimate"] for _, v in drawn],
                "error_y": error_bars([v for _, v in drawn]),
                "text": [f"{point_text(row)}, n = {v['n']}" for row, v in drawn],
                "hovertemplate": "%{text}<br>%{y:.4~g}<extra>%{fullData.name}</extra>",
            }
        )
    return traces


def trade_off_traces(table: Table, energy: Value, look: Spec) -> list[Spec]:
    """Return one group's path through energy and accuracy, in the order of lambda.

    The chosen lambda is ringed; a budget is a point that the path does not touch.
    """
    traces: list[Spec] = []
    for budget in (False, True):
        rows = [row for row in table["rows"] if (row["lam"] == BUDGET) is budget]
        points = [(row, energy(row), scaled(row["test_accuracy"], 100)) for row in rows]
        drawn = [(r, e, a) for r, e, a in points if e and a["estimate"] is not None]
        if not drawn:
            continue
        base = marked(look) if budget else ringed(look, [row for row, _, _ in drawn])
        traces.append(
            {
                **base,
                "showlegend": not traces,
                "mode": f"{base['mode']}+text",
                "name": trace_name(table),
                "legendgroup": trace_name(table),
                "x": [e["estimate"] for _, e, _ in drawn],
                "y": [a["estimate"] for _, _, a in drawn],
                "error_x": error_bars([e for _, e, _ in drawn]),
                "error_y": error_bars([a for _, _, a in drawn]),
                "text": [lam_text(row["lam"]) for row, _, _ in drawn],
                "customdata": [point_text(row) for row, _, _ in drawn],
                "textfont": {"size": FONT},
                "cliponaxis": False,
                "hovertemplate": (
                    "%{customdata}<br>energy %{x:.4~g}<br>accuracy %{y:.2f} %"
                    "<extra>%{fullData.name}</extra>"
                ),
            }
        )
    return traces


def labelled(traces: Sequence[Spec], x: Sequence[float], y: Sequence[float]) -> list[Spec]:
    """Return traces with their labels where there is room for them, and without the others.

    Args:
        traces: From `trade_off_traces`, all of one panel.
        x: Ends of the axis of energy, log10.
        y: Ends of the axis of accuracy.
    """
    placed = place_labels(traces, x, y)
    return [
        {
            **trace,
            "text": [text if place else "" for text, place in zip(trace["text"], at, strict=True)],
            "textposition": [place or PLACES[0] for place in at],
        }
        for trace, at in zip(traces, placed, strict=True)
    ]


def extent(traces: Sequence[Spec], axis: str) -> list[float]:
    """Return the ends of an axis that holds all points and error bars with room around them.

    The axis `x` is logarithmic and its ends are log10; bars that reach 0 or below are left out.
    """
    values = [
        end
        for trace in traces
        for index, value in enumerate(trace[axis])
        for end in (
            value,
            value + (trace[f"error_{axis}"]["array"][index] or 0),
            value - (trace[f"error_{axis}"]["arrayminus"][index] or 0),
        )
    ]
    if axis == "x":
        values = [math.log10(value) for value in values if value > 0]
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    return [low - room, high + room]


def point_text(row: Row) -> str:
    """Return what a pointer on a point reads: its lambda, or the one its budget found."""
    if row["lam"] != BUDGET:
        return f"\u03bb = {lam_text(row['lam'])}"
    found = row["multiplier"]["estimate"]
    return BUDGET if found is None else f"{BUDGET}, \u03bb = {lam_found(found)} found"


def style(index: int) -> Spec:
    """Return the look of the index-th group of a panel."""
    colour = PALETTE[index % len(PALETTE)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": DASHES[index % len(DASHES)]},
        "marker": {"color": colour, "size": 8, "symbol": SYMBOLS[index % len(SYMBOLS)]},
    }


def thin(look: Spec) -> Spec:
    """Return the look of a group's gauge-fixed energy."""
    marker = {**look["marker"], "symbol": f"{look['marker']['symbol']}-open", "line": {"width": 2}}
    return {**look, "line": {**look["line"], "width": 1}, "marker": marker}


def marked(look: Spec) -> Spec:
    """Return the look of a group's budget."""
    symbol = f"{look['marker']['symbol']}-dot"
    marker = {**look["marker"], "symbol": symbol, "size": 12, "line": {"width": 2}}
    return {**look, "mode": "markers", "marker": marker}


def ringed(look: Spec, rows: Sequence[Row]) -> Spec:
    """Return the look of a path whose chosen lambda stands out."""
    chosen = [row["validation"]["selected"] for row in rows]
    symbol = look["marker"]["symbol"]
    marker = {
        **look["marker"],
        "symbol": [f"{symbol}-open" if ring else symbol for ring in chosen],
        "size": [14 if ring else 8 for ring in chosen],
        "opacity": 1,  # else plotly takes markers of several sizes for bubbles to look through
        "line": {"width": [2 if ring else 0 for ring in chosen]},
    }
    return {**look, "marker": marker}


def trace_name(table: Table) -> str:
    """Return a group's name in a legend, where plotly reads a little HTML: escaped."""
    return html.escape(clean(table["curve"]))


def error_bars(intervals: Sequence[dict[str, Any]]) -> Spec:
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


def specification(traces: list[Spec], x: Spec, y: Spec) -> Spec:
    """Return plotly's `data` and `layout` of one panel."""
    axis = {"zeroline": False, "automargin": True}
    lines = math.ceil(sum(trace["showlegend"] for trace in traces) / 2)
    return {
        "data": traces,
        "layout": {
            "xaxis": {**axis, **x},
            "yaxis": {**axis, **y},
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 56, "r": 20, "t": 48 + 16 * lines, "b": 48},
            "height": 320 + 20 * lines,
            "hovermode": "closest",
        },
    }


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
