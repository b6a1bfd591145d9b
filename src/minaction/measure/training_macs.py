"""The MACs of a training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minaction.energy.untouched import untouched
from minaction.measure.mac_trace import MacTrace


@dataclass(frozen=True, kw_only=True)
class TrainingMacs:
    """What one sample costs in a training step.

    Attributes:
        forward: MACs of the forward pass.
        backward: MACs of the gradients with respect to weights and activations.
        not_counted: Functions without a formula and how often they were called.
    """

    forward: float
    backward: float
    not_counted: dict[str, int]

    @property
    def total(self) -> float:
        """MACs of both passes."""
        return self.forward + self.backward


def training_macs(model: nn.Module, x: Tensor) -> TrainingMacs:
    """Count the MACs of a training step, per sample; the optimiser's work has none.

    A product of two factors costs as many MACs again for each factor that needs a gradient: two for
    most layers, so three times the forward pass in all, but one for a layer that reads the sample
    itself. Where a factor needs a gradient is seen from what autograd records.

    Args:
        model: Any module; it is left as it was.
        x: A batch of samples, `[batch, ...]`; counts are linear in its size.
    """
    trace = MacTrace(model)
    trace.start(x)
    with untouched(model), torch.enable_grad(), trace:
        model(x)
    forward = sum(cost.macs_dense for cost in trace.by_layer.values())
    return TrainingMacs(
        forward=forward / len(x),
        backward=trace.macs_backward / len(x),
        not_counted=dict(trace.not_counted),
    )
