"""The figures that compare networks: Pareto fronts, interaction with data sets, cost to target."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from minaction.report.efficiency import UNIT_NAMES, UNITS
from minaction.report.formatting import lam as lam_text
from minaction.report.fronts import RESAMPLES
from minaction.report.lambda_table import label
from minaction.report.markup import clean
from minaction.report.panels import ON_LOGITS, OVER_SEEDS, Figure, Panel
from minaction.report.traces import (
    Spec,
    Table,
    error_bars,
    log_axis,
    scaled,
    specification,
    style,
)

GREY = "#8a8f96"
"""Of what belongs to no group, seen on light and on dark ground alike."""


def pareto_figure(fronts: Sequence[dict[str, Any]]) -> Figure | None:
    """Return accuracy against energy with the front, one panel per data set and kind of energy."""
    if not fronts:
        return None
    several = len({front["energy"] for front in fronts}) > 1
    panels = [
        Panel(
            id=f"pareto-{index}",
            title=" \u00b7 ".join(
                (
                    f"{front['dataset']} ({front['modality']})",
                    *((front["energy"],) if several else ()),
                    f"{front['kind']} energy",
                )
            ),
            spec=pareto_panel(front),
        )
        for index, front in enumerate(fronts)
    ]
    return Figure(
        id="pareto",
        title="Pareto fronts of accuracy and energy",
        caption=(
            "Each point is a configuration: its mean test accuracy against its geometric mean "
            "energy, over the seeds whose run is ok. Filled points are on the front: none other "
            "is at least as accurate for at most the energy. Points have no error bars; how sure "
            "the front is, the membership says that a pointer on a point and the table below show: "
            f"the share of {RESAMPLES:,} bootstrap resamples of the seeds in which the "
            "configuration is on the front."
        ),
        panels=tuple(panels),
    )


def pareto_panel(front: dict[str, Any]) -> Spec:
    """Return one front: a stair through its members, and the points of every network."""
    members = sorted(
        (point for point in front["points"] if point["on_front"]),
        key=lambda point: point["energy"],
    )
    stair = {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "showlegend": True,
        "line": {"color": GREY, "width": 1.5, "dash": "dot", "shape": "hv"},
        "x": [point["energy"] for point in members],
        "y": [100 * point["test_accuracy"] for point in members],
        "hoverinfo": "skip",
    }
    curves = dict.fromkeys(point["curve"] for point in front["points"])
    traces = [
        front_trace([p for p in front["points"] if p["curve"] == curve], index)
        for index, curve in enumerate(curves)
    ]
    axes = log_axis(f"{front['kind']} energy (log)"), {"title": {"text": "test accuracy (%)"}}
    return specification([stair, *traces], *axes)


def front_trace(points: Sequence[dict[str, Any]], index: int) -> Spec:
    """Return the points of one network, filled where they are on the front."""
    look = style(index)
    symbol = look["marker"]["symbol"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escaped(points[0]["curve"]),
        "showlegend": True,
        "marker": {
            **look["marker"],
            "symbol": [symbol if point["on_front"] else f"{symbol}-open" for point in points],
        },
        "x": [point["energy"] for point in points],
        "y": [100 * point["test_accuracy"] for point in points],
        "customdata": [
            f"\u03bb = {lam_text(point['lam'])}, n = {point['n']}, "
            f"membership {100 * point['membership']:.0f} %"
            for point in points
        ],
        "hovertemplate": (
            "%{customdata}<br>energy %{x:.4~g}<br>accuracy %{y:.2f} %"
            "<extra>%{fullData.name}</extra>"
        ),
    }


def interaction_figures(tables: Sequence[Table]) -> list[Figure]:
    """Return networks by data sets, as lines and as a heat map; nothing where either is one."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        groups.setdefault(rest(table), []).append(table)
    drawn = {name if len(groups) > 1 else "all": of for name, of in groups.items() if crossed(of)}
    if not drawn:
        return []
    level = lam_text(min(map(first_level, tables), key=lambda lam: (isinstance(lam, str), lam)))
    lines = tuple(
        Panel(id=f"interaction-{index}", title=name, spec=interaction_panel(of))
        for index, (name, of) in enumerate(drawn.items())
    )
    maps = tuple(
        Panel(id=f"heat-map-{index}", title=name, spec=heat_map(of))
        for index, (name, of) in enumerate(drawn.items())
    )
    at = f"at \u03bb = {level}, the smallest of the study"
    return [
        Figure(
            id="interaction",
            title="Network by data set: interaction",
            caption=(
                f"Test accuracy of each network on each data set {at}. Lines that are not parallel "
                f"are an interaction. {OVER_SEEDS} {ON_LOGITS}"
            ),
            panels=lines,
        ),
        Figure(
            id="heat-map",
            title="Network by data set: heat map",
            caption=(
                f"The same means of test accuracy {at}, in percent. A heat map has no error bars; "
                "the figure above shows the intervals. Cells without an ok run are empty."
            ),
            panels=maps,
        ),
    ]


def rest(table: Table) -> str:
    """Return the name of what tells a table apart besides its network and data set."""
    others = {k: v for k, v in table["factors"].items() if k not in ("dataset", "model")}
    return label(others)


def crossed(tables: Sequence[Table]) -> bool:
    """Return whether there are several networks and several data sets."""
    return all(len({table["factors"][name] for table in tables}) > 1 for name in FACTORS)


