"""The canonical gauge of observed layers, found in the pass that measures them.

Activations are gone when the pass ends; of each layer only the scale group of each unit is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minaction.energy.balance import canonical_scales, free_groups, tied_groups
from minaction.energy.pitfalls import undone_groups
from minaction.energy.scale_groups import compacted
from minaction.energy.scale_rules import Call
from minaction.energy.scale_trace import ScaleTrace
from minaction.energy.symmetry import FIXED, ScaledParameter, Symmetry
from minaction.energy.trajectory import Activation


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerGauge:
    """What one forward pass says about the energies of the observed layers.

    Attributes:
        scales: For each covered layer the factor on each unit's activation, `[units]`, float64.
        not_covered: The other layers, with the reason.
        constant: Layers whose energy cannot change: the plain output of a normalisation.
        rescalable: Layers whose energy can fall by mere rescaling: only normalisations read them.
    """

    scales: Mapping[str, Tensor]
    not_covered: Mapping[str, str]
    constant: frozenset[str]
    rescalable: frozenset[str]


class GaugeWatch:
    """Follows the scale groups through the forward pass that runs inside its `with` block.

    Args:
        model: The model that runs.
        inputs: What it runs on, in any nesting.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._folded = _ScaleTrace(model, inputs)
        # a batch norm in training undoes scales, folded into the layer before it takes them
        self._unfolded = _ScaleTrace(model, inputs, fold=False)
        self._layers: dict[str, _Observed] = {}
        self._modes = ExitStack()

    def __enter__(self) -> GaugeWatch:
        self._modes.enter_context(self._folded)
        self._modes.enter_context(self._unfolded)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._modes.close()

    def observe(self, activation: Activation) -> None:
        """Note the groups of an observed layer."""
        value = activation.value
        self._layers[activation.name] = _Observed(
            groups=_by_unit(self._folded.groups_of(value), activation.unit_axis),
            reason=self._folded.reason(value),
            unfolded=_by_unit(self._unfolded.groups_of(value), activation.unit_axis),
            normalised=self._unfolded.is_normalised(value),
        )

    def close(self, output: Any, layers: Collection[str]) -> LayerGauge:
        """Return what was found about the `layers`, given the model's output."""
        observed = {name: self._layers[name] for name in layers}
        scales, not_covered = _scales(self._folded.close(output), observed)
        undone = undone_groups(self._unfolded.close(output))
        return LayerGauge(
            scales=scales,
            not_covered=not_covered,
            constant=frozenset(
                name for name, seen in observed.items() if seen.unfolded is None and seen.normalised
            ),
            rescalable=frozenset(
                name
                for name, seen in observed.items()
                if seen.unfolded is not None and undone[seen.unfolded].all()
            ),
        )


class _ScaleTrace(ScaleTrace):
    """One whose own computations the modes below it do not see, and that never fails."""

    def _follow(self, call: Call) -> None:
        with torch._C.DisableTorchFunction():
            try:
                super()._follow(call)
            except RuntimeError:  # what cannot be done to the groups stops rescaling
                self._stop(call)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Observed:
    """The groups of a layer, `[units, positions]` or `[units, 1]` where positions do not differ."""

    groups: np.ndarray | None
    reason: str
    unfolded: np.ndarray | None
    normalised: bool


def _by_unit(groups: Tensor | None, unit_axis: int) -> np.ndarray | None:
    if groups is None:
        return None
    groups = compacted(groups.movedim(unit_axis, 0), first=1).flatten(1)
    first = groups[:, :1]
    return (first if bool((groups == first).all()) else groups).cpu().numpy()


def _scales(
    symmetry: Symmetry, observed: Mapping[str, _Observed]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    tied = tied_groups(symmetry)
    free = free_groups(symmetry, tied)
    factors = canonical_scales(_movable(symmetry, free), free)
    scales, not_covered = {}, {}
    for name, seen in observed.items():
        if seen.groups is None:
            not_covered[name] = seen.reason
        elif (free[seen.groups] == FIXED).any():
            not_covered[name] = _why_pinned(symmetry, tied, tied[seen.groups])
        elif (factors[seen.groups] != factors[seen.groups[:, :1]]).any():
            not_covered[name] = "its positions are scaled differently"
        else:
            scales[name] = torch.from_numpy(factors[seen.groups[:, 0]])
    return scales, not_covered


def _movable(symmetry: Symmetry, free: np.ndarray) -> Symmetry:
    """Leave out what no rescaling touches, and sum up weights that are touched alike.

    The weights between pinned groups, most of a transformer's, then take no memory, and those
    between pinned and free groups one number per free group.
    """
    reduced = (_reduced(parameter, free) for parameter in symmetry.parameters)
    return replace(symmetry, parameters=tuple(p for p in reduced if p is not None))


def _reduced(parameter: ScaledParameter, free: np.ndarray) -> ScaledParameter | None:
    outward, inward = compacted(parameter.out_groups), compacted(parameter.in_groups)
    pinned = [bool((free[groups.cpu().numpy()] == FIXED).all()) for groups in (outward, inward)]
    if all(pinned):
        return None
    outward, inward = (
        torch.full_like(groups[(slice(1),) * groups.ndim], FIXED) if is_pinned else groups
        for groups, is_pinned in zip((outward, inward), pinned, strict=True)
    )
    alike = [
        axis
        for axis in range(parameter.value.ndim)
        if outward.ndim == inward.ndim == parameter.value.ndim
        and outward.shape[axis] == inward.shape[axis] == 1
    ]
    value = parameter.value.detach()
    if alike:
        dtype = value.dtype if value.dtype == torch.float64 else torch.float32
        value = torch.linalg.vector_norm(value, dim=alike, keepdim=True, dtype=dtype)
    return replace(parameter, value=value, out_groups=outward, in_groups=inward)


def _numbers(groups: Tensor) -> np.ndarray:
    return compacted(groups).cpu().numpy()


def _why_pinned(symmetry: Symmetry, tied: np.ndarray, labels: np.ndarray) -> str:
    for pin in symmetry.pins:
        if np.isin(labels, tied[_numbers(pin.groups)]).any():
            return pin.reason
    return "it is tied to an input of the model"
