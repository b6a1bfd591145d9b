"""Figures of accuracy against energy with the Pareto front, one per modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from minaction.report.figures_compared import GREY
from minaction.report.fronts import RESAMPLES
from minaction.report.paper.axes import linear_limits, log_limits, log_ticks, power
from minaction.report.paper.drawing import Drawing, Entry, Label, Missing, Panel
from minaction.report.paper.lambda_curves import ACCURACY
from minaction.report.paper.style import Look, entries, looks
from minaction.report.tables import Findings

CAPTION = (
    "Test accuracy against energy per sample (dimensionless, logarithmic axis), raw and "
    "gauge-fixed where it was recorded; up and to the left is better. Each point is a "
    "configuration: its mean test accuracy against its geometric mean energy, over the seeds whose "
    "run is ok. The dotted stair is the Pareto front, whose points are labelled with their \u03bb "
    "where there is room. Points have no error bars; how sure the front is, their filling says: "
    f"white, the configuration is on the front in none of {RESAMPLES:,} bootstrap resamples of the "
    "seeds; full colour, in all of them."
)


def pareto_drawings(findings: Findings) -> Iterator[Drawing | Missing]:
    """Yield a figure per modality, a panel per data set, trained energy and kind of energy."""
    fronts = findings["pareto"]
    if not fronts:
        reason = "no data set has two configurations with two or more ok runs and a positive energy"
        yield Missing(name="pareto", reason=reason)
    found = looks(point["curve"] for front in fronts for point in front["points"])
    several = len({front["energy"] for front in fronts}) > 1
    for modality in dict.fromkeys(front["modality"] for front in fronts):
        members = [front for front in fronts if front["modality"] == modality]
        shown = {point["curve"] for front in members for point in front["points"]}
        legend = entries({name: one for name, one in found.items() if name in shown})
        stair = Entry(text="Pareto front", line={"color": GREY, "linestyle": ":"})
        yield Drawing(
            name=f"pareto-{modality}",
            caption=f"Modality: {modality}. {CAPTION}",
            panels=[panel(front, found, several) for front in members],
            legend=[*legend, stair],
            columns=columns(members),
            height=2.1,
        )


def columns(fronts: Sequence[dict[str, Any]]) -> int:
    """Return the panels side by side: raw and gauge-fixed energy of two data sets, or of one."""
    return 2 if len({front["kind"] for front in fronts}) == 2 and len(fronts) % 2 == 0 else 3


def panel(front: dict[str, Any], found: dict[str, Look], several: bool) -> Panel:
    """Return the panel of one front."""
    names = (front["dataset"], *((front["energy"],) if several else ()))
    members = sorted(
        (point for point in front["points"] if point["on_front"]), key=lambda one: one["energy"]
    )
    return Panel(
        title=" \u00b7 ".join(map(str, names)),
        x=f"{front['kind']} energy",
        y=ACCURACY,
        draw=front_drawer(front["points"], members, found),
        labels=[
            Label(
                x=point["energy"],
                y=100 * point["test_accuracy"],
                text=power(point["lam"]),
                colour=found[point["curve"]].colour,
            )
            for point in members
        ],
        points=[(point["energy"], 100 * point["test_accuracy"]) for point in front["points"]],
    )


def front_drawer(
    points: Sequence[dict[str, Any]], members: Sequence[dict[str, Any]], found: dict[str, Look]
) -> Callable[[Axes], None]:
    """Return what draws a front's stair and all configurations."""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.step(
            [point["energy"] for point in members],
            [100 * point["test_accuracy"] for point in members],
            where="post",
            color=GREY,
            linestyle=":",
        )
        for point in points:
            look = found[point["curve"]]
            style = look.line(joined=False)
            style["markerfacecolor"] = tint(look, point["membership"])
            axes.plot(point["energy"], 100 * point["test_accuracy"], **style)
        limits = log_limits([point["energy"] for point in points])
        axes.set_xlim(*limits)
        log_ticks(axes.xaxis, limits)
        axes.set_ylim(*linear_limits([100 * point["test_accuracy"] for point in points]))

    return draw


def tint(look: Look, share: float) -> tuple[float, ...]:
    """Return a colour between white (0) and the group's own (1)."""
    return tuple(1 - share * (1 - part) for part in to_rgb(look.colour))
