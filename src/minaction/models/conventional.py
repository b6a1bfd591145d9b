"""Conventional networks, sized to a parameter budget."""

from __future__ import annotations

import functools
import itertools
import math

from torch import Tensor, nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError
from minaction.models.sizing import Builder, fit_width


class MLP(nn.Module):
    """Fully connected: flatten, then `linear -> ReLU` per hidden width, then a linear read-out.

    Args:
        inputs: Elements of one sample.
        hidden: Widths of the hidden layers.
        classes: Number of classes.

    Shapes: `[batch, ...]` with `inputs` elements per sample -> logits `[batch, classes]`.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], classes: int) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for width, following in itertools.pairwise(widths):
            layers += [nn.Linear(width, following), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(x)


class CNN(nn.Module):
    """Two blocks of `3x3 convolution -> ReLU -> 2x2 max pooling`, a hidden layer, a read-out.

    Args:
        shape: One sample, `(channels, height, width)`, at least 4 x 4.
        channels: Output channels of the two convolutions.
        hidden: Units of the hidden layer.
        classes: Number of classes.

    Shapes: `[batch, *shape]` -> logits `[batch, classes]`.
    """

    def __init__(
        self, shape: tuple[int, int, int], channels: tuple[int, int], hidden: int, classes: int
    ) -> None:
        super().__init__()
        pooled = (shape[1] // 4) * (shape[2] // 4)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], channels[0], 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels[0], channels[1], 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[1] * pooled, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.features(x))


def sized_mlp(spec: DataSpec, parameters: int) -> Builder:
    """Size an MLP with two hidden layers, the second half as wide as the first."""
    inputs = math.prod(spec.shape)

    def build(width: int) -> nn.Module:
        return MLP(inputs, (width, max(width // 2, 1)), spec.classes)

    return functools.partial(build, fit_width(build, parameters))


def sized_cnn(spec: DataSpec, parameters: int) -> Builder:
    """Size a CNN with `c` and `2c` channels and about `4c` hidden units.

    Raises:
        ModelError: A sample is not `(channels, height, width)` with at least 4 x 4 positions.
    """
    if len(spec.shape) != 3 or min(spec.shape[1:]) < 4:
        raise ModelError(
            f"cnn: needs samples of shape (channels, height, width) of at least 4 x 4, "
            f"{spec.name!r} has {spec.shape}; choose another model"
        )
    channels, height, width = spec.shape

    def build(c: int, hidden: int) -> nn.Module:
        return CNN((channels, height, width), (c, 2 * c), hidden, spec.classes)

    c = fit_width(lambda c: build(c, 4 * c), parameters)
    return functools.partial(build, c, fit_width(lambda hidden: build(c, hidden), parameters))
