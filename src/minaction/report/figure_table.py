"""The data of a plot as a table: what its points and bars stand at, for the reader's own use."""

from __future__ import annotations

import html
from typing import Any

Spec = dict[str, Any]

DIGITS = 12
"""Significant digits of the ends of error bars, which are sums: what is beyond is rounding."""


def figure_table(spec: Spec) -> dict[str, Any]:
    """Return what a panel shows as one table, in the units of its axes.

    Args:
        spec: plotly's `data` and `layout` of the panel.

    Returns:
        `columns` and `rows`. One row per point: its series and, for each axis, its place and the
        ends of its error bar, None where there is none; an axis with named ticks, as that of
        lambda, gives their names. One row per cell of a heat map.
    """
    layout = spec["layout"]
    x, y = (layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
    if any(trace["type"] == "heatmap" for trace in spec["data"]):
        (trace,) = spec["data"]
        return {"columns": [x, y, trace["colorbar"]["title"]["text"]], "rows": cells(trace)}
    across, up = (tick_names(layout[axis]) for axis in ("xaxis", "yaxis"))
    columns = [
        "series",
        *(name for axis in (x, y) for name in (axis, f"{axis} low", f"{axis} high")),
    ]
    rows = [
        [
            html.unescape(trace["name"]),
            across.get(place, plain(place)),
            *ends(trace, "x", index),
            up.get(round(value), value) if up else value,
            *ends(trace, "y", index),
        ]
        for trace in spec["data"]
        for index, (place, value) in enumerate(zip(trace["x"], trace["y"], strict=True))
    ]
    return without_empty_bars(columns, rows)


def tick_names(axis: Spec) -> dict[Any, str]:
    """Return the names of an axis's ticks by their places, none where ticks are numbers."""
    texts = (plain(text) for text in axis.get("ticktext", ()))
    return dict(zip(axis.get("tickvals", ()), texts, strict=True))


def cells(trace: Spec) -> list[list[Any]]:
    """Return the cells of a heat map: column, row, value."""
    return [
        [plain(x), plain(y), trace["z"][line][at]]
        for line, y in enumerate(trace["y"])
        for at, x in enumerate(trace["x"])
    ]


def plain(value: Any) -> Any:
    """Return a place on an axis, a name as it was before it was escaped for plotly."""
    return html.unescape(value) if isinstance(value, str) else value


def ends(trace: Spec, axis: str, index: int) -> list[float | None]:
    """Return both ends of a point's error bar."""
    bar, value = trace.get(f"error_{axis}"), trace[axis][index]
    if bar is None:
        return [None, None]
    down, up = bar["arrayminus"][index], bar["array"][index]
    places = None if down is None else value - down, None if up is None else value + up
    return [None if place is None else float(f"{place:.{DIGITS}g}") for place in places]


def without_empty_bars(columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    """Return a table without the columns of bars that no point has."""
    kept = [
        at
        for at in range(len(columns))
        if at in (0, 1, 4) or any(row[at] is not None for row in rows)
    ]
    return {
        "columns": [columns[at] for at in kept],
        "rows": [[row[at] for at in kept] for row in rows],
    }
