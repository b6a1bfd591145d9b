"""Where the labels of a plot's points go: clear of each other and of what is drawn.

A page is read at any width, so places are judged at that of a phone and that of a desk together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Spec = dict[str, Any]
Box = tuple[float, float, float, float]
"""Left, right, top and bottom in pixels, y downwards."""

PLOTS = ((290.0, 224.0), (500.0, 224.0))
"""Width and height in pixels of a plot between its axes, on a phone and on a desk."""
FONT = 11
"""Size of a label in pixels."""
CHARACTER = 0.62
"""Width of a character, of the font's size."""
MARGINS = (0.0, 16.0, 8.0, 0.0)
"""How far a label may reach beyond the axes in pixels: left, right, top, bottom."""
STEP = 2.0
"""Distance in pixels of the points that stand for a line."""
TEXT, MARKER, LINE, OUTSIDE = 1000.0, 40.0, 1.0, 3.0
"""What it costs to lie on another label, a point of a marker, or of a line; each pixel outside."""

PLACES = (
    "top right",
    "top left",
    "bottom right",
    "bottom left",
    "top center",
    "bottom center",
    "middle right",
    "middle left",
)
"""Positions as plotly names them, the first one best where all are free."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A plot at one size.

    Attributes:
        centres: Points that have labels, shape [labels, 2], pixels, y downwards.
        ink: What is drawn, as points, shape [m, 2].
        weights: What it costs to lie on each of them, shape [m].
        size: Width and height.
    """

    centres: np.ndarray
    ink: np.ndarray
    weights: np.ndarray
    size: tuple[float, float]


