"""How the arithmetic of a run is carried out: precision, compilation, memory layout."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minaction.objective.objective import EnergyObjective

Losses = tuple[Tensor, Tensor, Tensor]
"""Task loss, energy, total: scalar tensors."""

RECOMPILE_LIMIT = 256  # one graph for each model x data set x energy a process may meet


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Choices that change speed and rounding, never the algorithm.

    Attributes:
        precision: `"bfloat16"` runs the model under autocast; weights and loss stay float32.
        compile: Compile the step with `torch.compile`.
        channels_last: Keep convolution weights, and so what they compute, in channels-last order.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    channels_last: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as JSON scalars."""
        return asdict(self)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Return `model` in the memory layout chosen."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return model

    @contextlib.contextmanager
    def training(self, model: nn.Module) -> Iterator[None]:
        """Keep what `model` passes back through max pooling in the layout chosen.

        A layer that flattens maps passes gradients back in contiguous order, for which pooling in
        channels-last order copies all it works on, back and forth.
        """
        reorders = self.channels_last and not self.compile
        pools = [m for m in model.modules() if isinstance(m, nn.MaxPool2d)] if reorders else []
        hooks = [
            pool.register_forward_hook(_pass_back_channels_last)
            for pool in pools
            if not pool.return_indices
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def autocast(self) -> torch.autocast:
        """Return the context in which a model runs with the precision chosen."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def losses(
        self,
    ) -> Callable[[EnergyObjective, nn.Module, Tensor, Tensor, float | Tensor], Losses]:
        """Return the function that computes a batch's losses the chosen way."""
        function = _bfloat16_losses if self.precision == "bfloat16" else _losses
        return _compiled(function) if self.compile else function


def _pass_back_channels_last(_module: nn.Module, _inputs: object, output: Tensor) -> None:
    if output.requires_grad and output.is_contiguous(memory_format=torch.channels_last):
        output.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))


def _losses(
    objective: EnergyObjective, model: nn.Module, x: Tensor, y: Tensor, lam: float | Tensor
) -> Losses:
    terms = objective.evaluate(model, x, y, lam)
    # detached, so that a compiled step computes no gradients for what is only logged
    return terms.task.detach(), terms.energy.detach(), terms.total


def _bfloat16_losses(
    objective: EnergyObjective, model: nn.Module, x: Tensor, y: Tensor, lam: float | Tensor
) -> Losses:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return _losses(objective, model, x, y, lam)


@functools.cache
def _compiled(function: Callable[..., Losses]) -> Callable[..., Losses]:
    # static shapes: with dynamic ones a graph would depend on the runs that came before
    from torch._dynamo import config  # importing the compiler takes over a second

    config.recompile_limit = RECOMPILE_LIMIT
    config.accumulated_recompile_limit = RECOMPILE_LIMIT
    return torch.compile(function, dynamic=False)