FACTORS = ("dataset", "model")


def first_level(table: Table) -> float | str:
    """Return the smallest lambda of a table."""
    return table["rows"][0]["lam"]


def first_accuracies(tables: Sequence[Table]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the accuracy at the smallest lambda in percent, by network and data set."""
    return {
        (table["factors"]["model"], table["factors"]["dataset"]): scaled(
            table["rows"][0]["test_accuracy"], 100
        )
        for table in tables
    }


def interaction_panel(tables: Sequence[Table]) -> Spec:
    """Return a line per network across the data sets."""
    found = first_accuracies(tables)
    traces = []
    for index, model in enumerate(dict.fromkeys(model for model, _ in found)):
        points = {
            dataset: value
            for (of, dataset), value in found.items()
            if of == model and value["estimate"] is not None
        }
        traces.append(
            {
                **style(index),
                "name": escaped(model),
                "showlegend": True,
                "x": [escaped(dataset) for dataset in points],
                "y": [value["estimate"] for value in points.values()],
                "error_y": error_bars(list(points.values())),
                "customdata": [value["n"] for value in points.values()],
                "hovertemplate": (
                    "%{x}<br>%{y:.2f} %, n = %{customdata}<extra>%{fullData.name}</extra>"
                ),
            }
        )
    axes = (
        {"title": {"text": "data set"}, "type": "category"},
        {"title": {"text": "test accuracy (%)"}},
    )
    return specification(traces, *axes)


def heat_map(tables: Sequence[Table]) -> Spec:
    """Return the mean accuracies as a heat map, networks down and data sets across."""
    found = first_accuracies(tables)
    models = list(dict.fromkeys(model for model, _ in found))[::-1]
    datasets = list(dict.fromkeys(dataset for _, dataset in found))
    trace = {
        "type": "heatmap",
        "x": [escaped(dataset) for dataset in datasets],
        "y": [escaped(model) for model in models],
        "z": [
            [found.get((model, dataset), {}).get("estimate") for dataset in datasets]
            for model in models
        ],
        "texttemplate": "%{z:.1f}",
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": "test accuracy (%)", "side": "right"}, "thickness": 14},
        "xgap": 1,
        "ygap": 1,
        "showlegend": False,
        "hovertemplate": "%{y} on %{x}<br>%{z:.2f} %<extra></extra>",
    }
    axes = (
        {"title": {"text": "data set"}, "type": "category"},
        {"title": {"text": "network"}, "type": "category"},
    )
    spec = specification([trace], *axes)
    spec["layout"]["height"] = max(340, 200 + 32 * len(models))
    return spec


def cost_figure(costs: Sequence[dict[str, Any]]) -> Figure | None:
    """Return the share of runs that have reached the target, a panel per data set and unit."""
    panels = [
        Panel(
            id=f"target-cost-{index}-{unit}",
            title=(
                f"{entry['dataset']} ({entry['modality']}), {UNIT_NAMES[unit]} to "
                f"{100 * entry['target']['value']:.2f} %"
            ),
            spec=cost_panel(entry["arms"], unit),
        )
        for index, entry in enumerate(costs)
        for unit in UNITS
        if any(arm[unit] for arm in entry["arms"])
    ]
    if not panels:
        return None
    return Figure(
        id="target-cost",
        title="Cost to reach the target accuracy",
        caption=(
            "Share of runs at \u03bb = 0 whose validation accuracy has reached the target that the "
            "panel names, against what they had spent by then. The target is 95 % of the highest "
            "mean final validation accuracy of a conventional network. Kaplan-Meier estimates over "
            "seeds: runs that never reach the target are censored, not dropped. Error bars are "
            "pointwise 95 % intervals (Greenwood's variance, on the complementary log-log scale); "
            "where every run has reached it the spread is unknown and there is none."
        ),
        panels=tuple(panels),
    )


def cost_panel(arms: Sequence[dict[str, Any]], unit: str) -> Spec:
    """Return a stair per network from 0 to the most that any of its runs spent."""
    traces = []
    for index, arm in enumerate(arms):
        if arm[unit] is None:
            continue
        band, look = arm[unit]["band"], style(index)
        ends = [{"estimate": 0.0, "low": None, "high": None}]
        ends += [
            scaled({"estimate": estimate, "low": low, "high": high}, 100)
            for estimate, low, high in zip(band["estimate"], band["low"], band["high"], strict=True)
        ]
        ends.append({**ends[-1], "low": None, "high": None})
        traces.append(
            {
                **look,
                "mode": "lines",
                "line": {**look["line"], "shape": "hv"},
                "name": escaped(arm["curve"]),
                "showlegend": True,
                "x": [0.0, *band["cost"], band["end"]],
                "y": [end["estimate"] for end in ends],
                "error_y": {**error_bars(ends), "thickness": 1},
                "hovertemplate": "%{x:,.4~g}: %{y:.0f} %<extra>%{fullData.name}</extra>",
            }
        )
    axes = (
        {"title": {"text": UNIT_NAMES[unit]}, "rangemode": "tozero"},
        {"title": {"text": "runs at the target (%)"}, "range": [-3, 103]},
    )
    return specification(traces, *axes)


def escaped(name: str) -> str:
    """Return a name as plotly, which reads a little HTML, is to write it."""
    return html.escape(clean(name))
