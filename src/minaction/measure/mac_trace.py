"""The MACs of a forward pass while it runs: by operation, and by the observed layers they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from minaction.energy.recorder import is_transformed
from minaction.energy.scale_rules import JOINS, METADATA, Call, tensors_in
from minaction.measure.mac_formulas import Product, operation_name, products_of
from minaction.measure.mac_free import FREE
from minaction.measure.mac_zeros import are_spikes, has_values, macs_left, nonzeros_of
from minaction.measure.traffic import Traffic, is_view, size_of, traffic_of

UNSEEN = "functions that cannot be seen (custom autograd functions, extensions)"


@dataclass(kw_only=True, eq=False)
class Cost:
    """What the operations that read a layer cost, over the whole batch.

    Attributes:
        macs_dense: Multiply-accumulates if no activation were 0.
        macs_effective: Those of them whose activations are neither 0 nor spikes.
        acs_effective: Those whose activations are spikes: accumulates.
        parameters: Parameters of these operations.
    """

    macs_dense: float = 0.0
    macs_effective: float = 0.0
    acs_effective: float = 0.0
    parameters: float = 0.0


@dataclass(kw_only=True, eq=False)
class Operation:
    """What one function costs in one module, over all its calls.

    Attributes:
        calls: How often it was called.
        macs_dense: Multiply-accumulates if no activation were 0.
        macs_effective: Those of them whose activations are neither 0 nor spikes.
        acs_effective: Those whose activations are spikes.
        bytes: Bytes of weights and activations, read and written.
    """

    calls: int = 0
    macs_dense: int = 0
    macs_effective: float = 0.0
    acs_effective: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Backward:
    """What the gradients of one call cost, if its output's own gradient is computed.

    Attributes:
        place: The module and function.
        nodes: Its nodes in the autograd graph.
        macs: Multiply-accumulates.
        bytes: Bytes read and written.
    """

    place: tuple[str, str]
    nodes: tuple[Any, ...]
    macs: int
    bytes: int


@dataclass(eq=False)
class _Data:
    """What is known of a tensor: the share of each observed layer in it, zeros and spikes."""

    shares: Mapping[str, float] = field(default_factory=dict)
    nonzeros: int | None = None
    spikes: bool | None = None
    version: int | None = None
    weight: bool = False  # made of weights alone


class MacTrace(TorchFunctionMode):
    """Counts the MACs of the forward passes that run inside its `with` block.

    An operation's MACs belong to the observed layers whose data it reads: equally where they were
    summed, by elements where they were concatenated; what else is read belongs to no layer. They
    are effective where no activation that is read is 0. Nothing is kept of the tensors that pass,
    unless gradients are recorded: then the autograd graph is, until the trace goes.

    Args:
        model: The model that runs.
        place: Name of the module that is running; default: none are told apart.
        zeros: Count zeros and spikes too, which takes a look at all activations that products read.

    Attributes:
        by_layer: Costs by layer name, over all passes; None for what reads no observed layer.
        operations: Costs by module and function, of those that have MACs.
        backward: What the gradients of each call cost, where they are recorded.
        traffic: Bytes moved by all calls together.
        cheap: Elements computed by functions that have no MACs by convention.
        not_counted: Functions without a formula and how often they were called.
        without_values: Whether an activation's zeros could not be counted.
    """

    def __init__(
        self, model: nn.Module, place: Callable[[], str] = lambda: "", *, zeros: bool = True
    ) -> None:
        super().__init__()
        self._owned = {id(tensor): tensor for tensor in _owned_tensors(model)}
        self._data: Any = WeakTensorKeyDictionary()
        self._attributed: set[int] = set()
        self._place, self._zeros = place, zeros
        self.by_layer: dict[str | None, Cost] = {None: Cost()}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.backward: list[Backward] = []
        self.traffic = Traffic()
        self.cheap: Counter[str] = Counter()
        self.not_counted: Counter[str] = Counter()
        self.without_values = False

    def start(self, inputs: Any) -> None:
        """Note what the next forward pass runs on, in any nesting."""
        self._data.update((tensor, _Data()) for tensor in tensors_in([inputs]))

    def finish(self, output: Any) -> None:
        """Note what a forward pass returned: a part that no call made is listed as unseen."""
        self._note_unseen(t for t in tensors_in([output]) if id(t) not in self._owned)

    def observe(self, layer: str, value: Tensor, nonzeros: int) -> None:
        """Note that `value` is the activation of a layer, and how many elements are not 0."""
        self._data[value] = _Data({layer: 1.0}, nonzeros, version=_version(value))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` and count it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        returned = output
        if isinstance(output, Iterator):  # over the rows of a tensor
            output = list(output)
            returned = iter(output)
        with torch._C.DisableTorchFunction():  # none of this is part of the model
            self._follow(Call(func, args, kwargs, output))
        return returned

    def _follow(self, call: Call) -> None:
        name = operation_name(call)
        if name in METADATA:
            return
        outputs = [call.args[0]] if name == "setitem" else call.outputs
        every = call.reads
        reads = [tensor for tensor in every if id(tensor) not in self._owned]
        self._note_unseen(reads)
        products = products_of(call) if outputs else None
        if products is not None and any(map(is_transformed, outputs)):
            products, name = None, f"{name} inside vmap"  # a transform hides sizes
        written = [output for output in outputs if not is_view(call, output)]
        if products is not None:
            self._count(name, products)
        elif name in FREE:
            self.cheap[name] += sum(output.numel() for output in written)
        elif every and name not in _SILENT:
            self.not_counted[name] += 1
        self._move(call, name, products or (), written)
        self._attribute_parameters(call, self._mixed(reads))
        shares = self._mixed(reads, by_elements=name in JOINS) if products is None else {}
        weight = bool(every) and all(map(self._is_weight, every))
        for output in outputs:
            self._data[output] = _Data(shares, weight=weight)

    def _is_weight(self, tensor: Tensor) -> bool:
        data = self._data.get(tensor)
        return id(tensor) in self._owned if data is None else data.weight

    def _note_unseen(self, reads: Iterable[Tensor]) -> None:
        for tensor in reads:
            if tensor not in self._data:
                self._data[tensor] = _Data()
                if tensor.is_floating_point() or tensor.is_complex():
                    self.not_counted[UNSEEN] += 1

    def _count(self, name: str, products: Iterable[Product]) -> None:
        operation = self.operations.setdefault((self._place(), name), Operation())
        operation.calls += 1
        for product in products:
            reads = [tensor for tensor in product.reads if not self._is_weight(tensor)]
            left, spikes = self._left(product, reads)
            macs, acs = (0.0, left) if spikes else (left, 0.0)
            operation.macs_dense += product.macs
            operation.macs_effective += macs
            operation.acs_effective += acs
            shares: dict[str | None, float] = {**self._mixed(reads)}
            shares[None] = 1 - sum(shares.values())
            for layer, share in shares.items():
                cost = self.by_layer.setdefault(layer, Cost())
                cost.macs_dense += share * product.macs
                cost.macs_effective += share * macs
                cost.acs_effective += share * acs

    def _left(self, product: Product, reads: list[Tensor]) -> tuple[float, bool]:
        """Return a product's effective MACs, and whether they are accumulates."""
        if not self._zeros or not reads:
            return product.macs, False
        if not all(map(has_values, reads)):
            self.without_values = True
            return product.macs, False
        known = [self._known(tensor) for tensor in reads]
        left = macs_left(product, reads, [data.nonzeros or 0 for data in known])
        return left, any(data.spikes for data in known)

    def _known(self, tensor: Tensor) -> _Data:
        """Return what is known of a tensor, its zeros and spikes counted."""
        data, version = self._data[tensor], _version(tensor)
        if data.nonzeros is None or data.version is None or data.version != version:
            data.nonzeros, data.spikes = nonzeros_of(tensor), None
        if data.spikes is None:
            data.spikes = are_spikes(tensor)
        data.version = version
        return data

    def _move(
        self, call: Call, name: str, products: Sequence[Product], written: Sequence[Tensor]
    ) -> None:
        if not written:
            return
        traffic = traffic_of(name, call.reads, written, self._is_weight)
        self.traffic = Traffic(
            weights=self.traffic.weights + traffic.weights,
            activations=self.traffic.activations + traffic.activations,
        )
        place = (self._place(), name)
        if products:
            self.operations[place].bytes += traffic.total
        nodes = _nodes_of(call, written)
        if nodes:
            macs = sum(product.backward for product in products)
            moved = _gradient_bytes(call.reads, written)
            self.backward.append(Backward(place=place, nodes=nodes, macs=macs, bytes=moved))

    def _mixed(self, tensors: Iterable[Tensor], *, by_elements: bool = False) -> dict[str, float]:
        parts = [t for t in tensors if t in self._data and (by_elements or self._data[t].shares)]
        weights = [float(t.numel()) if by_elements else 1.0 for t in parts]
        mixed: dict[str, float] = {}
        for tensor, weight in zip(parts, weights, strict=True):
            for layer, share in self._data[tensor].shares.items():
                mixed[layer] = mixed.get(layer, 0.0) + share * weight / (sum(weights) or 1.0)
        return mixed

    def _attribute_parameters(self, call: Call, shares: Mapping[str, float]) -> None:
        for tensor in call.reads:
            if not isinstance(tensor, nn.Parameter) or id(tensor) not in self._owned:
                continue
            if id(tensor) in self._attributed or not shares:
                continue
            self._attributed.add(id(tensor))
            for layer, share in shares.items():
                self.by_layer.setdefault(layer, Cost()).parameters += share * tensor.numel()


