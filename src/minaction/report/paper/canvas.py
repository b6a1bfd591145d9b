"""From a drawing to the bytes of a PDF, at the width of one column or of a page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from minaction.report.paper.drawing import Drawing, Panel, in_letters
from minaction.report.paper.style import RC, plain

WIDTHS = {"one-column": 3.4, "two-columns": 7.0}
"""Of a column and of a page between its margins, in inches."""

CHARACTER = 0.052
"""Width of a character of a legend in inches, on average."""
HANDLE = 0.42
"""Width of a legend's handle with the room around it in inches."""
LINE = 0.145
"""Height of a line of a legend in inches."""

POINTS = 72
"""In an inch; figures are laid out in points, as PDFs are."""

MOST_IN_A_COLUMN = 4
"""Panels that stand below each other in a column; more stand two by two."""
MARKER = 2.0
"""Radius of a marker in points, about."""

OFFSETS = ((4, 3), (-4, 3), (4, -8), (-4, -8), (0, 5), (0, -10), (6, -2.5), (-6, -2.5))
"""Where a point's label may stand, in points from it; the first is best where all are free."""


def pdf(drawing: Drawing, width: float) -> bytes:
    """Return a drawing as a PDF with its fonts embedded; the same bytes every time.

    Args:
        drawing: What to draw.
        width: Of the figure in inches.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in RC.items():
            mpl.rcParams[name] = value
        figure = draw(drawing, width)
        file = io.BytesIO()
        # savefig would lay the figure out once more
        FigureCanvasPdf(figure).print_pdf(file, metadata=NO_METADATA)
    return file.getvalue()


NO_METADATA = dict.fromkeys(("CreationDate", "Creator", "Producer"))
"""Would tell when and by which version a file was made, and nothing about the study."""


def draw(drawing: Drawing, width: float) -> Figure:
    """Return a drawing as a figure."""
    across = columns(drawing, width)
    down = math.ceil(len(drawing.panels) / across)
    legend_columns = columns_of_legend(drawing, width)
    legend_lines = math.ceil(len(drawing.legend) / legend_columns)
    height = down * drawing.height + LINE * legend_lines + 0.1
    figure = Figure(figsize=(width, height), dpi=POINTS, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in grid[len(drawing.panels) :]:
        axes.set_visible(False)
    shown = list(zip(grid, drawing.panels, strict=False))
    for index, (axes, panel) in enumerate(shown):
        panel.draw(axes)
        set_titles(axes, drawing.panels, index, across)
    if drawing.legend:
        figure.legend(
            handles=[Line2D([], [], **one.line) for one in drawing.legend],
            labels=[plain(one.text) for one in drawing.legend],
            loc="outside upper center",
            ncols=legend_columns,
        )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels must not move what they were placed by
    for axes, panel in shown:
        write_labels(axes, panel)
    return figure


def columns(drawing: Drawing, width: float) -> int:
    """Return how many panels stand side by side, as few as the number of rows allows."""
    count = len(drawing.panels)
    if width < WIDTHS["two-columns"]:
        return min(drawing.columns, 1 if count <= MOST_IN_A_COLUMN else 2)
    return math.ceil(count / math.ceil(count / drawing.columns))


def columns_of_legend(drawing: Drawing, width: float) -> int:
    """Return how many entries of a legend fit side by side."""
    lengths = [HANDLE + CHARACTER * len(plain(one.text)) for one in drawing.legend]
    if sum(lengths) <= width:
        return max(1, len(lengths))
    return max(1, int(width / max(lengths)))


def set_titles(axes: Axes, panels: Sequence[Panel], index: int, across: int) -> None:
    """Write a panel's letter and title, and the titles of its axes where no neighbour has them."""
    panel = panels[index]
    letter = f"({in_letters(index)}) " if len(panels) > 1 else ""
    if letter or panel.title:
        axes.set_title(letter + plain(panel.title), loc="left")
    below, left = index + across, index - 1
    if below >= len(panels) or panels[below].x != panel.x:
        axes.set_xlabel(panel.x)
    if index % across == 0 or panels[left].y != panel.y:
        axes.set_ylabel(panel.y)


def write_labels(axes: Axes, panel: Panel) -> None:
    """Write a panel's labels, each where it meets the least; none lies on another."""
    if not panel.labels:
        return
    markers = axes.transData.transform([*panel.points, *((one.x, one.y) for one in panel.labels)])
    inside = axes.get_window_extent()
    taken: list[Bbox] = []
    for label in panel.labels:
        point = axes.transData.transform((label.x, label.y))
        boxes = {offset: box(point, label.text, offset) for offset in OFFSETS}
        costs = {
            offset: sum(map(one.overlaps, taken)) * 100
            + sum(one.padded(MARKER).contains(*other) for other in markers)
            + 3 * (not contains(inside, one))
            for offset, one in boxes.items()
        }
        best = min(OFFSETS, key=lambda offset: costs[offset])
        if costs[best] >= 100:
            continue
        taken.append(boxes[best])
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=best,
            textcoords="offset points",
            ha="left" if best[0] > 0 else "right" if best[0] < 0 else "center",
            fontsize=5.5,
            color=label.colour,
            annotation_clip=False,
            path_effects=[withStroke(linewidth=1.4, foreground="white")],
        )


def box(point: np.ndarray, text: str, offset: tuple[float, float]) -> Bbox:
    """Return where a label would stand, in points."""
    width, height = 3.3 * max(2, sum(c not in "{}$^\\" for c in text)), 5.5
    x, y = point + offset
    left = x if offset[0] > 0 else x - width if offset[0] < 0 else x - width / 2
    return Bbox.from_extents(left, y, left + width, y + height)


def contains(outer: Bbox, inner: Bbox) -> bool:
    """Return whether a box lies within another one."""
    return outer.contains(inner.x0, inner.y0) and outer.contains(inner.x1, inner.y1)
