"""Conventional feed-forward networks, sized to a parameter budget."""

from __future__ import annotations

import functools
import itertools

from torch import Tensor, nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError
from minaction.models.catalog import Init
from minaction.models.init import initialise_before_relus
from minaction.models.ratio import narrowed
from minaction.models.reading import Channels, layout_of, vector_reader
from minaction.models.sizing import Builder, fit_two, fit_width, outline

KERNEL = 5  # of 1-D convolutions
LAST_POSITIONS = 8  # a 1-D CNN halves a sequence until no more are left


class MLP(nn.Module):
    """Fully connected: read, then `linear -> ReLU` per hidden width, then a linear read-out.

    Args:
        inputs: Elements of one sample as it is read.
        hidden: Widths of the hidden layers.
        classes: Number of classes.
        reader: Makes one vector of a sample; default: flattens it.
        init: How the hidden layers start.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        classes: int,
        reader: nn.Module | None = None,
        init: Init = "pytorch",
    ) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        layers: list[nn.Module] = [reader or nn.Flatten()]
        for width, following in itertools.pairwise(widths):
            layers += [nn.Linear(width, following), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], classes))
        initialise_before_relus(self.net, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(x)


class CNN(nn.Module):
    """Two blocks of `3x3 convolution -> ReLU -> 2x2 max pooling`, a hidden layer, a read-out.

    Args:
        shape: One sample as it is read, `(channels, height, width)`, at least 4 x 4.
        channels: Output channels of the two convolutions.
        hidden: Units of the hidden layer.
        classes: Number of classes.
        reader: Makes an image of a sample; default: takes it as it is.
        init: How the convolutions and the hidden layer start.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: tuple[int, int],
        hidden: int,
        classes: int,
        reader: nn.Module | None = None,
        init: Init = "pytorch",
    ) -> None:
        super().__init__()
        pooled = (shape[1] // 4) * (shape[2] // 4)
        self.reader = reader or nn.Identity()
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
        for part in (self.features, self.classifier):
            initialise_before_relus(part, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.features(self.reader(x)))


class CNN1d(nn.Module):
    """Blocks of `convolution -> ReLU -> max pooling` along time, a hidden layer, a read-out.

    Kernels span 5 positions, or one where there are fewer. Pooling halves the positions until at
    most 8 are left, so that the blocks together see the whole of a long sequence; there are two
    convolutions at least.

    Args:
        reader: Makes channels over positions of a sample.
        channels: Output channels of the convolutions, `blocks(length)` of them.
        hidden: Units of the hidden layer.
        classes: Number of classes.
        init: How the convolutions and the hidden layer start.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        reader: Channels,
        channels: tuple[int, ...],
        hidden: int,
        classes: int,
        init: Init = "pytorch",
    ) -> None:
        super().__init__()
        (length,) = reader.positions
        kernel = KERNEL if length >= KERNEL else 1
        layers: list[nn.Module] = []
        for width, following in itertools.pairwise((reader.channels, *channels)):
            layers += [nn.Conv1d(width, following, kernel, padding=kernel // 2), nn.ReLU()]
            if length > LAST_POSITIONS:
                layers.append(nn.MaxPool1d(2))
                length //= 2
        self.reader = reader
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * length, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
        for part in (self.features, self.classifier):
            initialise_before_relus(part, init)

    @staticmethod
    def blocks(length: int) -> int:
        """Return how many convolutions a sequence of `length` positions gets."""
        count = 0
        while length > LAST_POSITIONS:
            length, count = length // 2, count + 1
        return max(count, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.features(self.reader(x)))


def sized_mlp(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "pytorch"
) -> Builder:
    """Size an MLP with two hidden layers, the second `ratio` (default 1/2) as wide as the first.

    Its own way to start is PyTorch's.
    """
    second = 0.5 if ratio is None else ratio

    def build(width: int) -> nn.Module:
        reader, inputs = vector_reader(spec, parameters)
        return MLP(inputs, (width, narrowed(width, second)), spec.classes, reader, init)

    return functools.partial(build, fit_width(build, parameters))


def sized_cnn(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "pytorch"
) -> Builder:
    """Size a CNN, two-dimensional for images and frames, one-dimensional for everything else.

    Convolutions have `c` and then `2c` channels, and `4c` hidden units follow, more or less as the
    budget needs. With a `ratio`, each of these layers is that much as wide as the one before. Its
    own way to start is PyTorch's.

    Raises:
        ModelError: Images are smaller than 4 x 4.
    """
    if layout_of(spec) in ("image", "frames"):
        return _sized_cnn2d(spec, parameters, ratio, init)
    return _sized_cnn1d(spec, parameters, ratio, init)


def _sized_cnn2d(spec: DataSpec, parameters: int, ratio: float | None, init: Init) -> Builder:
    height, width = spec.shape[-2:]
    if min(height, width) < 4:
        raise ModelError(
            f"cnn: needs images of at least 4 x 4, {spec.name!r} has {spec.shape}; "
            "choose another model"
        )

    def build(channels: tuple[int, int], hidden: int) -> nn.Module:
        reader = Channels(spec, parameters)
        shape = (reader.channels, height, width)
        return CNN(shape, channels, hidden, spec.classes, reader, init)

    if ratio is None:
        return fit_two(lambda c, hidden: build((c, 2 * c), hidden), parameters, lambda c: 4 * c)

    def narrowing(c: int) -> nn.Module:
        second = narrowed(c, ratio)
        return build((c, second), narrowed(second, ratio))

    return functools.partial(narrowing, fit_width(narrowing, parameters))


def _sized_cnn1d(spec: DataSpec, parameters: int, ratio: float | None, init: Init) -> Builder:
    def build(channels: tuple[int, ...], hidden: int) -> nn.Module:
        return CNN1d(Channels(spec, parameters), channels, hidden, spec.classes, init)

    count = CNN1d.blocks(outline(lambda: Channels(spec, parameters)).positions[0])
    if ratio is None:
        return fit_two(
            lambda c, hidden: build((c, *(count - 1) * (2 * c,)), hidden),
            parameters,
            lambda c: 4 * c,
        )

    def narrowing(c: int) -> nn.Module:
        *channels, hidden = itertools.accumulate(
            range(count), lambda width, _: narrowed(width, ratio), initial=c
        )
        return build(tuple(channels), hidden)

    return functools.partial(narrowing, fit_width(narrowing, parameters))
