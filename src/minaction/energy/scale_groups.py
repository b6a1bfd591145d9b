"""The scale group of every element of every activation, and what is known of the groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from minaction.energy.scale_rules import Call, tensors_in
from minaction.energy.symmetry import FIXED, Pin, ScaledParameter


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What is known of a tensor: the group of each element, or why its scale is given."""

    groups: Tensor | None = None
    reason: str = "it is an input of the model"
    normalised: bool = False


class ScaleGroups:
    """The groups of all tensors of one forward pass.

    Attributes:
        count: Number of groups so far; group 0 is `FIXED`.
        seen: What is known of each tensor.
        made_by: The weight, bias and groups of the layer that computed a tensor.
        placed: By identity, the model's tensors whose place is known.
        ties: Pairs of equally long vectors of groups that must share their scales.
        pins: Groups that cannot be rescaled.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._owned = {id(tensor): tensor for tensor in _owned_tensors(model)}
        self.count = 1
        self.seen: Any = WeakTensorKeyDictionary()
        self.made_by: Any = WeakTensorKeyDictionary()
        self.placed: dict[int, ScaledParameter] = {}
        self.ties: list[tuple[Tensor, Tensor]] = []
        self.pins: list[Pin] = []
        for tensor in tensors_in([inputs]):
            self.seen[tensor] = Seen()

    def look_up(self, tensor: Tensor) -> Seen:
        """Return what is known of a tensor; one from nowhere pins all groups there are."""
        seen = self.seen.get(tensor)
        if seen is not None:
            return seen
        if self.is_owned(tensor):
            return Seen(reason="it is a parameter of the model")
        # what no function seen here computed may depend on any group
        reason = "a function that cannot be followed computes with it"
        self.pins.append(Pin(groups=torch.arange(1, self.count), reason=reason))
        self.seen[tensor] = Seen(reason=reason)
        return self.seen[tensor]

    def groups_or_fixed(self, tensor: Tensor) -> Tensor:
        """Return the group of each element, `FIXED` where its scale is given."""
        groups = self.look_up(tensor).groups
        if groups is None:
            return torch.full((), FIXED, device=tensor.device).expand(tensor.shape)
        return groups

    def is_owned(self, tensor: Tensor) -> bool:
        """Return whether a tensor is one of the model's own: a parameter, buffer or attribute."""
        return id(tensor) in self._owned

    def only(self, call: Call, position: int, name: str = "input") -> Tensor | None:
        """Return the groups of one argument, None unless it is the only one with groups."""
        value = call.argument(position, name)
        free = [tensor for tensor in call.reads if self.look_up(tensor).groups is not None]
        return self.look_up(value).groups if len(free) == 1 and free[0] is value else None

    def uniform(self, value: Tensor, axis: int) -> Tensor:
        """Tie all positions of each channel together and return each channel's group."""
        groups = compacted(self.groups_or_fixed(value).movedim(axis, 0), first=1)
        groups = groups.flatten(1)
        self.tie(groups, groups[:, :1].expand_as(groups))
        return groups[:, 0]

    def set(self, tensor: Tensor, groups: Tensor | None) -> None:
        """Note the groups of a tensor that was computed."""
        self.seen[tensor] = Seen(groups=groups)
        self.made_by.pop(tensor, None)

    def set_channels(self, tensor: Tensor, channels: Tensor, axis: int) -> None:
        """Note the group of each channel of a tensor that was computed."""
        shape = [1] * tensor.ndim
        shape[axis] = -1
        self.set(tensor, channels.view(shape).expand(tensor.shape))

    def new(self, count: int, device: torch.device) -> Tensor:
        """Return so many new groups."""
        first, self.count = self.count, self.count + count
        return torch.arange(first, first + count, device=device)

    def tie(self, one: Tensor, other: Tensor) -> None:
        """Have two equally shaped tensors of groups share their scales, element by element."""
        for axis in range(one.ndim):  # along expanded axes nothing new is said
            if one.stride(axis) == other.stride(axis) == 0:
                one, other = one.narrow(axis, 0, 1), other.narrow(axis, 0, 1)
        pairs = torch.stack([one.flatten(), other.flatten()])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if pairs.numel():
            first, second = pairs.unique(dim=1)
            self.ties.append((first, second))

    def pin(self, tensor: Tensor, reason: str, *, normalises: bool = False) -> None:
        """Have the groups of a tensor keep their scales."""
        groups = self.look_up(tensor).groups
        if groups is not None:
            groups = compacted(groups).unique()
            self.pins.append(Pin(groups=groups, reason=reason, normalises=normalises))

    def pin_parameter(self, parameter: ScaledParameter, reason: str) -> None:
        """Have the groups that a parameter joins keep their scales."""
        for groups in (parameter.out_groups, parameter.in_groups):
            self.pins.append(Pin(groups=groups.unique(), reason=reason))

    def place(
        self, target: Tensor, out_groups: Tensor, in_groups: Tensor, value: Tensor | None = None
    ) -> None:
        """Note where a parameter's scales come from; a parameter used twice ties both places."""
        known = self.placed.get(id(target))
        new = ScaledParameter(
            target=target,
            value=target if value is None else value,
            out_groups=out_groups,
            in_groups=in_groups,
        )
        if known is None:
            self.placed[id(target)] = new
        elif known.out_groups.shape == out_groups.shape:
            self.tie(known.out_groups, out_groups)
            self.tie(known.in_groups, in_groups)
        else:
            self.pin_parameter(known, "its weights are used in another way too")
            self.pin_parameter(new, "its weights are used in another way too")


def compacted(groups: Tensor, *, first: int = 0) -> Tensor:
    """Drop the repetitions along expanded axes, from axis `first` on.

    They would be as large as weights and activations.
    """
    for axis in range(first, groups.ndim):
        if groups.stride(axis) == 0 and groups.shape[axis]:
            groups = groups.narrow(axis, 0, 1)
    return groups


def _owned_tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        yield from tensors_in(vars(module).values())
