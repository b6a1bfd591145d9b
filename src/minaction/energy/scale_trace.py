"""Which hidden units of a network may be rescaled without changing its function.

One forward pass is followed function by function. Every element of every activation carries the
number of its scale group: elements that can only be multiplied by one common factor. Layers with
weights start new groups, homogeneous functions pass them on, sums tie them together, and whatever
is not positively homogeneous pins what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minaction.energy.scale_groups import ScaleGroups, Seen
from minaction.energy.scale_layers import ScaleLayers
from minaction.energy.scale_passing import PASSES, pass_on
from minaction.energy.scale_rules import (
    METADATA,
    MOVES,
    NORMALISATIONS,
    SUMS,
    Call,
    tensors_in,
    why_stopped,
)
from minaction.energy.symmetry import Symmetry


class ScaleTrace(TorchFunctionMode):
    """Follows the scale groups through the forward pass that runs inside its `with` block.

    Args:
        model: The model that runs.
        inputs: What it runs on, in any nesting.
        fold: Take batch norms in evaluation mode as part of the layers before them; False judges
            them as in training, where they undo the scale of what they read.
    """

    def __init__(self, model: nn.Module, inputs: Any, *, fold: bool = True) -> None:
        super().__init__()
        self._table = ScaleGroups(model, inputs)
        self._layers = ScaleLayers(self._table, fold=fold)
        self._used_otherwise: set[int] = set()

    def groups_of(self, value: Tensor) -> Tensor | None:
        """Return the group of each element of an activation, None where its scale is given."""
        return self._table.look_up(value).groups

    def reason(self, value: Tensor) -> str:
        """Return why the scale of an activation is given."""
        return self._table.look_up(value).reason

    def is_normalised(self, value: Tensor) -> bool:
        """Return whether an activation is what a normalisation without weights computed."""
        return self._table.look_up(value).normalised

    def close(self, output: Any) -> Symmetry:
        """Pin the model's output and return what was found."""
        for tensor in tensors_in([output]):
            self._table.pin(tensor, "it is an output of the model")
        parameters = [*self._table.placed.values()]
        for key, placed in self._table.placed.items():
            if key in self._used_otherwise:
                self._table.pin_parameter(placed, "its weights are used in another way too")
        folded, constants = self._layers.close()
        parameters += folded
        return Symmetry(
            groups=self._table.count,
            parameters=tuple(parameters),
            ties=tuple(self._table.ties),
            pins=tuple(self._table.pins),
            constants=tuple(constants),
        )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` and pass the groups of what it reads on to what it computes."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        call = Call(func, args, kwargs, output)
        if call.name not in METADATA:
            with torch.no_grad():
                self._follow(call)
        return output

    def _follow(self, call: Call) -> None:
        reads = call.reads
        claimed = self._layers.count(reads)
        if not claimed and self._layers.follow(call):
            return
        if call.name not in SUMS:
            self._use_otherwise(reads)
        seen = [self._table.look_up(tensor) for tensor in reads]
        if all(entry.groups is None for entry in seen):
            self._use_otherwise(reads)
            self._fix(call, seen)
        elif not pass_on(self._table, call):
            self._use_otherwise(reads)
            self._stop(call)

    def _use_otherwise(self, reads: Sequence[Tensor]) -> None:
        self._used_otherwise.update(id(t) for t in reads if self._table.is_owned(t))

    def _fix(self, call: Call, seen: Sequence[Seen]) -> None:
        """The scales of what is read are given, so are those of what is computed."""
        passes = call.name in PASSES
        reasons = [entry.reason for entry in seen if entry.reason != Seen.reason]
        reason = why_stopped(call.name)
        if passes or not seen:
            reason = reasons[0] if reasons else Seen.reason
        normalised = call.name in MOVES and any(entry.normalised for entry in seen)
        for output in call.outputs:
            self._table.seen[output] = Seen(
                reason=reason, normalised=normalised or _is_plain_normalisation(call)
            )

    def _stop(self, call: Call) -> None:
        reason = why_stopped(call.name)
        for tensor in call.reads:
            self._table.pin(tensor, reason, normalises=call.name in NORMALISATIONS)
        for output in call.outputs:
            self._table.seen[output] = Seen(reason=reason, normalised=_is_plain_normalisation(call))


def _is_plain_normalisation(call: Call) -> bool:
    if call.name not in NORMALISATIONS:
        return False
    position = 3 if call.name in ("batch_norm", "instance_norm") else 2
    return call.argument(position, "weight") is None
