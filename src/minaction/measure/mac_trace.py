"""The MACs of a forward pass, and which observed layers they read, while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from minaction.energy.scale_rules import JOINS, Call, tensors_in
from minaction.measure.layer_sums import nonzero_fraction
from minaction.measure.mac_formulas import FREE, Product, backward_macs, products_of

UNSEEN = "functions that cannot be seen (custom autograd functions, extensions)"


@dataclass(kw_only=True, eq=False)
class Cost:
    """What the operations that read a layer cost, over the whole batch.

    Attributes:
        macs_dense: Multiply-accumulates if no activation were 0.
        macs_effective: Those of them whose activations are not 0.
        parameters: Parameters of these operations.
    """

    macs_dense: float = 0.0
    macs_effective: float = 0.0
    parameters: float = 0.0


@dataclass(frozen=True, eq=False)
class _Data:
    """What is known of a tensor: the share of each observed layer in it, and its non-zeros."""

    shares: Mapping[str, float] = field(default_factory=dict)
    nonzero: float | None = None


class MacTrace(TorchFunctionMode):
    """Counts the MACs of the forward pass that runs inside its `with` block.

    An operation's MACs belong to the observed layers whose data it reads: equally where they were
    summed, by elements where they were concatenated. What else is read counts as dense, and its
    MACs belong to no layer. Nothing is kept of the tensors that pass.

    Args:
        model: The model that runs.

    Attributes:
        by_layer: Costs by layer name, over all passes; None for what reads no observed layer.
        macs_backward: MACs the gradients of these passes will take; meaningful only where the
            passes recorded gradients.
        not_counted: Functions without a formula and how often they were called.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._owned = {id(tensor): tensor for tensor in _owned_tensors(model)}
        self._data: Any = WeakTensorKeyDictionary()
        self._attributed: set[int] = set()
        self.by_layer: dict[str | None, Cost] = {None: Cost()}
        self.macs_backward = 0.0
        self.not_counted: Counter[str] = Counter()

    def start(self, inputs: Any) -> None:
        """Note what the next forward pass runs on, in any nesting."""
        self._data.update((tensor, _Data()) for tensor in tensors_in([inputs]))

    def observe(self, layer: str, value: Tensor, nonzero: float) -> None:
        """Note that `value` is the activation of a layer, and its share of non-zeros."""
        self._data[value] = _Data({layer: 1.0}, nonzero)

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
        call = Call(func, args, kwargs, output)
        outputs = [args[0]] if call.name == "setitem" else call.outputs
        if outputs:
            self._follow(call, outputs)
        return output

    def _follow(self, call: Call, outputs: Iterable[Tensor]) -> None:
        reads = [tensor for tensor in call.reads if id(tensor) not in self._owned]
        self._note_unseen(reads)
        products = products_of(call)
        if products is not None:
            self._count(products)
            shares = {}
        else:
            shares = self._mixed(reads, by_elements=call.name in JOINS)
            if call.name not in FREE and any(t.is_floating_point() for t in reads):
                self.not_counted[call.name] += 1
        self._attribute_parameters(call, self._mixed(reads))
        for output in outputs:
            self._data[output] = _Data(shares)

    def _note_unseen(self, reads: Iterable[Tensor]) -> None:
        for tensor in reads:
            if tensor not in self._data:
                self._data[tensor] = _Data()
                if tensor.is_floating_point():
                    self.not_counted[UNSEEN] += 1

    def _count(self, products: Iterable[Product]) -> None:
        for product in products:
            self.macs_backward += backward_macs(product)
            reads = [tensor for tensor in product.reads if id(tensor) not in self._owned]
            shares = self._mixed(reads)
            observed = sum(shares.values())
            nonzero = min((self._nonzero(tensor) for tensor in reads), default=1.0)
            if observed:  # what is not observed counts as if it held no zeros
                nonzero = max(0.0, (nonzero - (1 - observed)) / observed)
            for layer, share in shares.items():
                cost = self.by_layer.setdefault(layer, Cost())
                cost.macs_dense += share * product.macs
                cost.macs_effective += share * nonzero * product.macs
            rest = (1 - observed) * product.macs
            self.by_layer[None].macs_dense += rest
            self.by_layer[None].macs_effective += rest

    def _nonzero(self, tensor: Tensor) -> float:
        """Share of non-zeros of what holds data of observed layers, 1 for anything else."""
        data = self._data[tensor]
        if not data.shares:
            return 1.0
        if data.nonzero is None:
            data = self._data[tensor] = _Data(data.shares, nonzero_fraction(tensor))
        return data.nonzero or 0.0

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


def _owned_tensors(model: nn.Module) -> Iterable[Tensor]:
    for module in model.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        yield from tensors_in(vars(module).values())