_SILENT = frozenset("repr format register_hook retain_grad".split()) | {"set requires_grad"}


def _nodes_of(call: Call, written: Iterable[Tensor]) -> tuple[Any, ...]:
    """Return the nodes of the autograd graph that a call made.

    All of them: an operation in place on what the call returned replaces the last ones.
    """
    read = [tensor.grad_fn for tensor in call.reads]  # kept, so that their ids stay theirs
    before = set(map(id, read))
    nodes: dict[int, Any] = {}
    waiting = [output.grad_fn for output in written]
    while waiting:
        node = waiting.pop()
        # nodes of parameters are shared by all who read them
        if node is None or id(node) in before or node.name().endswith("AccumulateGrad"):
            continue
        if id(node) not in nodes:
            nodes[id(node)] = node
            waiting += [following for following, _ in node.next_functions]
    return tuple(nodes.values())


def _gradient_bytes(reads: Sequence[Tensor], written: Sequence[Tensor]) -> int:
    """Bytes that gradients move: each reads the output's and the other factors, and is written."""
    passed = sum(size_of(tensor) for tensor in written)
    sizes = [size_of(tensor) for tensor in reads]
    moved = 0
    for tensor, size in zip(reads, sizes, strict=True):
        if tensor.requires_grad:
            others = sum(sizes) - size if len(sizes) > 1 else size
            moved += passed + others + size
    return moved


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _owned_tensors(model: nn.Module) -> Iterable[Tensor]:
    for module in model.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        yield from tensors_in(vars(module).values())
