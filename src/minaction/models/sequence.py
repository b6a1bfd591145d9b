"""Conventional networks that go through a sample step by step, sized to a parameter budget."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.catalog import Init
from minaction.models.init import initialise
from minaction.models.ratio import narrowed
from minaction.models.reading import Steps
from minaction.models.sizing import Builder, fit_two, fit_width

KERNEL = 3


class GRU(nn.Module):
    """Gated recurrent units: project each step, run, average the states, read out.

    `h_t = GRU(W x_t + b, h_{t-1})`, `logits = V mean_t h_t + c`.

    Args:
        reader: Makes steps of a sample.
        width: Features of a projected step.
        hidden: Units of the state.
        classes: Number of classes.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(self, reader: Steps, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.reader = reader
        self.project = nn.Linear(reader.features, width)
        self.recurrent = nn.GRU(width, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        states, _ = self.recurrent(self.project(self.reader(x)))
        return self.readout(self.reader.mean(states, x))


class CausalBlock(nn.Module):
    """A residual step of a TCN: `z + P relu(D * z)`, D a causal, dilated convolution.

    Args:
        width: Channels of `z`.
        hidden: Channels between.
        dilation: Distance of the taps; a position sees itself and the past only.
        shrink: Factor on the initial P, so that a deep stack starts near the identity.
        init: How D starts.
        kernel: Taps of D.

    Shapes: `[batch, width, steps]` -> the same.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        dilation: int,
        shrink: float,
        init: Init = "he",
        kernel: int = KERNEL,
    ) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.dilated = nn.Conv1d(width, hidden, kernel, dilation=dilation)
        self.relu = nn.ReLU()
        self.pointwise = nn.Conv1d(hidden, width, 1)
        initialise(self.dilated, init)
        nn.init.normal_(self.pointwise.weight, std=shrink / math.sqrt(hidden))
        assert self.pointwise.bias is not None
        nn.init.zeros_(self.pointwise.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Return the next `z`."""
        return z + self.pointwise(self.relu(self.dilated(F.pad(z, (self.past, 0)))))


class TCN(nn.Module):
    """Temporal convolutional network: causal, dilated, residual.

    `z^0 = W x + b`, `z^i = z^{i-1} + P_i relu(D_i * z^{i-1})` with dilations 1, 2, 4 … until the
    last step sees all, `logits = V mean_t relu(z_t) + c`. Without normalisation, so every hidden
    layer can be rescaled.

    Args:
        reader: Makes steps of a sample.
        width: Channels of `z`.
        hidden: Channels inside the blocks.
        classes: Number of classes.
        init: How the dilated convolutions start.
        depth: Blocks; None: as many as the last step needs to see all.
        kernel: Taps of the dilated convolutions.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.

    Reference: Bai, Kolter and Koltun 2018, arXiv:1803.01271.
    """

    def __init__(
        self,
        reader: Steps,
        width: int,
        hidden: int,
        classes: int,
        init: Init = "he",
        depth: int | None = None,
        kernel: int = KERNEL,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.project = nn.Linear(reader.features, width)
        count = depth or self.levels(reader.steps, kernel)
        shrink = 1 / math.sqrt(count)
        blocks = [CausalBlock(width, hidden, 2**i, shrink, init, kernel) for i in range(count)]
        self.blocks = nn.Sequential(*blocks)
        self.relu = nn.ReLU()
        self.readout = nn.Linear(width, classes)

    @staticmethod
    def levels(steps: int, kernel: int = KERNEL) -> int:
        """Return how many blocks it takes for the last step to see the first, at least one."""
        count = 1
        while kernel > 1 and 1 + (kernel - 1) * (2**count - 1) < steps:
            count += 1
        return count

    def states(self, x: Tensor) -> Tensor:
        """Return the states after the last block, `[batch, steps, width]`."""
        z = self.project(self.reader(x)).transpose(1, 2)
        return self.relu(self.blocks(z)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.readout(self.reader.mean(self.states(x), x))


def sized_gru(
    spec: DataSpec,
    parameters: int,
    ratio: float | None = None,
    init: Init = "pytorch",
) -> Builder:
    """Size a GRU whose state is `ratio` (default: once) as wide as a projected step.

    No layer of it precedes a ReLU, so it starts in PyTorch's way whatever `init` says.
    """

    def build(width: int, hidden: int) -> nn.Module:
        return GRU(Steps(spec, parameters), width, hidden, spec.classes)

    return _sized(build, parameters, ratio)


def sized_tcn(
    spec: DataSpec,
    parameters: int,
    ratio: float | None = None,
    init: Init = "he",
    depth: int | None = None,
    kernel: int = KERNEL,
) -> Builder:
    """Size a TCN whose blocks are inside `ratio` (default: once) as wide as outside.

    Its own way to start is He's.
    """

    def build(width: int, hidden: int) -> nn.Module:
        return TCN(Steps(spec, parameters), width, hidden, spec.classes, init, depth, kernel)

    return _sized(build, parameters, ratio)


def _sized(build: Callable[[int, int], nn.Module], parameters: int, ratio: float | None) -> Builder:

    if ratio is None:
        return fit_two(build, parameters, lambda width: width)

    def narrowing(width: int) -> nn.Module:
        return build(width, narrowed(width, ratio))

    return functools.partial(narrowing, fit_width(narrowing, parameters))
