"""The dual-pathway network: a glial path decides how much energy the neuronal path is supplied."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.catalog import Init
from minaction.models.init import initialise
from minaction.models.ratio import narrowed
from minaction.models.reading import Channels
from minaction.models.sizing import Builder, fit_two, fit_width
from minaction.models.stem import has_positions, stem

LEAK = 0.5  # of the glial state per layer: it follows activity over about two layers
OPEN = 0.8  # initial bias of the gates: mostly open, with gradients
SWAY = 0.2  # initial deviation of the gates where the glial state is large
SENSED = 64  # numbers the glia senses of the input; with more channels one of each
GLIA_PER_UNIT = 1 / 8
MIN_GLIA = 4


class Blocks(nn.Module):
    """Averages a vector over blocks of neighbours.

    Shapes: `[batch, features]` -> `[batch, blocks]`.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool1d(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages."""
        return self.average(x.unsqueeze(1)).squeeze(1)


class Glia(nn.Module):
    """One layer of the glial path: senses activity, moves its state, supplies the neurons.

    Args:
        senses: Numbers it senses.
        glial: Units of its state.
        units: Neuronal units it supplies.

    Shapes: what it senses `[batch, senses]` and its state `[batch, glial]`, None at first -> the
    next state and the supply `[batch, units]`.
    """

    def __init__(self, senses: int, glial: int, units: int) -> None:
        super().__init__()
        self.sensor, self.supplier = nn.Linear(senses, glial), nn.Linear(glial, units)
        nn.init.xavier_uniform_(self.sensor.weight)
        nn.init.zeros_(self.sensor.bias)
        nn.init.normal_(self.supplier.weight, std=SWAY / math.sqrt(glial))
        nn.init.constant_(self.supplier.bias, OPEN)

    def forward(self, sensed: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return state and supply."""
        news = LEAK * torch.tanh(self.sensor(sensed))
        state = news if state is None else (1 - LEAK) * state + news
        return state, F.hardtanh(self.supplier(state), 0.0, 1.0)


class DualPathway(nn.Module):
    """Two coupled pathways, neuronal (fast, sparse, costly) and glial (slow, low-dimensional).

    With `m_0` coarse averages of the sample and `m_l` the mean over positions of `a_l`, for
    layers `l = 1 … L` (convolutions where a sample has positions, then linear):

        s_l = (1 - k) s_{l-1} + k tanh(S_l m_{l-1} + r_l)      glia senses, slowly; s_0 = 0, k = 1/2
        g_l = clip(G_l s_l + b_l, 0, 1)                        supply of every unit
        a_l = relu(g_l * (W_l a_{l-1} + c_l))                  neurons, as far as supplied

    and `logits = V a_L + d`. The gates come before the layer's work, one number per unit or
    channel, so a closed gate (exactly 0) makes the work superfluous: `forward` computes
    everything, differentiably; `skipping` leaves out what is closed. Gates and glia are ordinary
    nonlinearities, so an activation energy charges for supply as well as for activity.

    Args:
        reader: Reads a sample.
        layers: `W_1 … W_L`; a linear layer after a convolution sees it flattened.
        sensed: Makes `m_0`, `[batch, senses]`, of what `reader` gives.
        senses: Its length.
        glial: Units of `s_l`.
        classes: Number of classes.
        init: How `W_1 … W_L` start, He's way unless said otherwise; the glia has its own.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        reader: nn.Module,
        layers: Sequence[nn.Module],
        sensed: nn.Module,
        senses: int,
        glial: int,
        classes: int,
        init: Init = "he",
    ) -> None:
        super().__init__()
        units = [_weight(layer).shape[0] for layer in layers]
        self.reader, self.sensed = reader, sensed
        self.neurons = nn.ModuleList(layers)
        self.activity = nn.ModuleList(nn.ReLU() for _ in units)
        self.glia = nn.ModuleList(
            Glia(sensed, glial, n) for sensed, n in itertools.pairwise((senses, *units))
        )
        self.readout = nn.Linear(units[-1], classes)
        for layer in layers:
            initialise(layer, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self._run(x, None, skip=False)

    def masked(self, x: Tensor, threshold: float = 0.0) -> Tensor:
        """Return the logits with hard gates: those at or below `threshold` are closed."""
        return self._run(x, threshold, skip=False)

    def skipping(self, x: Tensor, threshold: float = 0.0) -> Tensor:
        """Return what `masked` returns without the work of closed gates, for inference.

        A unit is skipped where its gate is closed for every sample of the batch, so small batches
        of similar samples save most.
        """
        return self._run(x, threshold, skip=True)

    def supply(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the gates of all layers, each `[batch, units]`."""
        gates: list[Tensor] = []
        self._run(x, None, skip=False, gates=gates)
        return tuple(gates)

    def _run(
        self, x: Tensor, threshold: float | None, *, skip: bool, gates: list[Tensor] | None = None
    ) -> Tensor:
        a = self.reader(x)
        sensed, s = self.sensed(a), None
        present: Tensor | None = None  # channels of `a` that were computed; None: all
        for layer, activity, glia in zip(self.neurons, self.activity, self.glia, strict=True):
            s, g = glia(sensed, s)
            if threshold is not None:
                g = g * (g > threshold)
            if gates is not None:
                gates.append(g)
            wanted = _open_units(g) if skip else None
            z = _applied(layer, a, present, wanted)
            supplied = g if wanted is None else g[:, wanted]
            a = activity(supplied.reshape(*supplied.shape, *[1] * (z.ndim - 2)) * z)
            sensed = _restored(a.flatten(2).mean(2) if a.ndim > 2 else a, wanted, g.shape[1])
            present = wanted
        return self.readout(sensed)


def _open_units(g: Tensor) -> Tensor:
    """Return the units that a sample of the batch supplies, one at least: kernels need one."""
    supplied = g.any(0).nonzero().squeeze(1)
    return supplied if len(supplied) else supplied.new_zeros(1)


def _applied(layer: nn.Module, a: Tensor, present: Tensor | None, wanted: Tensor | None) -> Tensor:
    """Apply a layer to the channels that are there and compute only the units wanted."""
    weight, bias = _weight(layer), _bias(layer)
    flattens = isinstance(layer, nn.Linear) and a.ndim > 2
    if present is None and wanted is None:
        return layer(a.flatten(1) if flattens else a)
    if present is not None:
        positions = math.prod(a.shape[2:]) if flattens else 1
        shape = (len(weight), -1, positions) if flattens else weight.shape
        weight = weight.reshape(shape).index_select(1, present)
        weight = weight.flatten(1) if flattens else weight
    if wanted is not None:
        weight, bias = weight.index_select(0, wanted), bias.index_select(0, wanted)
    if isinstance(layer, nn.Linear):
        return F.linear(a.flatten(1), weight, bias)
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    return convolve(a, weight, bias, layer.stride, layer.padding)  # pyright: ignore


def _restored(a: Tensor, wanted: Tensor | None, units: int) -> Tensor:
    """Put zeros back for the units that were skipped."""
    if wanted is None:
        return a
    return a.new_zeros(a.shape[0], units).index_copy(1, wanted, a)


def sized_dual_pathway(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "he"
) -> Builder:
    """Size a dual-pathway network.

    Samples with positions get convolutions of `c` and `2c` channels and a linear layer of about
    `4c` units; others get linear layers of `w` and `w / 2` units. With a `ratio`, each layer is
    that much as wide as the one before. The glia has an eighth of the first layer's units. The
    neurons' own way to start is He's.
    """
    if not has_positions(spec):
        second = 0.5 if ratio is None else ratio

        def dense(width: int) -> nn.Module:
            return _build(spec, parameters, (width, narrowed(width, second)), init)

        return functools.partial(dense, fit_width(dense, parameters))
    if ratio is None:
        return fit_two(
            lambda c, hidden: _build(spec, parameters, (c, 2 * c, hidden), init),
            parameters,
            lambda c: 4 * c,
        )

    def narrowing(c: int) -> nn.Module:
        second = narrowed(c, ratio)
        return _build(spec, parameters, (c, second, narrowed(second, ratio)), init)

    return functools.partial(narrowing, fit_width(narrowing, parameters))


def _build(spec: DataSpec, parameters: int, widths: tuple[int, ...], init: Init) -> DualPathway:
    reader, layers, features = stem(spec, parameters, widths[:2])
    dense = (features, *widths[len(layers) :])
    layers = [*layers, *(nn.Linear(n, following) for n, following in itertools.pairwise(dense))]
    sensed, senses = _coarse(reader, features)
    glial = max(int(widths[0] * GLIA_PER_UNIT), MIN_GLIA)
    return DualPathway(reader, layers, sensed, senses, glial, spec.classes, init)


def _coarse(reader: nn.Module, features: int) -> tuple[nn.Module, int]:
    """Return what averages a sample over blocks of neighbours to about `SENSED` numbers."""
    if not isinstance(reader, Channels):
        senses = min(features, SENSED)
        return Blocks(senses), senses
    axes = len(reader.positions)
    side = max(int((SENSED / reader.channels) ** (1 / axes) + 1e-9), 1)
    size = tuple(min(side, n) for n in reader.positions)
    pool = nn.AdaptiveAvgPool1d(size[0]) if axes == 1 else nn.AdaptiveAvgPool2d(size)
    return nn.Sequential(pool, nn.Flatten()), reader.channels * math.prod(size)


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    return layer.weight


def _bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    assert layer.bias is not None
    return layer.bias
