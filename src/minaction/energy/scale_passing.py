"""Functions that pass scale groups on: they are homogeneous, move data or tie groups together.

Functions that move data (reshape, transpose, cat, indexing ...) are simply run on the group numbers
too, so that flattening, concatenation and channel shuffles need no rules of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minaction.energy.scale_groups import ScaleGroups, Seen
from minaction.energy.scale_rules import (
    BIASED,
    DIVISIONS,
    HOMOGENEOUS,
    JOINS,
    MOVES,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    RESAMPLES,
    SIGNS,
    SUMS,
    Call,
    tensors_in,
)

PASSES = frozenset().union(
    HOMOGENEOUS, MOVES, JOINS, POOLS, RESAMPLES, REDUCTIONS, SUMS, PRODUCTS, {"pad"}
)
"""Functions that may be homogeneous: not to blame for a scale that is given."""


def pass_on(table: ScaleGroups, call: Call) -> bool:
    """Pass the groups of what a function read on to what it computed; False: it stops rescaling."""
    if call.kwargs.get("out") is not None:
        return False
    for names, follow in (
        (HOMOGENEOUS, _follow_homogeneous),
        (MOVES, _follow_move),
        (JOINS, _follow_join),
        (POOLS | RESAMPLES, _follow_pool),
        (REDUCTIONS, _follow_reduction),
        (SUMS, _follow_sum),
        (PRODUCTS, _follow_product),
        (SIGNS, _follow_sign),
        ({"pad"}, _follow_pad),
    ):
        if call.name in names:
            return follow(table, call)
    return False


def _follow_homogeneous(table: ScaleGroups, call: Call) -> bool:
    groups, output = table.only(call, 0), call.output
    if groups is None or not isinstance(output, Tensor) or not output.is_floating_point():
        return False
    table.set(output, groups)
    return True


def _follow_move(table: ScaleGroups, call: Call) -> bool:
    groups = table.only(call, 0)
    if groups is None or any(isinstance(a, torch.dtype) for a in call.args):
        return False
    # a view of its own: an in-place function must not turn the groups of other tensors
    source = groups.view(groups.shape)
    return _set_moved(table, call, call.func(source, *call.args[1:], **call.kwargs))


def _follow_join(table: ScaleGroups, call: Call) -> bool:
    parts = call.argument(0, "tensors")
    if not isinstance(parts, (list, tuple)):
        return False
    groups = [table.groups_or_fixed(part) for part in parts]
    options = {key: value for key, value in call.kwargs.items() if key != "tensors"}
    return _set_moved(table, call, call.func(groups, *call.args[1:], **options))


def _set_moved(table: ScaleGroups, call: Call, moved: Any) -> bool:
    for output, groups in zip(call.outputs, tensors_in([moved]), strict=True):
        table.set(output, groups)
    return True


def _follow_pool(table: ScaleGroups, call: Call) -> bool:
    value = call.argument(0, "input")
    if table.only(call, 0, "input") is None:
        return False
    axis = value.ndim - int(call.name[-2]) - 1 if call.name in POOLS else 1
    output, *indices = call.outputs
    table.set_channels(output, table.uniform(value, axis), axis)
    for tensor in indices:
        table.seen[tensor] = Seen(reason=f"{call.name} counts positions")
    return True


def _follow_reduction(table: ScaleGroups, call: Call) -> bool:
    groups = table.only(call, 0, "input")
    dim = call.argument(1, "dim", call.kwargs.get("axis"))
    if groups is None or isinstance(dim, torch.dtype) or not isinstance(call.output, Tensor):
        return False
    axes = range(groups.ndim) if dim is None or dim == () else dim
    axes = [axes] if isinstance(axes, int) else [*axes]
    one = groups
    for axis in axes:
        one = one.narrow(axis, 0, 1)
    table.tie(groups, one.expand_as(groups))
    table.set(call.output, one.reshape(call.output.shape))
    return True


def _follow_sum(table: ScaleGroups, call: Call) -> bool:
    free = [
        v for v in call.operands if isinstance(v, Tensor) and table.look_up(v).groups is not None
    ]
    given = [v for v in call.operands if not any(v is tensor for tensor in free)]
    biases = [v for v in given if isinstance(v, Tensor) and table.is_owned(v)]
    numbers = [v for v in given if not any(v is bias for bias in biases)]
    if any(isinstance(v, Tensor) or v != 0 for v in numbers):
        return False
    if biases and (call.name not in BIASED or len(free) != 1):
        return False
    if not free or not isinstance(call.output, Tensor):
        return False
    shape = call.output.shape
    first, *others = [table.groups_or_fixed(value).expand(shape) for value in free]
    for other in others:
        table.tie(first, other)
    for bias in biases:
        _place_bias(table, bias, first)
    table.set(call.output, first)
    return True


def _place_bias(table: ScaleGroups, bias: Tensor, groups: Tensor) -> None:
    shape = (1,) * (groups.ndim - bias.ndim) + bias.shape
    one = groups
    for axis, size in enumerate(shape):
        if size == 1:
            one = one.narrow(axis, 0, 1)
    table.tie(groups, one.expand_as(groups))
    table.place(bias, one.reshape(bias.shape), torch.zeros_like(one.reshape(bias.shape)))


def _follow_product(table: ScaleGroups, call: Call) -> bool:
    groups = table.only(call, 0)
    if groups is None and call.name not in DIVISIONS:
        groups = table.only(call, 1, "other")
    if groups is None or call.kwargs.get("rounding_mode"):
        return False
    table.set(call.output, groups.expand(call.output.shape))
    return True


def _follow_sign(table: ScaleGroups, call: Call) -> bool:
    _, *others = call.operands
    if any(isinstance(v, Tensor) or v != 0 for v in others) or table.only(call, 0) is None:
        return False
    for output in call.outputs:
        table.seen[output] = Seen(reason=f"{call.name} does not depend on scales")
    return True


def _follow_pad(table: ScaleGroups, call: Call) -> bool:
    groups = table.only(call, 0, "input")
    mode = call.argument(2, "mode", "constant")
    if groups is None or (mode == "constant" and call.argument(3, "value")):
        return False
    value = -1.0 if mode == "constant" else None
    padded = F.pad(groups.double(), call.argument(1, "pad"), mode, value).long()
    if len(padded) != len(groups):
        return False
    empty = padded[:1] < 0  # zeros have any scale: a group each
    padded[:, empty[0]] = table.new(int(empty.sum()), padded.device)
    table.set(call.output, padded)
    return True
