"""The conventional transformer encoder, sized to a parameter budget."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.catalog import Init
from minaction.models.init import initialise
from minaction.models.ratio import narrowed
from minaction.models.reading import Steps
from minaction.models.sizing import Builder, fit_two, fit_width

BLOCKS = 2
HEADS = 4
FAR = -1e4  # keeps attention off padding; finite, so that a sample of padding gives no NaN


class Attention(nn.Module):
    """Multi-head self-attention: `softmax(Q K' / sqrt(d)) V`, projected.

    Args:
        width: Features of a step, a multiple of `heads`.
        heads: Number of heads.
        gain: Of what it adds at first.

    Shapes: `[batch, steps, width]` and a mask to add, `[batch, 1, 1, steps]` or None -> as the
    first.
    """

    def __init__(self, width: int, heads: int, gain: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self.inward = _linear(width, 3 * width)
        self.outward = _linear(width, width, gain)

    def forward(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """Return what each step gathers from all."""
        inward = self.inward(z).reshape(*z.shape[:2], 3, self.heads, -1)
        q, k, v = inward.permute(2, 0, 3, 1, 4).unbind()
        mask = None if mask is None else mask.to(q.dtype)
        gathered = F.scaled_dot_product_attention(q, k, v, mask)
        return self.outward(gathered.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """`z <- z + attention(norm z)`, then `z <- z + W2 relu(W1 norm z)`.

    Args:
        width: Features of a step.
        hidden: Units of the feed-forward layer.
        heads: Number of attention heads.
        init: How W1 starts; None: in Xavier's way, as all other weights do.
        gain: Of what either branch adds at first.

    Shapes: as `Attention`.
    """

    def __init__(
        self, width: int, hidden: int, heads: int, init: Init | None = None, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, gain)
        self.expand = _linear(width, hidden) if init is None else nn.Linear(width, hidden)
        self.relu = nn.ReLU()
        self.contract = _linear(hidden, width, gain)
        if init is not None:
            initialise(self.expand, init)

    def forward(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """Return the next `z`."""
        z = z + self.attention(self.norm1(z), mask)
        return z + self.contract(self.relu(self.expand(self.norm2(z))))


class Transformer(nn.Module):
    """Transformer encoder: normalisation first, learned positions, mean pooling.

    Feed-forward layers use ReLU, so that energy can silence their units and they can be rescaled.

    Args:
        reader: Makes steps of a sample.
        width: Features of a step, a multiple of `HEADS`.
        hidden: Units of the feed-forward layers.
        classes: Number of classes.
        init: How the first feed-forward layers start; None: in Xavier's way.
        depth: Number of blocks.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.

    Reference: Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        reader: Steps,
        width: int,
        hidden: int,
        classes: int,
        init: Init | None = None,
        depth: int = BLOCKS,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.project = _linear(reader.features, width)
        self.positions = nn.Parameter(0.02 * torch.randn(reader.steps, width))
        gain = 1 / math.sqrt(2 * depth)  # two branches per block add up on the way
        blocks = [EncoderBlock(width, hidden, HEADS, init, gain) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.readout = _linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        z = self.project(self.reader(x)) + self.positions
        real = self.reader.real(x)
        mask = None if real is None else FAR * (~real)[:, None, None].to(z.dtype)
        for block in self.blocks:
            z = block(z, mask)
        return self.readout(self.reader.mean(self.norm(z), x))


def sized_transformer(
    spec: DataSpec,
    parameters: int,
    ratio: float | None = None,
    init: Init | None = None,
    depth: int = BLOCKS,
) -> Builder:
    """Size an encoder of `depth` blocks whose feed-forward layers are `ratio` as wide as a step.

    Default: twice as wide, more or less as the budget needs. `init` is about the first layer of
    each feed-forward pair; the transformer's own way is Xavier's everywhere.
    """

    def build(quarter: int, hidden: int) -> nn.Module:
        reader = Steps(spec, parameters)
        return Transformer(reader, HEADS * quarter, hidden, spec.classes, init, depth)

    if ratio is None:
        return fit_two(build, parameters, lambda quarter: 2 * HEADS * quarter)

    def narrowing(quarter: int) -> nn.Module:
        return build(quarter, narrowed(HEADS * quarter, ratio))

    return functools.partial(narrowing, fit_width(narrowing, parameters))


def _linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
