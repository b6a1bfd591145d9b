"""Which weighted operations compute and consume each observed layer, and their MACs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minaction.energy.functions import CONVOLUTIONS, SEQUENCES, WEIGHTED, name_of, weights_of
from minaction.energy.tape import Layers, Tape, run_model


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The place of one observed layer in the network, per sample.

    Attributes:
        units: Channels or features.
        elements: Units times positions.
        macs_in: MACs of the weighted operations that compute the layer.
        macs_out: MACs of those that consume it. An operation fed by several layers is shared among
            them: equally where they are summed, by elements where they are concatenated.
    """

    units: int
    elements: int
    macs_in: float
    macs_out: float

    @property
    def macs_in_per_unit(self) -> float:
        """MACs to compute one unit."""
        return self.macs_in / self.units

    @property
    def macs_out_per_unit(self) -> float:
        """MACs one unit causes downstream."""
        return self.macs_out / self.units

    @property
    def macs_out_per_element(self) -> float:
        """MACs one non-zero element causes downstream; all elements together give `macs_out`."""
        return self.macs_out / self.elements


def trace_wiring(
    model: nn.Module, x: Any, layers: Layers | None = None
) -> list[tuple[str, Wiring]]:
    """Follow the data through one forward pass of `model` on `x` and return each layer's wiring.

    What carries weights counts (linear layers, convolutions, recurrent kernels, the projections
    of attention); everything else (pooling, reshaping, sums, concatenation) passes a layer's data
    on. The model's mode and parameters stay as they are.

    Args:
        model: Any module.
        x: One batch of inputs, `[batch, ...]`; a tuple or mapping holds several arguments.
        layers: What to observe, as for `Tape`.

    Returns:
        Pairs of layer name and wiring in the order of the tape, the model's own output included.
    """
    was_training = {module: module.training for module in model.modules()}
    tape, log = Tape(model, layers, observe_output=True), _Log()
    try:
        model.eval()
        with torch.no_grad(), tape, log:
            run_model(model, x)
    finally:
        for module, training in was_training.items():
            module.training = training
    keys = [log.key(layer.value) for layer in tape.trajectory.layers]
    flow = _Flow(keys)
    for operation in log.operations:
        flow.follow(operation)
    return [
        (
            layer.name,
            Wiring(
                units=layer.units,
                elements=math.prod(layer.value.shape[1:]),
                macs_in=flow.macs_in(key),
                macs_out=flow.macs_out.get(key, 0.0),
            ),
        )
        for layer, key in zip(tape.trajectory.layers, keys, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Operation:
    """One call of a torch function; its tensors are kept so that their ids stay theirs."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    concatenates: bool = False
    macs: float = 0.0


class _Log(TorchFunctionMode):
    """Lists the operations of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[_Operation] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        outputs = tuple(_tensors([output]))
        if outputs:
            name = name_of(func) or ""
            self.operations.append(
                _Operation(
                    inputs=tuple(_tensors([*args, *kwargs.values()])),
                    outputs=outputs,
                    concatenates=func in (torch.cat, torch.concat, torch.concatenate),
                    macs=_macs(name, args, kwargs, outputs[0]) if name in WEIGHTED else 0.0,
                )
            )
        return output

    def key(self, value: Tensor) -> int:
        """Return the id under which an activation, or what it is a view of, is logged."""
        logged = {id(output) for operation in self.operations for output in operation.outputs}
        return id(value if id(value) in logged or value._base is None else value._base)


class _Flow:
    """Follows the data of observed layers from operation to operation.

    Tensors and layers go by id. `shares`: the layers a tensor holds data of. `pending`: the
    weighted operations between those layers and the tensor. `made_by`: those that compute a layer.
    """

    def __init__(self, observed: Iterable[int]) -> None:
        self.observed = frozenset(observed)
        self.shares: dict[int, dict[int, float]] = {}
        self.pending: dict[int, frozenset[_Operation]] = {}
        self.made_by: dict[int, frozenset[_Operation]] = {}
        self.macs_out: dict[int, float] = {}

    def macs_in(self, layer: int) -> float:
        """MACs of the operations that compute a layer."""
        return sum(operation.macs for operation in self.made_by.get(layer, ()))

    def follow(self, operation: _Operation) -> None:
        """Pass on what the inputs of an operation hold to its outputs."""
        shares = self._shares(operation)
        if operation.macs:
            for layer, share in shares.items():
                self.macs_out[layer] = self.macs_out.get(layer, 0.0) + share * operation.macs
            shares, pending = {}, frozenset({operation})
        else:
            pending = frozenset().union(*(self.pending.get(id(t), ()) for t in operation.inputs))
        for key in map(id, operation.outputs):
            if key in self.observed:  # more than once where it is computed in place
                self.made_by[key] = self.made_by.get(key, frozenset()) | pending
                self.shares[key], self.pending[key] = {key: 1.0}, frozenset()
            else:
                self.shares[key], self.pending[key] = shares, pending

    def _shares(self, operation: _Operation) -> dict[int, float]:
        inputs = [t for t in operation.inputs if operation.concatenates or self.shares.get(id(t))]
        weights = [float(t.numel()) if operation.concatenates else 1.0 for t in inputs]
        mixed: dict[int, float] = {}
        for tensor, weight in zip(inputs, weights, strict=True):
            for layer, share in self.shares.get(id(tensor), {}).items():
                mixed[layer] = mixed.get(layer, 0.0) + share * weight / sum(weights)
        return mixed


def _macs(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor) -> float:
    """MACs per sample of a weighted call: every weight once per position."""
    weights = weights_of(name, args, kwargs)
    source = args[0] if args else kwargs["input"]
    if "transpose" in name:  # every input position meets every weight
        positions = math.prod(source.shape[2:])
    elif name in CONVOLUTIONS:
        positions = math.prod(output.shape[2:])
    elif name in SEQUENCES:
        positions = source.shape[1 if args[8] else 0]
    elif name == "multi_head_attention_forward":
        positions = source.shape[0]
    else:
        positions = math.prod(output.shape[1:-1])
    return float(positions * sum(weight.numel() for weight in weights))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
