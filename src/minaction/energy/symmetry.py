"""What a forward pass says about rescalings that leave the network's function alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

FIXED = 0
"""The group of everything whose scale is given: inputs, outputs, what is pinned."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaledParameter:
    """A parameter, and the groups whose scales it takes and undoes.

    Under scales `c` the network's function stays if `target` becomes
    `value * c[out_groups] / c[in_groups]`.

    Attributes:
        target: The model's parameter (or running mean).
        value: What it holds, with a batch norm folded in where one follows.
        out_groups: Group of what each element helps to compute, broadcastable to `value`.
        in_groups: Group of what each element multiplies (`FIXED` for biases), broadcastable too.
    """

    target: Tensor
    value: Tensor
    out_groups: Tensor
    in_groups: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Pin:
    """Groups that cannot be rescaled, why, and whether a normalisation undoes their scale."""

    groups: Tensor
    reason: str
    normalises: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Symmetry:
    """What one forward pass says about the rescalings that leave the network's function alone.

    Attributes:
        groups: Number of groups; group 0 is `FIXED`.
        parameters: Parameters that take and undo scales.
        ties: Pairs of equally long vectors of groups that must share their scales.
        pins: Groups that cannot be rescaled.
        constants: Tensors of folded batch norms and the values that leave only their bias.
    """

    groups: int
    parameters: tuple[ScaledParameter, ...]
    ties: tuple[tuple[Tensor, Tensor], ...]
    pins: tuple[Pin, ...]
    constants: tuple[tuple[Tensor, float], ...]
