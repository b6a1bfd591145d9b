"""The forest plots of the page: effect sizes, and gains in training efficiency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report.analysis.architecture import LARGE, SMALL
from minaction.report.analysis.efficiency_gains import LEAST, MOST
from minaction.report.efficiency import UNIT_NAMES
from minaction.report.figures_compared import escaped
from minaction.report.forest import Forest, effect_forest, gain_forests
from minaction.report.panels import Figure, Panel
from minaction.report.traces import DASHED_TICK, Spec, error_bars, specification, style, thin

ROW = 30
"""Height of a row in pixels."""
APART = 0.16
"""How far a series lies from the middle of its row, in rows."""


def effect_figure(tables: Sequence[dict[str, Any]]) -> Figure | None:
    """Return the effect sizes of the factorial tables, a panel per response."""
    panels = [
        Panel(
            id=f"effects-{index}",
            title=f"{table['label']}, n = {table['n']:,}",
            spec=forest_panel(
                effect_forest(table), ("share of variance", "effect"), (SMALL, LARGE)
            ),
        )
        for index, table in enumerate(tables)
        if table["rows"]
    ]
    if not panels:
        return None
    return Figure(
        id="effects",
        title="What explains the accuracy: effect sizes",
        caption=(
            "Partial eta squared (filled) and omega squared (open) of each factor and interaction, "
            "from the factorial tables below. Error bars are 95 % intervals that invert the "
            "noncentral F distribution; partial eta squared is biased upwards, so that an "
            "estimate of little effect may lie above its interval. Dotted lines: Cohen's small "
            f"({SMALL}) and large ({LARGE}) effect."
        ),
        panels=tuple(panels),
    )


def gain_figure(efficiency: dict[str, Any]) -> Figure | None:
    """Return the gains in training efficiency by modality, a panel per unit."""
    panels = [
        Panel(
            id=f"gains-{unit}",
            title=f"in {UNIT_NAMES[unit]}",
            spec=forest_panel(
                forest, ("gain (%)", "modality \u00b7 network"), (0.0, 100 * LEAST, 100 * MOST)
            ),
        )
        for unit, forest in gain_forests(efficiency).items()
    ]
    if not panels:
        return None
    return Figure(
        id="gains",
        title="Gain in training efficiency within a modality",
        caption=(
            "Gain = 1 \u2212 cost to reach 95 % of the best conventional network's validation "
            "accuracy / the conventional network's cost; right of 0 is cheaper. Compared with the "
            "most accurate (filled) and the cheapest (open) conventional network; geometric mean "
            "of the ratios over a modality's data sets. Error bars are 95 % bootstrap intervals, "
            f"seeds resampled. Dotted lines: 0, and the published {100 * LEAST:.0f} and "
            f"{100 * MOST:.0f} %."
        ),
        panels=tuple(panels),
    )


def forest_panel(forest: Forest, axes: tuple[str, str], marks: Sequence[float]) -> Spec:
    """Return one forest plot: rows from the top, its series side by side within a row.

    Args:
        forest: What is drawn; the second series has open symbols.
        axes: Titles of the horizontal and of the vertical axis.
        marks: Where dotted lines stand.
    """
    labels = list(dict.fromkeys(point["label"] for of in forest.values() for point in of))
    middle = (len(forest) - 1) / 2
    traces = []
    for order, (name, points) in enumerate(forest.items()):
        look = thin(style(order)) if order else style(order)
        shift = APART * (middle - order)
        traces.append(
            {
                **look,
                "mode": "markers",
                "name": escaped(name),
                "showlegend": True,
                "x": [point["estimate"] for point in points],
                "y": [len(labels) - 1 - labels.index(point["label"]) + shift for point in points],
                "error_x": error_bars(points),
                "customdata": [escaped(point["note"]) for point in points],
                "hovertemplate": "%{x:.4~g}, %{customdata}<extra>%{fullData.name}</extra>",
            }
        )
    rows = {
        "title": {"text": axes[1]},
        "tickvals": list(range(len(labels)))[::-1],
        "ticktext": [escaped(label) for label in labels],
        "range": [-0.6, len(labels) - 0.4],
    }
    spec = specification(traces, {"title": {"text": axes[0]}}, rows)
    spec["layout"]["shapes"] = [{**DASHED_TICK, "x0": mark, "x1": mark} for mark in marks]
    spec["layout"]["height"] = 150 + ROW * len(labels)
    return spec
