"""Layers whose energy says nothing: it cannot change, or changes by mere rescaling."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from minaction.energy.balance import tied_groups
from minaction.energy.scale_groups import compacted
from minaction.energy.scale_rules import tensors_in
from minaction.energy.scale_trace import ScaleTrace
from minaction.energy.symmetry import Symmetry
from minaction.energy.tape import Layers, Tape, run_model
from minaction.energy.trajectory import Trajectory
from minaction.energy.untouched import untouched


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

    Runs the model once on `x`, in evaluation mode and without gradients, and leaves it and the
    random state as they were. Batch norms are judged as in training, where they use the batch's
    statistics.

    Args:
        model: Any module.
        x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
        layers: What is observed, as for `Tape`.
    """
    tape, trace = Tape(model, layers), ScaleTrace(model, x, fold=False)
    with untouched(model), _same_random_state(model), tape, trace:
        output = run_model(model, x)
    return _judge(tape.trajectory, trace, trace.close(output))


def warn_of_pitfalls(
    model: nn.Module, x: Any, layers: Layers | None = None, *, stacklevel: int = 1
) -> None:
    """Warn of every pitfall that two samples of a batch show.

    Says nothing where that cannot be found out: a model may not run on two samples.

    Args:
        model: Any module; left as it is.
        x: A batch, as for `find_pitfalls`.
        layers: What is observed, as for `Tape`.
        stacklevel: As for `warnings.warn`, counted from the caller.
    """
    try:
        found = find_pitfalls(model, _first_samples(x), layers)
    except Exception:  # a warning is worth no failure
        return
    for pitfall in found:
        warnings.warn(pitfall.message, stacklevel=stacklevel + 1)


def _first_samples(x: Any, count: int = 2) -> Any:
    """Return the first samples of a batch, in the nesting it comes in."""
    size = next((len(tensor) for tensor in tensors_in([x]) if tensor.ndim), 0)

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[:count] if value.ndim and len(value) == size else value
        if isinstance(value, Mapping):
            return {key: cut(part) for key, part in value.items()}
        return type(value)(map(cut, value)) if type(value) in (tuple, list) else value

    return cut(x)


def _judge(trajectory: Trajectory, trace: ScaleTrace, symmetry: Symmetry) -> list[Pitfall]:
    undone = undone_groups(symmetry)
    found: list[Pitfall] = []
    for layer in trajectory.layers:
        groups = trace.groups_of(layer.value)
        if groups is None:
            if trace.is_normalised(layer.value):
                found.append(_constant(layer.name))
        elif undone[compacted(groups).cpu().numpy()].all():
            found.append(_rescaling(layer.name))
    return found


def undone_groups(symmetry: Symmetry) -> np.ndarray:
    """Return for every scale group whether normalisations, and nothing else, read it."""
    tied = tied_groups(symmetry)
    normalised, read = np.zeros(len(tied), dtype=bool), np.zeros(len(tied), dtype=bool)
    for pin in symmetry.pins:
        (normalised if pin.normalises else read)[tied[compacted(pin.groups).cpu().numpy()]] = True
    for parameter in symmetry.parameters:
        read[tied[compacted(parameter.in_groups).cpu().numpy()]] = True
    return (normalised & ~read)[tied]


def _same_random_state(model: nn.Module) -> AbstractContextManager[None]:
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    return torch.random.fork_rng(devices=sorted(devices))


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
