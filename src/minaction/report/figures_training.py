"""The figures of what is inside a network and of its training: a choice of networks, one shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minaction.report.figures_compared import GREY, escaped
from minaction.report.formatting import lam as lam_text
from minaction.report.panels import Figure, Panel
from minaction.report.traces import (
    PALETTE,
    Spec,
    Table,
    error_bars,
    log_axis,
    scaled,
    specification,
    style,
)
from minaction.report.training import MOST, rounded

SHARES = {"energy_share": "raw", "gauge_fixed_share": "gauge-fixed"}

AXES: dict[str, tuple[str, Spec]] = {
    "train_loss": ("task loss", log_axis("task loss (log)")),
    "train_energy": ("energy", log_axis("energy (log)")),
    "val_accuracy": ("validation accuracy", {"title": {"text": "validation accuracy (%)"}}),
    "lam": ("\u03bb", log_axis("\u03bb (log)")),
}
"""What a quantity of the training curves is called, and its axis."""

PATTERNS = ("", "/", ".", "\\", "x")
"""Of bars: one is told from the next by more than its colour."""

NAME_SHOWN = 48
"""Most characters of a layer's name that an axis has room for."""

UNITS = {"step": "optimiser step", "epoch": "epoch"}


def layer_figure(tables: Sequence[Table]) -> Figure | None:
    """Return the share of each layer in its network's energy, raw and gauge-fixed."""
    panels = [
        Panel(
            id=f"layers-{index}-{share.replace('_', '-')}",
            title=f"{table['label']} \u00b7 {kind} energy",
            spec=layer_panel(table["layers"], share),
            choice=table["label"],
        )
        for index, table in enumerate(tables)
        for share, kind in SHARES.items()
        if any(row[share]["estimate"] is not None for row in table["layers"])
    ]
    if not panels:
        return None
    return Figure(
        id="layers",
        title="Where the energy is: layers",
        caption=(
            "Share of each layer in the energy of its network, in percent of the sum over layers, "
            "a bar per \u03bb. Bars are means over the seeds whose run is ok; error bars are 95 % "
            "t intervals of the mean over seeds, taken on the logit scale. A single seed has no "
            "error bar. The energies themselves are in the tables of layers below."
        ),
        panels=tuple(panels),
    )


def layer_panel(rows: Sequence[dict[str, Any]], share: str) -> Spec:
    """Return a group of bars per layer, one for each lambda."""
    traces = []
    for index, lam in enumerate(dict.fromkeys(row["lam"] for row in rows)):
        drawn = [r for r in rows if r["lam"] == lam and r[share]["estimate"] is not None]
        bars = [scaled(row[share], 100) for row in drawn]
        traces.append(
            {
                "type": "bar",
                "name": f"\u03bb = {lam_text(lam)}",
                "showlegend": True,
                "marker": {
                    "color": PALETTE[index % len(PALETTE)],
                    "pattern": {
                        "shape": PATTERNS[index % len(PATTERNS)],
                        "solidity": 0.2,
                        "fillmode": "overlay",
                    },
                },
                "x": [escaped(row["layer"]) for row in drawn],
                "y": [bar["estimate"] for bar in bars],
                "error_y": {**error_bars(bars), "width": 2, "color": GREY},
                "customdata": [f"{tick(row['layer'])}<br>n = {row[share]['n']}" for row in drawn],
                "hovertemplate": "%{customdata}, %{y:.2f} %<extra>%{fullData.name}</extra>",
            }
        )
    names = list(dict.fromkeys(row["layer"] for row in rows))
    ticks = {"tickvals": [escaped(name) for name in names], "ticktext": [tick(n) for n in names]}
    axes = (
        {"title": {"text": "layer"}, "type": "category", **ticks},
        {"title": {"text": "share of energy (%)"}, "rangemode": "tozero"},
    )
    return specification(traces, *axes)


def tick(name: str) -> str:
    """Return a layer's name for plotly, a long one without its middle: paths differ at the end."""
    half = NAME_SHOWN // 2
    return escaped(name if len(name) <= NAME_SHOWN else f"{name[:half]}\u2026{name[-half:]}")


def training_figure(groups: Sequence[dict[str, Any]]) -> Figure | None:
    """Return the training curves of each group of runs, a panel per quantity."""
    panels = [
        panel for index, group in enumerate(groups) for panel in training_panels(index, group)
    ]
    if not panels:
        return None
    return Figure(
        id="training",
        title="Training curves",
        caption=(
            "Task loss and trained energy are means over the training batches since the point "
            "before; accuracy is that on the validation split; \u03bb is shown where it moved. "
            "Points are means over the seeds whose run is ok; error bars are 95 % t intervals of "
            "the mean over seeds. A single seed has no error bar; on a logarithmic axis a bar that "
            "would reach below 0 runs to the edge, and what is 0 has no place. Of runs with more "
            f"than {MOST} entries as many are drawn, evenly spread."
        ),
        panels=tuple(panels),
    )


def training_panels(index: int, group: dict[str, Any]) -> Iterator[Panel]:
    """Yield a panel for each quantity of one group of runs that was recorded."""
    for quantity, (name, axis) in AXES.items():
        log = axis.get("type") == "log"
        traces = [
            curve_trace(order, curve, 100 if quantity == "val_accuracy" else 1, log)
            for order, curve in enumerate(group["curves"][quantity])
        ]
        if any(trace["x"] for trace in traces):
            spec = specification(traces, {"title": {"text": UNITS[group["unit"]]}}, axis)
            yield Panel(
                id=f"training-{index}-{quantity.replace('_', '-')}",
                title=f"{group['label']} \u00b7 {name}",
                spec=spec,
                choice=group["label"],
            )


def curve_trace(order: int, curve: dict[str, Any], factor: float, log: bool) -> Spec:
    """Return one lambda's curve; on a logarithmic axis without what is not above 0."""
    points = [
        scaled({"at": at, "n": n, "estimate": estimate, "low": low, "high": high}, factor)
        for at, n, estimate, low, high in zip(
            *(curve[key] for key in ("at", "n", "estimate", "low", "high")), strict=True
        )
        if estimate is not None and (estimate > 0 or not log)
    ]
    look, bars = style(order), error_bars(points)
    for arm in ("array", "arrayminus"):  # differences have more digits than what they are of
        bars[arm] = [None if end is None else rounded(end) for end in bars[arm]]
    return {
        **look,
        "marker": {**look["marker"], "size": 5},
        "name": f"\u03bb = {lam_text(curve['lam'])}",
        "showlegend": True,
        "x": [point["at"] for point in points],
        "y": [point["estimate"] for point in points],
        "error_y": {**bars, "thickness": 1, "width": 2},
        "customdata": [point["n"] for point in points],
        "hovertemplate": (
            "%{x:,.6~g}: %{y:.4~g}, n = %{customdata}<extra>%{fullData.name}</extra>"
        ),
    }
