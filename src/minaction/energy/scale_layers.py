"""Layers with weights start new scale groups; a batch norm may be folded into the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from minaction.energy.functions import CONVOLUTIONS
from minaction.energy.scale_groups import ScaleGroups
from minaction.energy.scale_rules import Call
from minaction.energy.symmetry import ScaledParameter


class ScaleLayers:
    """Places the parameters of the layers of one forward pass.

    Args:
        table: The groups of all tensors.
        fold: Take batch norms in evaluation mode as part of the layers before them.
    """

    def __init__(self, table: ScaleGroups, *, fold: bool) -> None:
        self._table = table
        self._fold_norms = fold
        self._reads: Any = WeakTensorKeyDictionary()
        self._folds: list[_Fold] = []
        self._folded: dict[int, _Fold] = {}
        self._constants: list[tuple[Tensor, float]] = []

    def count(self, reads: Sequence[Tensor]) -> bool:
        """Count what a function reads; return whether a fold needs some of it for itself."""
        claimed = False
        for tensor in reads:
            self._reads.setdefault(tensor, [0])[0] += 1
            fold = self._folded.get(id(tensor))
            if fold is not None:  # nothing else may use what a fold changes
                fold.intact, claimed = False, True
        return claimed

    def follow(self, call: Call) -> bool:
        """Follow a call of a layer; return whether it was one that can be followed."""
        if call.name == "linear" or call.name in CONVOLUTIONS:
            return self._follow_weights(call)
        return self._fold_norms and call.func is F.batch_norm and self._follow_batch_norm(call)

    def close(self) -> tuple[list[ScaledParameter], list[tuple[Tensor, float]]]:
        """Return the parameters and constants of the folds that held, and pin the others."""
        parameters, constants = [], [*self._constants]
        for fold in self._folds:
            if fold.intact and fold.reads[0] == 1:
                parameters += fold.parameters
                constants += fold.constants
            else:
                for parameter in fold.parameters:
                    self._table.pin_parameter(parameter, "its batch norm cannot be folded")
        return parameters, constants

    def _follow_weights(self, call: Call) -> bool:
        table = self._table
        value, weight = call.argument(0, "input"), call.argument(1, "weight")
        bias = call.argument(2, "bias")
        used = [tensor for tensor in (weight, bias) if tensor is not None]
        if not all(map(table.is_owned, used)):
            return False
        transposed, dims = "transpose" in call.name, weight.ndim - 2
        axis = value.ndim - dims - 1
        inputs = table.uniform(value, axis)
        parts = 1 if call.name == "linear" else call.argument(6, "groups", 1)
        count = weight.shape[1] * parts if transposed else weight.shape[0]
        outputs = table.new(count, weight.device)
        rows, columns = (inputs, outputs) if transposed else (outputs, inputs)
        # a weight [rows, columns / parts, ...]: each part of the rows meets its part of the columns
        columns = columns.view(parts, 1, -1).expand(-1, len(rows) // parts, -1).flatten(0, 1)
        rows = rows.view(-1, 1).view(-1, 1, *[1] * dims)
        columns = columns.reshape(*columns.shape, *[1] * dims)
        out_groups, in_groups = (columns, rows) if transposed else (rows, columns)
        table.place(weight, out_groups, in_groups)
        if bias is not None:
            table.place(bias, outputs, torch.zeros_like(outputs))
        table.set_channels(call.output, outputs, axis)
        table.made_by[call.output] = (weight, bias, outputs)
        return True

    def _follow_batch_norm(self, call: Call) -> bool:
        table = self._table
        norm = _BatchNorm.of(call)
        if norm is None or not all(map(table.is_owned, norm.tensors)):
            return False
        if any(id(t) in table.placed for t in norm.tensors):
            return False
        source = table.made_by.get(norm.input)
        if source is not None and id(source[0]) in table.placed:
            self._fold(norm, *source)
            table.set(call.output, table.look_up(norm.input).groups)
            return True
        if norm.weight is None or norm.bias is None:
            return False
        inputs = table.uniform(norm.input, 1)
        outputs = table.new(len(inputs), norm.slope.device)
        table.place(norm.weight, outputs, inputs, norm.slope)
        table.place(norm.bias, outputs, torch.zeros_like(outputs), norm.shift)
        self._constants += [(norm.variance, 1.0 - norm.eps), (norm.mean, 0.0)]
        table.set_channels(call.output, outputs, 1)
        return True

    def _fold(self, norm: _BatchNorm, weight: Tensor, bias: Tensor | None, outputs: Tensor) -> None:
        """Take a batch norm into the layer before it; the norm holds the bias of both."""
        table = self._table
        placed = table.placed.pop(id(weight))
        slope = norm.slope[placed.out_groups - outputs[0]]
        shift, constants = norm.shift, [(norm.variance, 1.0 - norm.eps)]
        if bias is not None:
            table.placed.pop(id(bias))
            shift = shift + bias.double() * norm.slope
            constants.append((bias, 0.0))
        if norm.weight is not None:
            constants.append((norm.weight, 1.0))
        target, value = norm.mean, -shift
        if norm.bias is not None:
            constants.append((norm.mean, 0.0))
            target, value = norm.bias, shift
        layer = replace(placed, value=placed.value.double() * slope)
        offset = ScaledParameter(
            target=target, value=value, out_groups=outputs, in_groups=torch.zeros_like(outputs)
        )
        fold = _Fold(parameters=[layer, offset], constants=constants, reads=self._reads[norm.input])
        self._folds.append(fold)
        self._folded.update((id(tensor), fold) for tensor in fold.tensors)


@dataclass(kw_only=True, eq=False)
class _Fold:
    """A batch norm and the layer with weights it directly follows, as one layer."""

    parameters: list[ScaledParameter]
    constants: list[tuple[Tensor, float]]
    reads: list[int]
    intact: bool = True

    @property
    def tensors(self) -> list[Tensor]:
        """The model's tensors it changes."""
        return [p.target for p in self.parameters] + [tensor for tensor, _ in self.constants]


@dataclass(frozen=True, kw_only=True, eq=False)
class _BatchNorm:
    """A batch norm in evaluation: `y = slope * x + shift`, channel by channel."""

    input: Tensor
    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    @classmethod
    def of(cls, call: Call) -> _BatchNorm | None:
        """Read a call of `F.batch_norm`; None where it uses the batch's statistics."""
        mean, training = call.argument(1, "running_mean"), call.argument(5, "training", False)
        if mean is None or training:
            return None
        return cls(
            input=call.argument(0, "input"),
            mean=mean,
            variance=call.argument(2, "running_var"),
            weight=call.argument(3, "weight"),
            bias=call.argument(4, "bias"),
            eps=call.argument(7, "eps", 1e-5),
        )

    @property
    def tensors(self) -> list[Tensor]:
        """Its parameters and buffers."""
        every = (self.mean, self.variance, self.weight, self.bias)
        return [tensor for tensor in every if tensor is not None]

    @property
    def slope(self) -> Tensor:
        """Its factors, `[channels]`, in float64."""
        slope = (self.variance.double() + self.eps).rsqrt()
        return slope if self.weight is None else slope * self.weight.double()

    @property
    def shift(self) -> Tensor:
        """Its offsets, `[channels]`, in float64."""
        shift = -self.mean.double() * self.slope
        return shift if self.bias is None else shift + self.bias.double()
