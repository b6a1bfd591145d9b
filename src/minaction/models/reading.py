"""How each kind of architecture reads each kind of sample: one rule for each pair.

| sample | steps of features `[B, T, C]` | one vector `[B, F]` | channels `[B, C, ...]` |
|---|---|---|---|
| vector `(F,)` | twice the same step | as it is | one position of F channels |
| tokens `(T,)` | embedded | sum of embeddings / √n | embedded, 1-D |
| sequence `(T, C)` | as it is | pooled over time, flattened | 1-D |
| image `(C, H, W)` | rows, C W features each | flattened | 2-D |
| frames `(T, C, H, W)` | pooled in space | pooled over time, flattened | T C channels, 2-D |

Token 0 is padding: its embedding is zero and no mean counts it. Steps are grouped so that at most
`MAX_STEPS` are left: the features of a group side by side, the mean of a group of embeddings.
Pooling is by averages, and only where a sample is too large for the parameter budget; vectors and
images are never pooled.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError

Layout = Literal["vector", "tokens", "sequence", "image", "frames"]

MAX_STEPS = 64
"""Steps a sequence model makes; attention and recurrence cost more with each."""

STILL_STEPS = 2
"""Steps for which what has no time is shown, so that recurrence and attention have some."""

MAX_EMBEDDING = 64
EMBEDDING_SHARE = 0.75  # of the budget: of a text model, most weights tell words apart

EMBEDDING_STD = 0.02
"""Of initial embeddings: small beside what training makes of them within tens of steps."""

INPUTS_PER_PARAMETER = 1 / 24  # leaves a dense first layer about 20 units


def layout_of(spec: DataSpec) -> Layout:
    """Return what one sample of a data set is, from its shape and vocabulary.

    Raises:
        ModelError: The shape belongs to none of the five layouts.
    """
    if spec.vocabulary is not None:
        return "tokens"
    layouts: dict[int, Layout] = {1: "vector", 2: "sequence", 3: "image", 4: "frames"}
    if len(spec.shape) not in layouts:
        raise ModelError(
            f"{spec.name}: samples of shape {spec.shape} are none of (F,), (T, C), (C, H, W), "
            "(T, C, H, W)"
        )
    return layouts[len(spec.shape)]


def embedding_width(spec: DataSpec, parameters: int) -> int:
    """Return the width of token embeddings: three quarters of the budget, at most 64.

    Raises:
        ModelError: The data set has no vocabulary, or one too large for the budget.
    """
    if spec.vocabulary is None:
        raise ModelError(f"{spec.name}: no vocabulary, so no embeddings")
    width = int(EMBEDDING_SHARE * parameters) // spec.vocabulary
    if width < 1:
        needed = math.ceil(spec.vocabulary / EMBEDDING_SHARE)
        raise ModelError(
            f"{spec.name}: {spec.vocabulary:,} tokens need a budget of at least {needed:,} "
            f"parameters, not {parameters:,}; change `parameters`"
        )
    return min(width, MAX_EMBEDDING)


def token_embedding(
    spec: DataSpec, parameters: int, *, deviation: float = EMBEDDING_STD
) -> nn.Embedding:
    """Return an embedding sized to the budget; token 0, padding, is embedded as zero.

    Initially normal with standard deviation `deviation`: with torch's 1, a step of Adam moves an
    embedding by its learning rate, a hundredth of what chance put there.

    Reference: Radford et al. 2019, Language models are unsupervised multitask learners (GPT-2).
    """
    embedding = nn.Embedding(spec.vocabulary or 0, embedding_width(spec, parameters), padding_idx=0)
    with torch.no_grad():
        embedding.weight.mul_(deviation)
    return embedding


class Steps(nn.Module):
    """Reads a sample as steps of features.

    Args:
        spec: The data set.
        parameters: Budget of the model, which decides how much frames are pooled.
        deviation: Of initial embeddings, where a step is a token.

    Attributes:
        steps: Number of steps, at most `MAX_STEPS`.
        features: Features of each.

    Shapes: `[batch, *shape]` -> `[batch, steps, features]`.
    """

    def __init__(
        self, spec: DataSpec, parameters: int, *, deviation: float = EMBEDDING_STD
    ) -> None:
        super().__init__()
        self.layout = layout_of(spec)
        shape, self.values = spec.shape, nn.Identity()
        steps, features = shape[0], math.prod(shape[1:])
        if self.layout == "tokens":
            self.values = token_embedding(spec, parameters, deviation=deviation)
            features = self.values.embedding_dim
        elif self.layout == "vector":
            steps, features = STILL_STEPS, shape[0]
        elif self.layout == "image":
            steps, features = shape[1], shape[0] * shape[2]
        elif self.layout == "frames":
            size = pooled_size(shape[1], (shape[2], shape[3]), math.isqrt(max(parameters, 1)))
            self.values = nn.AdaptiveAvgPool2d(size)
            features = shape[1] * math.prod(size)
        self.length, self.group = steps, math.ceil(steps / MAX_STEPS)
        self.steps = math.ceil(steps / self.group)
        self.features = features if self.layout == "tokens" else features * self.group

    def forward(self, x: Tensor) -> Tensor:
        """Return the steps."""
        if self.layout == "vector":
            return self.values(x).unsqueeze(1).expand(-1, STILL_STEPS, -1)
        if self.layout == "image":
            return self._grouped(self.values(x).transpose(1, 2).flatten(2)).flatten(2)
        if self.layout == "frames":
            frames = self.values(x.flatten(1, 2))
            frames = frames.reshape(x.shape[0], self.length, -1)
            return self._grouped(frames).flatten(2)
        if self.layout == "tokens":
            counts = self._grouped((x != 0).to(torch.float32).unsqueeze(-1)).sum(2)
            return self._grouped(self.values(x)).sum(2) / counts.clamp_min(1)
        return self._grouped(self.values(x)).flatten(2)

    def real(self, x: Tensor) -> Tensor | None:
        """Return which steps hold more than padding, bool `[batch, steps]`; None: all do."""
        if self.layout != "tokens":
            return None
        return self._grouped((x != 0).unsqueeze(-1)).flatten(2).any(2)

    def mean(self, states: Tensor, x: Tensor) -> Tensor:
        """Return the mean `[batch, C]` of states `[batch, steps, C]` over the steps that count."""
        real = self.real(x)
        if real is None:
            return states.mean(1)
        weights = real.to(states.dtype).unsqueeze(-1)
        return (states * weights).sum(1) / weights.sum(1).clamp_min(1)

    def _grouped(self, x: Tensor) -> Tensor:
        """`[B, T, C]` -> `[B, steps, group, C]`, zeros after the end."""
        missing = self.steps * self.group - self.length
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
        return x.reshape(x.shape[0], self.steps, self.group, x.shape[2])


class BagOfEmbeddings(nn.Module):
    """Reads tokens as a bag: the sum of their embeddings over the root of their number.

    The mean of n embeddings shrinks with the root of n; this keeps their size.

    Shapes: int64 `[batch, T]` -> `[batch, width]`.
    """

    def __init__(self, spec: DataSpec, parameters: int) -> None:
        super().__init__()
        self.embedding = token_embedding(spec, parameters)

    def forward(self, x: Tensor) -> Tensor:
        """Return the bags; a sample that is all padding has zeros."""
        counts = (x != 0).sum(1, keepdim=True)
        return self.embedding(x).sum(1) / counts.clamp_min(1).sqrt()


def vector_reader(spec: DataSpec, parameters: int) -> tuple[nn.Module, int]:
    """Return the module that reads a sample as one vector, and the vector's length.

    Sequences and frames that hold more than a 24th of the budget are averaged over time, to as
    many steps as fit, and frames that are still too large over space.
    """
    layout, shape = layout_of(spec), spec.shape
    if layout == "tokens":
        return BagOfEmbeddings(spec, parameters), embedding_width(spec, parameters)
    inputs, limit = math.prod(shape), max(int(parameters * INPUTS_PER_PARAMETER), 1)
    if layout in ("vector", "image") or inputs <= limit:
        return nn.Flatten(), inputs
    return _pooled(layout, shape, limit)


def _pooled(layout: Layout, shape: tuple[int, ...], limit: int) -> tuple[nn.Module, int]:
    features = math.prod(shape[1:])
    steps = max(limit // features, 1)
    over_time = TimePooling(steps)
    if layout == "sequence":
        return nn.Sequential(over_time, nn.Flatten()), steps * features
    size = pooled_size(shape[1], (shape[2], shape[3]), limit)
    over_space = nn.AdaptiveAvgPool2d(size)
    reader = nn.Sequential(over_time, nn.Flatten(1, 2), over_space, nn.Flatten())
    return reader, steps * shape[1] * math.prod(size)


class TimePooling(nn.Module):
    """Averages a sample over time.

    Args:
        steps: Steps that are left.

    Shapes: `[batch, T, ...]` -> `[batch, steps, ...]`.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.average = nn.AdaptiveAvgPool1d(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages."""
        means = self.average(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return means.reshape(x.shape[0], self.steps, *x.shape[2:])


class Channels(nn.Module):
    """Reads a sample as channels over positions, for convolutions.

    Args:
        spec: The data set.
        parameters: Budget of the model.

    Attributes:
        channels: Number of channels.
        positions: Size along each of the one or two axes.

    Shapes: `[batch, *shape]` -> `[batch, channels, *positions]`.
    """

    def __init__(self, spec: DataSpec, parameters: int) -> None:
        super().__init__()
        self.layout = layout_of(spec)
        shape, self.values = spec.shape, nn.Identity()
        self.channels, self.positions = shape[0], shape[1:]
        if self.layout == "tokens":
            self.values = token_embedding(spec, parameters)
            self.channels, self.positions = self.values.embedding_dim, shape
        elif self.layout == "vector":
            self.positions = (1,)
        elif self.layout == "sequence":
            self.channels, self.positions = shape[1], (shape[0],)
        elif self.layout == "frames":
            self.channels, self.positions = shape[0] * shape[1], shape[2:]

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels."""
        x = self.values(x)
        if self.layout == "vector":
            return x.unsqueeze(-1)
        if self.layout == "frames":
            return x.flatten(1, 2)
        return x.transpose(1, 2) if self.layout in ("tokens", "sequence") else x


def pooled_size(channels: int, size: tuple[int, int], limit: int) -> tuple[int, int]:
    """Return the largest size of about equal proportions whose pixels and channels fit `limit`."""
    height, width = size
    scale = min(1.0, math.sqrt(limit / (channels * height * width)))
    return max(int(height * scale), 1), max(int(width * scale), 1)
