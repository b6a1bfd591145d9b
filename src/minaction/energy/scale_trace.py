"""Which hidden units of a network may be rescaled without changing its function.

One forward pass is followed function by function. Every element of every activation carries the
number of its scale group: elements that can only be multiplied by one common factor. Layers with
weights start new groups, homogeneous functions pass them on, sums tie them together, and whatever
is not positively homogeneous pins what it reads.

Functions that move data (reshape, transpose, cat, indexing ...) are simply run on the group numbers
too, so that flattening, concatenation and channel shuffles need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from minaction.energy.functions import CONVOLUTIONS
from minaction.energy.scale_rules import (
    BIASED,
    DIVISIONS,
    HOMOGENEOUS,
    JOINS,
    METADATA,
    MOVES,
    NORMALISATIONS,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    RESAMPLES,
    SIGNS,
    SUMS,
    Call,
    tensors_in,
    why_stopped,
)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What is known of a tensor: the group of each element, or why its scale is given."""

    groups: Tensor | None = None
    reason: str = "it is an input of the model"
    normalised: bool = False


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
        self.fold = fold
        self._owned = {id(tensor): tensor for tensor in _owned_tensors(model)}
        self._seen: Any = WeakTensorKeyDictionary()
        self._made_by: Any = WeakTensorKeyDictionary()
        self._reads: Any = WeakTensorKeyDictionary()
        for tensor in tensors_in([inputs]):
            self._seen[tensor] = _Seen()
        self._groups = 1
        self._placed: dict[int, ScaledParameter] = {}
        self._folds: list[_Fold] = []
        self._folded: dict[int, _Fold] = {}
        self._used_otherwise: set[int] = set()
        self._ties: list[tuple[Tensor, Tensor]] = []
        self._pins: list[Pin] = []
        self._constants: list[tuple[Tensor, float]] = []

    def groups_of(self, value: Tensor) -> Tensor | None:
        """Return the group of each element of an activation, None where its scale is given."""
        return self._look_up(value).groups

    def reason(self, value: Tensor) -> str:
        """Return why the scale of an activation is given."""
        return self._look_up(value).reason

    def is_normalised(self, value: Tensor) -> bool:
        """Return whether an activation is what a normalisation without weights computed."""
        return self._look_up(value).normalised

    def close(self, output: Any) -> Symmetry:
        """Pin the model's output and return what was found."""
        for tensor in tensors_in([output]):
            self._pin(tensor, "it is an output of the model")
        parameters, constants = [*self._placed.values()], [*self._constants]
        for key, placed in self._placed.items():
            if key in self._used_otherwise:
                self._pin_parameter(placed, "its weights are used in another way too")
        for fold in self._folds:
            if fold.intact and fold.reads[0] == 1:
                parameters += fold.parameters
                constants += fold.constants
            else:
                for parameter in fold.parameters:
                    self._pin_parameter(parameter, "its batch norm cannot be folded")
        return Symmetry(
            groups=self._groups,
            parameters=tuple(parameters),
            ties=tuple(self._ties),
            pins=tuple(self._pins),
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
        reads, again = call.reads, False
        for tensor in reads:
            self._reads.setdefault(tensor, [0])[0] += 1
            fold = self._folded.get(id(tensor))
            if fold is not None:  # nothing else may use what a fold changes
                fold.intact, again = False, True
        if not again and self._follow_layer(call):
            return
        if call.name not in SUMS:
            self._used_otherwise.update(id(t) for t in reads if id(t) in self._owned)
        seen = [self._look_up(tensor) for tensor in reads]
        if all(entry.groups is None for entry in seen):
            self._used_otherwise.update(id(t) for t in reads if id(t) in self._owned)
            self._fix(call, seen)
        elif not self._pass_on(call):
            self._used_otherwise.update(id(t) for t in reads if id(t) in self._owned)
            self._stop(call)

    def _follow_layer(self, call: Call) -> bool:
        if call.name == "linear" or call.name in CONVOLUTIONS:
            return self._follow_weights(call)
        return self.fold and call.func is F.batch_norm and self._follow_batch_norm(call)

    # --- functions that pass scales on

    def _pass_on(self, call: Call) -> bool:
        if call.kwargs.get("out") is not None:
            return False
        for names, follow in (
            (HOMOGENEOUS, self._follow_homogeneous),
            (MOVES, self._follow_move),
            (JOINS, self._follow_join),
            (POOLS | RESAMPLES, self._follow_pool),
            (REDUCTIONS, self._follow_reduction),
            (SUMS, self._follow_sum),
            (PRODUCTS, self._follow_product),
            (SIGNS, self._follow_sign),
            ({"pad"}, self._follow_pad),
        ):
            if call.name in names:
                return follow(call)
        return False

    def _follow_homogeneous(self, call: Call) -> bool:
        groups, output = self._only(call, 0), call.output
        if groups is None or not isinstance(output, Tensor) or not output.is_floating_point():
            return False
        self._set(output, groups)
        return True

    def _follow_move(self, call: Call) -> bool:
        groups = self._only(call, 0)
        if groups is None or any(isinstance(a, torch.dtype) for a in call.args):
            return False
        # a view of its own: an in-place function must not turn the groups of other tensors
        source = groups.view(groups.shape)
        return self._set_moved(call, call.func(source, *call.args[1:], **call.kwargs))

    def _follow_join(self, call: Call) -> bool:
        parts = call.argument(0, "tensors")
        if not isinstance(parts, (list, tuple)):
            return False
        groups = [self._groups_or_fixed(part) for part in parts]
        options = {key: value for key, value in call.kwargs.items() if key != "tensors"}
        return self._set_moved(call, call.func(groups, *call.args[1:], **options))

    def _set_moved(self, call: Call, moved: Any) -> bool:
        for output, groups in zip(call.outputs, tensors_in([moved]), strict=True):
            self._set(output, groups)
        return True

    def _follow_pool(self, call: Call) -> bool:
        value = call.argument(0, "input")
        if self._only(call, 0, "input") is None:
            return False
        axis = value.ndim - int(call.name[-2]) - 1 if call.name in POOLS else 1
        output, *indices = call.outputs
        self._set_channels(output, self._uniform(value, axis), axis)
        for tensor in indices:
            self._seen[tensor] = _Seen(reason=f"{call.name} counts positions")
        return True

    def _follow_reduction(self, call: Call) -> bool:
        groups = self._only(call, 0, "input")
        dim = call.argument(1, "dim", call.kwargs.get("axis"))
        if groups is None or isinstance(dim, torch.dtype) or not isinstance(call.output, Tensor):
            return False
        axes = range(groups.ndim) if dim is None or dim == () else dim
        axes = [axes] if isinstance(axes, int) else [*axes]
        one = groups
        for axis in axes:
            one = one.narrow(axis, 0, 1)
        self._tie(groups, one.expand_as(groups))
        self._set(call.output, one.reshape(call.output.shape))
        return True

    def _follow_sum(self, call: Call) -> bool:
        free = [v for v in call.operands if isinstance(v, Tensor) and self.groups_of(v) is not None]
        given = [v for v in call.operands if not any(v is tensor for tensor in free)]
        biases = [v for v in given if isinstance(v, Tensor) and id(v) in self._owned]
        numbers = [v for v in given if not any(v is bias for bias in biases)]
        if any(isinstance(v, Tensor) or v != 0 for v in numbers):
            return False
        if biases and (call.name not in BIASED or len(free) != 1):
            return False
        if not free or not isinstance(call.output, Tensor):
            return False
        shape = call.output.shape
        first, *others = [self._groups_or_fixed(value).expand(shape) for value in free]
        for other in others:
            self._tie(first, other)
        for bias in biases:
            self._place_bias(bias, first)
        self._set(call.output, first)
        return True

    def _place_bias(self, bias: Tensor, groups: Tensor) -> None:
        shape = (1,) * (groups.ndim - bias.ndim) + bias.shape
        one = groups
        for axis, size in enumerate(shape):
            if size == 1:
                one = one.narrow(axis, 0, 1)
        self._tie(groups, one.expand_as(groups))
        self._place(bias, one.reshape(bias.shape), torch.zeros_like(one.reshape(bias.shape)))

    def _follow_product(self, call: Call) -> bool:
        groups = self._only(call, 0)
        if groups is None and call.name not in DIVISIONS:
            groups = self._only(call, 1, "other")
        if groups is None or call.kwargs.get("rounding_mode"):
            return False
        self._set(call.output, groups.expand(call.output.shape))
        return True

    def _follow_sign(self, call: Call) -> bool:
        _, *others = call.operands
        if any(isinstance(v, Tensor) or v != 0 for v in others) or self._only(call, 0) is None:
            return False
        for output in call.outputs:
            self._seen[output] = _Seen(reason=f"{call.name} does not depend on scales")
        return True

    def _follow_pad(self, call: Call) -> bool:
        groups = self._only(call, 0, "input")
        mode = call.argument(2, "mode", "constant")
        if groups is None or (mode == "constant" and call.argument(3, "value")):
            return False
        value = -1.0 if mode == "constant" else None
        padded = F.pad(groups.double(), call.argument(1, "pad"), mode, value).long()
        if len(padded) != len(groups):
            return False
        empty = padded[:1] < 0  # zeros have any scale: a group each
        padded[:, empty[0]] = self._new(int(empty.sum()), padded.device)
        self._set(call.output, padded)
        return True

    # --- layers with weights

    def _follow_weights(self, call: Call) -> bool:
        value, weight = call.argument(0, "input"), call.argument(1, "weight")
        bias = call.argument(2, "bias")
        used = [tensor for tensor in (weight, bias) if tensor is not None]
        if any(id(tensor) not in self._owned for tensor in used):
            return False
        transposed, dims = "transpose" in call.name, weight.ndim - 2
        axis = value.ndim - dims - 1
        inputs = self._uniform(value, axis)
        parts = 1 if call.name == "linear" else call.argument(6, "groups", 1)
        count = weight.shape[1] * parts if transposed else weight.shape[0]
        outputs = self._new(count, weight.device)
        rows, columns = (inputs, outputs) if transposed else (outputs, inputs)
        # a weight [rows, columns / parts, ...]: each part of the rows meets its part of the columns
        columns = columns.view(parts, 1, -1).expand(-1, len(rows) // parts, -1).flatten(0, 1)
        rows = rows.view(-1, 1).view(-1, 1, *[1] * dims)
        columns = columns.reshape(*columns.shape, *[1] * dims)
        out_groups, in_groups = (columns, rows) if transposed else (rows, columns)
        self._place(weight, out_groups, in_groups)
        if bias is not None:
            self._place(bias, outputs, torch.zeros_like(outputs))
        self._set_channels(call.output, outputs, axis)
        self._made_by[call.output] = (weight, bias, outputs)
        return True

    def _follow_batch_norm(self, call: Call) -> bool:
        norm = _BatchNorm.of(call)
        if norm is None or any(id(t) not in self._owned for t in norm.tensors):
            return False
        if any(id(t) in self._placed for t in norm.tensors):
            return False
        source = self._made_by.get(norm.input)
        if source is not None and id(source[0]) in self._placed:
            self._fold(norm, *source)
            self._set(call.output, self._look_up(norm.input).groups)
            return True
        if norm.weight is None or norm.bias is None:
            return False
        inputs = self._uniform(norm.input, 1)
        outputs = self._new(len(inputs), norm.slope.device)
        self._place(norm.weight, outputs, inputs, norm.slope)
        self._place(norm.bias, outputs, torch.zeros_like(outputs), norm.shift)
        self._constants += [(norm.variance, 1.0 - norm.eps), (norm.mean, 0.0)]
        self._set_channels(call.output, outputs, 1)
        return True

    def _fold(self, norm: _BatchNorm, weight: Tensor, bias: Tensor | None, outputs: Tensor) -> None:
        """Take a batch norm into the layer before it; the norm holds the bias of both."""
        placed = self._placed.pop(id(weight))
        slope = norm.slope[placed.out_groups - outputs[0]]
        shift, constants = norm.shift, [(norm.variance, 1.0 - norm.eps)]
        if bias is not None:
            self._placed.pop(id(bias))
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

    def _place(
        self, target: Tensor, out_groups: Tensor, in_groups: Tensor, value: Tensor | None = None
    ) -> None:
        """Note where a parameter's scales come from; a parameter used twice ties both places."""
        known = self._placed.get(id(target))
        new = ScaledParameter(
            target=target,
            value=target if value is None else value,
            out_groups=out_groups,
            in_groups=in_groups,
        )
        if known is None:
            self._placed[id(target)] = new
        elif known.out_groups.shape == out_groups.shape:
            self._tie(known.out_groups, out_groups)
            self._tie(known.in_groups, in_groups)
        else:
            self._pin_parameter(known, "its weights are used in another way too")
            self._pin_parameter(new, "its weights are used in another way too")

    # --- the table of tensors

    def _look_up(self, tensor: Tensor) -> _Seen:
        seen = self._seen.get(tensor)
        if seen is not None:
            return seen
        if id(tensor) in self._owned:
            return _Seen(reason="it is a parameter of the model")
        # what no function seen here computed may depend on any group
        reason = "a function that cannot be followed computes with it"
        self._pins.append(Pin(groups=torch.arange(1, self._groups), reason=reason))
        self._seen[tensor] = _Seen(reason=reason)
        return self._seen[tensor]

    def _groups_or_fixed(self, tensor: Tensor) -> Tensor:
        groups = self._look_up(tensor).groups
        if groups is None:
            return torch.full((), FIXED, device=tensor.device).expand(tensor.shape)
        return groups

    def _only(self, call: Call, position: int, name: str = "input") -> Tensor | None:
        """Return the groups of one argument, None unless it is the only one with groups."""
        value = call.argument(position, name)
        free = [tensor for tensor in call.reads if self._look_up(tensor).groups is not None]
        return self._look_up(value).groups if len(free) == 1 and free[0] is value else None

    def _uniform(self, value: Tensor, axis: int) -> Tensor:
        """Tie all positions of each channel together and return each channel's group."""
        groups = compacted(self._groups_or_fixed(value).movedim(axis, 0), first=1)
        groups = groups.flatten(1)
        self._tie(groups, groups[:, :1].expand_as(groups))
        return groups[:, 0]

    def _set(self, tensor: Tensor, groups: Tensor | None) -> None:
        self._seen[tensor] = _Seen(groups=groups)
        self._made_by.pop(tensor, None)

    def _set_channels(self, tensor: Tensor, channels: Tensor, axis: int) -> None:
        shape = [1] * tensor.ndim
        shape[axis] = -1
        self._set(tensor, channels.view(shape).expand(tensor.shape))

    def _fix(self, call: Call, seen: Sequence[_Seen]) -> None:
        """The scales of what is read are given, so are those of what is computed."""
        passes = call.name in _PASSES
        reasons = [entry.reason for entry in seen if entry.reason != _Seen.reason]
        reason = why_stopped(call.name)
        if passes or not seen:
            reason = reasons[0] if reasons else _Seen.reason
        normalised = call.name in MOVES and any(entry.normalised for entry in seen)
        for output in call.outputs:
            self._seen[output] = _Seen(
                reason=reason, normalised=normalised or _is_plain_normalisation(call)
            )

    def _stop(self, call: Call) -> None:
        reason = why_stopped(call.name)
        for tensor in call.reads:
            self._pin(tensor, reason, normalises=call.name in NORMALISATIONS)
        for output in call.outputs:
            self._seen[output] = _Seen(reason=reason, normalised=_is_plain_normalisation(call))

    def _new(self, count: int, device: torch.device) -> Tensor:
        first, self._groups = self._groups, self._groups + count
        return torch.arange(first, first + count, device=device)

    def _tie(self, one: Tensor, other: Tensor) -> None:
        for axis in range(one.ndim):  # along expanded axes nothing new is said
            if one.stride(axis) == other.stride(axis) == 0:
                one, other = one.narrow(axis, 0, 1), other.narrow(axis, 0, 1)
        pairs = torch.stack([one.flatten(), other.flatten()])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if pairs.numel():
            first, second = pairs.unique(dim=1)
            self._ties.append((first, second))

    def _pin(self, tensor: Tensor, reason: str, *, normalises: bool = False) -> None:
        groups = self._look_up(tensor).groups
        if groups is not None:
            groups = compacted(groups).unique()
            self._pins.append(Pin(groups=groups, reason=reason, normalises=normalises))

    def _pin_parameter(self, parameter: ScaledParameter, reason: str) -> None:
        for groups in (parameter.out_groups, parameter.in_groups):
            self._pins.append(Pin(groups=groups.unique(), reason=reason))


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


_PASSES = frozenset().union(
    HOMOGENEOUS, MOVES, JOINS, POOLS, RESAMPLES, REDUCTIONS, SUMS, PRODUCTS, {"pad"}
)


def _is_plain_normalisation(call: Call) -> bool:
    if call.name not in NORMALISATIONS:
        return False
    position = 3 if call.name in ("batch_norm", "instance_norm") else 2
    return call.argument(position, "weight") is None


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
