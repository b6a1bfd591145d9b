"""Spiking networks of leaky integrate-and-fire neurons, sized to a parameter budget.

The neurons are snnTorch's.

Reference: Eshraghian et al. 2023, doi:10.1109/JPROC.2023.3308088.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.catalog import Init
from minaction.models.init import initialise
from minaction.models.ratio import narrowed
from minaction.models.reading import Layout, Steps, layout_of, token_embedding
from minaction.models.sizing import Builder, fit_two, fit_width

DECAY = 0.9  # of the membrane potential per step, at first; it is learned
DRIVING = 1.0  # deviation of initial embeddings: smaller ones drive no neuron to its threshold
PRESENTATIONS = 4
"""Steps for which a sample without time is shown, its values as currents."""

WINDOWS = 8
"""Steps into which `lif-cnn` cuts a sequence, each a window that it convolves along time."""


class Spikes(nn.Module):
    """Leaky integrate-and-fire neurons over all steps, started at rest.

    `u_t = beta u_{t-1} + i_t - s_{t-1}`, `s_t = 1` where `u_t > 1`, else 0; backwards the step is
    an arctangent. Spikes leave through `F.threshold`, which changes neither them nor their
    gradients, but is a nonlinearity that a tape sees: the l1 energy of a layer is its spike count.

    Args:
        axis: The axis of time.

    Shapes: currents `[batch, ...]` with time along `axis` -> spikes, the same shape.
    """

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis
        with torch.device("cpu"):  # it reads its own settings, so it cannot be built on "meta"
            self.neuron = snntorch.Leaky(DECAY, spike_grad=_spike, learn_beta=True)
        # snnTorch lists every neuron ever made, which would keep all models in memory
        snntorch.SpikingNeuron.instances.remove(self.neuron)

    def forward(self, currents: Tensor) -> Tensor:
        """Return the spikes."""
        neuron = self.neuron
        neuron.mem = torch.zeros_like(currents.select(self.axis, 0))
        spikes = [neuron(current)[0] for current in currents.unbind(self.axis)]
        neuron.mem = currents.new_zeros(0)  # no state, and no graph, outlives the pass
        return F.threshold(torch.stack(spikes, self.axis), -1.0, 0.0)


def _spike(excess: Tensor) -> Tensor:
    """Return 1 where `excess > 0`, else 0, with snnTorch's arctangent gradient (its alpha 2).

    In ordinary functions, which compile and vectorise; snnTorch's own autograd function does not.
    """
    soft = torch.atan(math.pi * excess) / math.pi
    return (excess > 0).to(excess.dtype) + (soft - soft.detach())


class SpikingMLP(nn.Module):
    """Two layers of spiking neurons: `linear -> spikes` twice, mean over the steps, read-out.

    Vectors and images are shown for `PRESENTATIONS` steps as constant currents; everything else
    runs in its own time, step by step as `Steps` reads it.

    Args:
        spec: The data set.
        parameters: Budget of the model.
        hidden: Widths of the two layers.
        init: How both start.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self, spec: DataSpec, parameters: int, hidden: tuple[int, int], init: Init = "he"
    ) -> None:
        super().__init__()
        still = layout_of(spec) in ("vector", "image")
        self.steps = None if still else Steps(spec, parameters, deviation=DRIVING)
        self.flatten = nn.Flatten()
        inputs = math.prod(spec.shape) if self.steps is None else self.steps.features
        self.inward = nn.Linear(inputs, hidden[0])
        self.spikes1 = Spikes(1)
        self.between = nn.Linear(*hidden)
        self.spikes2 = Spikes(1)
        self.readout = nn.Linear(hidden[1], spec.classes)
        for layer in (self.inward, self.between):
            initialise(layer, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if self.steps is None:
            currents = self.inward(self.flatten(x)).unsqueeze(1).expand(-1, PRESENTATIONS, -1)
        else:
            currents = self.inward(self.steps(x))
        spikes = self.spikes2(self.between(self.spikes1(currents)))
        rates = spikes.mean(1) if self.steps is None else self.steps.mean(spikes, x)
        return self.readout(rates)


class SpikingCNN(nn.Module):
    """Two strided convolutions and a dense layer of spiking neurons, mean over steps, read-out.

    Convolutions act within a step. Images are shown for `PRESENTATIONS` steps as constant
    currents, and so are vectors, as one position of many channels. Frames run in their own time.
    Sequences, embedded tokens too, are cut into `WINDOWS` steps and convolved within each.

    Args:
        spec: The data set.
        parameters: Budget of the model.
        channels: Output channels of the two convolutions.
        hidden: Units of the dense layer.
        init: How these three start.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        spec: DataSpec,
        parameters: int,
        channels: tuple[int, int],
        hidden: int,
        init: Init = "he",
    ) -> None:
        super().__init__()
        self.layout = layout_of(spec)
        self.values = nn.Identity()
        inputs, positions = _window(spec, self.layout)
        if self.layout == "tokens":
            self.values = token_embedding(spec, parameters, deviation=DRIVING)
            inputs = self.values.embedding_dim
        plane = len(positions) == 2
        wide = plane or positions[0] >= 5
        kernels = (5, 3) if wide else (1, 1)
        convolution = nn.Conv2d if plane else nn.Conv1d
        layers = []
        for kernel, before, after in zip(kernels, (inputs, channels[0]), channels, strict=True):
            stride = 2 if kernel > 1 else 1
            layers.append(convolution(before, after, kernel, stride=stride, padding=kernel // 2))
            positions = tuple(-(-n // stride) for n in positions)
        self.conv1, self.conv2 = layers
        self.spikes1, self.spikes2, self.spikes3 = Spikes(2), Spikes(2), Spikes(1)
        self.dense = nn.Linear(channels[1] * math.prod(positions), hidden)
        self.readout = nn.Linear(hidden, spec.classes)
        for layer in (self.conv1, self.conv2, self.dense):
            initialise(layer, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        spikes = self.spikes1(self._currents(x))
        spikes = self.spikes2(_convolved(self.conv2, spikes.unbind(2)))
        spikes = self.spikes3(self.dense(spikes.transpose(1, 2).flatten(2)))
        return self.readout(spikes.mean(1))

    def _currents(self, x: Tensor) -> Tensor:
        x = self.values(x)
        if self.layout in ("vector", "image"):
            once = self.conv1(x.unsqueeze(-1) if self.layout == "vector" else x).unsqueeze(2)
            return once.expand(*once.shape[:2], PRESENTATIONS, *once.shape[3:])
        if self.layout == "frames":
            return _convolved(self.conv1, x.unbind(1))
        size = math.ceil(x.shape[1] / WINDOWS)
        x = F.pad(x, (0, 0, 0, size * WINDOWS - x.shape[1]))
        return _convolved(self.conv1, [window.transpose(1, 2) for window in x.split(size, 1)])


def _convolved(convolution: nn.Module, steps: Sequence[Tensor]) -> Tensor:
    """Convolve each step, `[batch, channels, ...]`, and put time on the third axis."""
    return torch.stack([convolution(step) for step in steps], 2)


def _window(spec: DataSpec, layout: Layout) -> tuple[int, tuple[int, ...]]:
    """Return channels and positions of one step; of tokens only the positions."""
    shape = spec.shape
    if layout == "vector":
        return shape[0], (1,)
    if layout == "image":
        return shape[0], shape[1:]
    if layout == "frames":
        return shape[1], shape[2:]
    return shape[-1], (math.ceil(shape[0] / WINDOWS),)


def sized_lif_mlp(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "he"
) -> Builder:
    """Size a spiking MLP whose second layer is `ratio` (default: 1/2) as wide as the first.

    Its own way to start is He's.
    """
    second = 0.5 if ratio is None else ratio

    def build(width: int) -> nn.Module:
        return SpikingMLP(spec, parameters, (width, narrowed(width, second)), init)

    return functools.partial(build, fit_width(build, parameters))


def sized_lif_cnn(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "he"
) -> Builder:
    """Size a spiking CNN of `c` and `2c` channels and a dense layer of about `4c` units.

    With a `ratio`, each of these layers is that much as wide as the one before. Its own way to
    start is He's.
    """
    if ratio is None:
        return fit_two(
            lambda c, hidden: SpikingCNN(spec, parameters, (c, 2 * c), hidden, init),
            parameters,
            lambda c: 4 * c,
        )

    def narrowing(c: int) -> nn.Module:
        second = narrowed(c, ratio)
        return SpikingCNN(spec, parameters, (c, second), narrowed(second, ratio), init)

    return functools.partial(narrowing, fit_width(narrowing, parameters))
