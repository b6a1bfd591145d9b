"""What a model costs to run and to keep: multiply-accumulates, parameters, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from minaction.measure.flops import count_macs


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
    macs = count_macs(model, [batch], training=False)  # a batch may be a list
    return Cost(
        macs=macs.macs_dense,
        not_counted=tuple(sorted(macs.uncounted)),
        parameters=macs.parameters,
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
