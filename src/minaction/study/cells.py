"""Cells of a study: runs that share everything which decides their speed. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minaction.models.catalog import SHAPES, Init

SPEED_KEYS = ("dataset", "model", "energy", "batch_size", "parameters", "ratio", *SHAPES)
"""What of a run's configuration decides its speed, its length and whether lambda is 0 aside."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Runs of one data set, architecture, size, proportions, layers, energy and batch size.

    Attributes:
        epochs: Epochs of all its runs together.
        steps: Steps of all those runs together whose length is given in steps.
        lr: Learning rate of the first of them; rates do not decide the speed.
        ratio: Width ratio; None: the model's own proportions.
        init: How the first of them starts, which does not decide the speed either; None: in the
            model's own way.
        depth: Number of layers; None: the model's own.
        kernel: Size of kernels; None: the model's own.
        clip_norm: Largest norm of a gradient of the first of them; None: any.
    """

    dataset: str
    model: str
    energy: str
    batch_size: int
    parameters: int
    epochs: int
    lr: float
    steps: int = 0
    ratio: float | str | None = None
    init: Init | None = None
    depth: int | None = None
    kernel: int | None = None
    clip_norm: float | None = None


def cells_of(configs: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Group run configurations into cells, in order of first appearance."""
    epochs: dict[tuple[Any, ...], int] = {}
    steps: dict[tuple[Any, ...], int] = {}
    firsts: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for config in configs:
        cell = tuple(config.get(key) for key in SPEED_KEYS)
        epochs[cell] = epochs.get(cell, 0) + config.get("epochs", 0)
        steps[cell] = steps.get(cell, 0) + config.get("steps", 0)
        firsts.setdefault(cell, config)
    return [
        Cell(
            **dict(zip(SPEED_KEYS, cell, strict=True)),
            epochs=count,
            steps=steps[cell],
            lr=firsts[cell]["lr"],
            init=firsts[cell].get("init"),
            clip_norm=firsts[cell].get("clip_norm"),
        )
        for cell, count in epochs.items()
    ]
