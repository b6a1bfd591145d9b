"""What a network has to do and to keep, counted: nothing of it is a time or an energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from minaction.energy.tape import run_model
from minaction.energy.untouched import untouched
from minaction.measure.mac_trace import MacTrace


@dataclass(frozen=True, kw_only=True)
class Work:
    """Counts of a forward pass.

    Attributes:
        macs_dense: Multiply-accumulates per sample if no activation were 0.
        parameters: Elements of all parameters, shared ones once.
        weight_bytes: Bytes of parameters and buffers, shared ones once.
        uncounted: Functions without a formula and how often they were called.
    """

    macs_dense: float
    parameters: int
    weight_bytes: int
    uncounted: dict[str, int]


def count_work(model: nn.Module, batch: Any, samples: int) -> Work:
    """Count what a forward pass in evaluation mode does; the model is left as it was.

    Args:
        model: Any module.
        batch: A tensor, a tuple of positional or a mapping of keyword arguments.
        samples: How many samples are in it.
    """
    trace = MacTrace(model)
    trace.start(batch)
    with untouched(model), trace:
        run_model(model, batch)
    weights = [*model.parameters(), *model.buffers()]
    return Work(
        macs_dense=sum(cost.macs_dense for cost in trace.by_layer.values()) / samples,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weight_bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        uncounted=dict(trace.not_counted),
    )
