"""Layers whose energy says nothing: it cannot change, or changes by mere rescaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from minaction.energy.balance import tied_groups
from minaction.energy.scale_trace import ScaleTrace, Symmetry
from minaction.energy.tape import Layers, Tape, run_model
from minaction.energy.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Pitfall:
    """An observed layer whose energy is no measure of anything.

    Attributes:
        layer: Its name.
        kind: `"constant"`: the layer is the plain output of a normalisation without weights, whose
            sum of squares is given. `"rescaling"`: nothing but normalisations read the layer, and
            they undo its scale, so that its energy can fall to 0 with the function unchanged.
        message: One line that says so and what to do.
    """

    layer: str
    kind: Literal["constant", "rescaling"]
    message: str


def find_pitfalls(model: nn.Module, x: Any, layers: Layers | None = None) -> list[Pitfall]:
    """Return the observed layers of `model` whose energy cannot fall for a good reason.

    Runs the model once on `x`, in evaluation mode and without gradients; its modes and parameters
    stay as they are. Batch norms are judged as in training, where they use the batch's statistics.

    Args:
        model: Any module.
        x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
        layers: What is observed, as for `Tape`.
    """
    was_training = {module: module.training for module in model.modules()}
    tape, trace = Tape(model, layers), ScaleTrace(model, x, fold=False)
    try:
        model.eval()
        with torch.no_grad(), tape, trace:
            output = run_model(model, x)
    finally:
        for module, training in was_training.items():
            module.training = training
    return _judge(tape.trajectory, trace, trace.close(output))


def _judge(trajectory: Trajectory, trace: ScaleTrace, symmetry: Symmetry) -> list[Pitfall]:
    tied = tied_groups(symmetry)
    normalised = [tied[p.groups.cpu().numpy()] for p in symmetry.pins if p.normalises]
    read = [tied[p.groups.cpu().numpy()] for p in symmetry.pins if not p.normalises]
    read += [tied[parameter.in_groups.unique().cpu().numpy()] for parameter in symmetry.parameters]
    undone = np.setdiff1d(_all(normalised), _all(read))
    found: list[Pitfall] = []
    for layer in trajectory.layers:
        groups = trace.groups_of(layer.value)
        if groups is None:
            if trace.is_normalised(layer.value):
                found.append(_constant(layer.name))
        elif np.isin(tied[groups.unique().cpu().numpy()], undone).all():
            found.append(_rescaling(layer.name))
    return found


def _constant(layer: str) -> Pitfall:
    return Pitfall(
        layer=layer,
        kind="constant",
        message=f"the energy of {layer!r} cannot change: it is the plain output of a normalisation "
        "without weights; observe what follows it",
    )


def _rescaling(layer: str) -> Pitfall:
    return Pitfall(
        layer=layer,
        kind="rescaling",
        message=f"the energy of {layer!r} can fall by mere rescaling: only normalisations read it, "
        "and they undo its scale; observe what follows them",
    )


def _all(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
