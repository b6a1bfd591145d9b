"""The figure of cost to target: the share of runs that have reached it, against what they spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minaction.report import formatting as write
from minaction.report.efficiency import UNIT_NAMES, UNITS
from minaction.report.paper.drawing import Drawing, Missing, Panel
from minaction.report.paper.style import Look, entries, looks
from minaction.report.tables import Findings

LARGE = 1e5
"""Costs from which an axis counts in thousands, millions and so on."""

CAPTION = (
    "Share of runs at \u03bb = 0 whose validation accuracy has reached the target that the panel "
    "names, against what they had spent by then. The target is 95 % of the highest mean final "
    "validation accuracy of a conventional network. Kaplan-Meier estimates over seeds: runs that "
    "never reach the target are censored, not dropped. Shaded are pointwise 95 % intervals "
    "(Greenwood's variance, on the complementary log-log scale); where every run has reached the "
    "target the spread is unknown and there is none."
)


def cost_drawings(findings: Findings) -> Iterator[Drawing | Missing]:
    """Yield the figure of cost to target in each unit, a panel per data set."""
    costs = [entry for entry in findings["target_costs"] if entry["arms"]]
    found = looks(arm["curve"] for entry in costs for arm in entry["arms"])
    if not costs:
        reason = (
            "no conventional network at \u03bb = 0 has a history that says what a validation "
            "accuracy had cost"
        )
        yield Missing(name="target-cost", reason=reason)
    for unit in UNITS:
        measured = [entry for entry in costs if any(arm[unit] for arm in entry["arms"])]
        if measured:
            yield Drawing(
                name=f"target-cost-{unit}",
                caption=f"Cost to target in {UNIT_NAMES[unit]}. {CAPTION}",
                panels=[panel(entry, unit, found) for entry in measured],
                legend=entries(found),
            )


def panel(entry: dict[str, Any], unit: str, found: dict[str, Look]) -> Panel:
    """Return the panel of one data set."""
    most = max(arm[unit]["band"]["end"] for arm in entry["arms"] if arm[unit])
    exponent = 3 * int(math.log10(most) // 3) if most >= LARGE else 0
    factor = f" ($10^{{{exponent}}}$)" if exponent else ""
    return Panel(
        title=f"{entry['dataset']}, target {write.accuracy(entry['target']['value'])}",
        x=UNIT_NAMES[unit] + factor,
        y="runs at the target (%)",
        draw=stairs(entry["arms"], unit, found, 10.0**exponent),
    )


def stairs(
    arms: Sequence[dict[str, Any]], unit: str, found: dict[str, Look], scale: float
) -> Callable[[Axes], None]:
    """Return what draws a stair per network, from 0 to the most that any of its runs spent.

    Args:
        arms: The networks.
        unit: Of their costs.
        found: Their looks.
        scale: How many units one of the axis is.
    """

    def draw(axes: Axes) -> None:
        for arm in arms:
            if arm[unit] is None:
                continue
            band, look = arm[unit]["band"], found[arm["curve"]]
            spent = [cost / scale for cost in (0.0, *band["cost"], band["end"])]
            low, share, high = (
                100 * np.array([first, *values, values[-1] if values else first], np.float64)
                for first, values in (
                    (np.nan, band["low"]),
                    (0.0, band["estimate"]),
                    (np.nan, band["high"]),
                )
            )
            axes.fill_between(
                spent,
                low,
                high,
                step="post",
                color=look.colour,
                alpha=0.45 / max(3, len(arms)),
                linewidth=0,
            )
            axes.step(spent, share, where="post", color=look.colour, linestyle=look.dash)
        axes.margins(x=0.04)
        axes.set_xlim(left=0)
        axes.set_ylim(-3, 103)

    return draw