def place_labels(
    traces: Sequence[Spec], x_range: Sequence[float], y_range: Sequence[float]
) -> list[list[str | None]]:
    """Return plotly's text position of every point, None where a label would lie on others.

    Labels take the cheapest of eight places in turn, twice, for the first ones have to make room
    for the last: lines and error bars are to be avoided, markers and other labels not to be met.

    Args:
        traces: plotly's traces with `text`, x on a logarithmic axis; joined where `mode` has lines.
        x_range: Ends of the x axis, log10.
        y_range: Ends of the y axis.
    """
    texts = [text for trace in traces for text in trace["text"]]
    radii = [radius for trace in traces for radius in marker_radii(trace)]
    scenes = [scene(traces, x_range, y_range, size) for size in PLOTS]
    spots = [
        [{place: spot(one, index, place, text, radii[index]) for place in PLACES} for one in scenes]
        for index, text in enumerate(texts)
    ]
    chosen: list[str | None] = [None] * len(texts)
    for turn, index in itertools.product(range(2), range(len(texts))):
        known = len(texts) if turn else index
        costs = {
            place: sum(cost(spots, at, index, place, chosen[:known]) for at in range(len(PLOTS)))
            for place in PLACES
        }
        best = min(PLACES, key=lambda place: costs[place])
        chosen[index] = best if costs[best] < TEXT else None
    ends = itertools.accumulate((len(trace["text"]) for trace in traces), initial=0)
    return [chosen[a:b] for a, b in itertools.pairwise(ends)]


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A place that a label could take in a scene.

    Attributes:
        box: Where it would be.
        ink: What it costs to lie on what is drawn there.
        outside: What it costs to reach beyond the axes.
    """

    box: Box
    ink: float
    outside: float


Spots = Sequence[Sequence[dict[str, Spot]]]
"""The places of every label in every scene, by their names."""


def spot(one: Scene, index: int, place: str, text: str, radius: float) -> Spot:
    """Return a place for a label, and what it costs whatever the other labels do."""
    box = left, right, top, bottom = label_box(one.centres[index], text, radius, place)
    x, y = one.ink.T
    met = (x > left - 1) & (x < right + 1) & (y > top - 1) & (y < bottom + 1)
    width, height = one.size
    beyond = (-left, right - width, -top, bottom - height)
    outside = sum(max(0.0, far - free) for far, free in zip(beyond, MARGINS, strict=True))
    return Spot(box=box, ink=float(one.weights[met].sum()), outside=OUTSIDE * outside)


def cost(spots: Spots, at: int, index: int, place: str, chosen: Sequence[str | None]) -> float:
    """Return what it costs to put a label in a place, the other labels being where they are.

    Args:
        spots: The places of all labels.
        at: Number of the scene.
        index: Number of the label.
        place: Its place.
        chosen: Places of the first labels.
    """
    own = spots[index][at][place]
    others = (
        spots[other][at][name].box
        for other, name in enumerate(chosen)
        if name is not None and other != index
    )
    return own.ink + TEXT * sum(overlap(own.box, other) for other in others) + own.outside


def label_box(centre: np.ndarray, text: str, radius: float, place: str) -> Box:
    """Return where plotly writes a text beside a marker."""
    (x, y), gap = centre.tolist(), radius / 0.8 + 1  # plotly's own distance
    vertical, horizontal = place.split()
    width = CHARACTER * FONT * len(text)
    left = {"left": x - gap - width, "center": x - width / 2, "right": x + gap}[horizontal]
    top = {"top": y - gap - FONT, "middle": y - FONT / 2, "bottom": y + gap}[vertical]
    return left, left + width, top, top + FONT


def overlap(box: Box, other: Box) -> bool:
    """Return whether two boxes meet, or hardly part."""
    across = box[0] < other[1] + 2 and other[0] < box[1] + 2
    return across and box[2] < other[3] and other[2] < box[3]


def scene(
    traces: Sequence[Spec],
    x_range: Sequence[float],
    y_range: Sequence[float],
    size: tuple[float, float],
) -> Scene:
    """Return a plot at one size: its points, and everything drawn that a label should not hide."""

    def pixels(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return across * size[0], (1 - up) * size[1]

    centres, ink, weights = [], [], []
    for trace in traces:
        points = [pixels(math.log10(x), y) for x, y in zip(trace["x"], trace["y"], strict=True)]
        centres += points
        lines = list(itertools.pairwise(points)) if "lines" in trace["mode"] else []
        lines += [(pixels(*start), pixels(*end)) for start, end in bars(trace, x_range[0])]
        drawn = [point for line in lines for point in sampled(*line)]
        rims = [
            (x + radius * dx, y + radius * dy)
            for (x, y), radius in zip(points, marker_radii(trace), strict=True)
            for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        ]
        ink += drawn + rims
        weights += [LINE] * len(drawn) + [MARKER] * len(rims)
    return Scene(centres=np.array(centres), ink=np.array(ink), weights=np.array(weights), size=size)


Place = tuple[float, float]


def bars(trace: Spec, edge: float) -> Iterator[tuple[Place, Place]]:
    """Yield the ends of a trace's error bars, x as log10; what has no logarithm is at the edge."""
    for index, (x, y) in enumerate(zip(trace["x"], trace["y"], strict=True)):
        right, left = (trace["error_x"][arm][index] for arm in ("array", "arrayminus"))
        up, down = (trace["error_y"][arm][index] for arm in ("array", "arrayminus"))
        if right is not None:
            low = math.log10(x - left) if x > left else edge
            yield (low, y), (math.log10(x + right), y)
        if up is not None:
            yield (math.log10(x), y - down), (math.log10(x), y + up)


def sampled(start: Place, end: Place) -> list[Place]:
    """Return points on a line, `STEP` pixels apart, both ends among them."""
    count = max(2, math.ceil(math.dist(start, end) / STEP) + 1)
    x, y = (np.linspace(a, b, count).tolist() for a, b in zip(start, end, strict=True))
    return list(zip(x, y, strict=True))


def marker_radii(trace: Spec) -> list[float]:
    """Return the radius of every marker of a trace in pixels."""
    size = trace["marker"]["size"]
    sizes = size if isinstance(size, list) else [size] * len(trace["x"])
    return [one / 2 for one in sizes]
