"""What a model costs to run and to keep: multiply-accumulates, parameters, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minaction.compaction.batches import samples_in
from minaction.energy.scale_rules import Call
from minaction.energy.tape import run_model
from minaction.measure.mac_formulas import FREE, products_of


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of a model.

    Attributes:
        macs: Multiply-accumulates per sample, of everything that multiplies by a matrix.
            Element-wise functions, normalisations and pooling have none, by convention.
        not_counted: Functions that ran for whose MACs there is no formula.
        parameters: Elements of all parameters, shared ones once.
        bytes: Size of the weights as a safetensors file.
    """

    macs: float
    not_counted: tuple[str, ...]
    parameters: int
    bytes: int


def cost_of(model: nn.Module, batch: Any) -> Cost:
    """Return the costs of a model in evaluation mode, its operations counted on one batch."""
    counter = _MacCounter()
    with torch.no_grad(), counter:
        run_model(model, batch)
    return Cost(
        macs=counter.macs / samples_in(batch),
        not_counted=tuple(sorted(counter.not_counted)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        bytes=len(serialised(model)),
    )


def serialised(model: nn.Module) -> bytes:
    """Return a model's weights as the content of a safetensors file, shared ones once."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            # a copy: views of one storage cannot be written
            weights[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        seen.add(id(tensor))
    return save(weights)


class _MacCounter(TorchFunctionMode):
    """Counts the MACs of the forward passes that run inside its `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0.0
        self.not_counted: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, output)
        products = products_of(call) if call.outputs else ()
        if products is not None:
            self.macs += sum(product.macs for product in products)
        elif call.name not in FREE:
            self.not_counted.add(call.name)
        return output
