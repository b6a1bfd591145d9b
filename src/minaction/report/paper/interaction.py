"""Figures of networks by data sets: lines with intervals, and a heat map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes

from minaction.report.figures import drawable
from minaction.report.figures_compared import crossed, first_accuracies, first_level, rest
from minaction.report.formatting import lam as lam_text
from minaction.report.panels import ON_LOGITS, OVER_SEEDS
from minaction.report.paper.axes import arms
from minaction.report.paper.drawing import Drawing, Missing, Panel
from minaction.report.paper.lambda_curves import ACCURACY
from minaction.report.paper.style import Look, entries, looks, plain
from minaction.report.tables import Findings
from minaction.report.traces import Table

DATA_SET = "data set"
LONG = 12
"""Characters of a data set's name from which names stand aslant."""


def interaction_drawings(findings: Findings) -> Iterator[Drawing | Missing]:
    """Yield networks by data sets, each as lines and as a heat map, at the smallest lambda."""
    tables = [table for table in findings["lambda_tables"] if any(map(drawable, table["rows"]))]
    groups: dict[str, list[Table]] = {}
    for table in tables:
        groups.setdefault(rest(table), []).append(table)
    drawn = {name if len(groups) > 1 else "": of for name, of in groups.items() if crossed(of)}
    if not drawn:
        reason = "the measured runs do not cross two networks with two data sets"
        yield Missing(name="interaction", reason=reason)
        return
    level = lam_text(min(map(first_level, tables), key=lambda lam: (isinstance(lam, str), lam)))
    at = f"at \u03bb = {level}, the smallest of the study"
    found = looks(table["factors"]["model"] for table in tables)
    tallest = max(len({table["factors"]["model"] for table in of}) for of in drawn.values())
    yield Drawing(
        name="interaction",
        caption=(
            f"Test accuracy of each network on each data set {at}, as lines, which are not "
            f"parallel where networks and data sets interact, and as a heat map. {OVER_SEEDS} "
            f"{ON_LOGITS} A heat map has no error bars; its cells without an ok run are empty."
        ),
        panels=[
            panel
            for name, of in drawn.items()
            for panel in (
                Panel(title=name, x=DATA_SET, y=ACCURACY, draw=lines(of, found)),
                Panel(title=name, x=DATA_SET, y="", draw=heat_map(of)),
            )
        ],
        legend=entries(found),
        columns=2,
        height=max(2.1, 0.9 + 0.2 * tallest),
    )


def lines(tables: Sequence[Table], found: dict[str, Look]) -> Callable[[Axes], None]:
    """Return what draws a line per network across the data sets."""
    accuracies = first_accuracies(tables)
    datasets = list(dict.fromkeys(dataset for _, dataset in accuracies))

    def draw(axes: Axes) -> None:
        for model in dict.fromkeys(model for model, _ in accuracies):
            points = [
                (datasets.index(dataset), value)
                for (of, dataset), value in accuracies.items()
                if of == model and value["estimate"] is not None
            ]
            axes.errorbar(
                [place for place, _ in points],
                [value["estimate"] for _, value in points],
                yerr=arms([value for _, value in points]),
                **found[model].line(),
                elinewidth=0.8,
            )
        name_ticks(axes, datasets, 0)
        axes.set_xlim(-0.35, len(datasets) - 0.65)

    return draw


def name_ticks(axes: Axes, names: Sequence[str], first: float) -> None:
    """Write names below the horizontal axis from a place on, aslant where long or many."""
    texts = [plain(name, 24) for name in names]
    axes.set_xticks(first + np.arange(len(names)), texts)
    if max(map(len, texts)) * len(texts) > 3 * LONG:
        axes.tick_params(axis="x", labelrotation=35)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")


def heat_map(tables: Sequence[Table]) -> Callable[[Axes], None]:
    """Return what draws mean accuracies as a heat map, networks down and data sets across."""
    accuracies = first_accuracies(tables)
    models = list(dict.fromkeys(model for model, _ in accuracies))
    datasets = list(dict.fromkeys(dataset for _, dataset in accuracies))
    values = np.full((len(models), len(datasets)), np.nan)
    for (model, dataset), value in accuracies.items():
        if value["estimate"] is not None:
            values[models.index(model), datasets.index(dataset)] = value["estimate"]

    def draw(axes: Axes) -> None:
        mesh = axes.pcolormesh(
            np.ma.masked_invalid(values), cmap="cividis", edgecolors="white", linewidth=0.8
        )
        name_ticks(axes, datasets, 0.5)
        axes.set_yticks(np.arange(len(models)) + 0.5, [plain(model, 24) for model in models])
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value < middle else "black"
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center", color=colour
                )
        figure = axes.get_figure()
        assert figure is not None
        figure.colorbar(mesh, ax=axes, label=ACCURACY, pad=0.02, aspect=12).outline.set_visible(
            False
        )

    return draw
