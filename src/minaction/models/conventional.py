"""Conventional feed-forward networks, sized to a parameter budget."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

from torch import Tensor, nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError
from minaction.models.catalog import Init
from minaction.models.init import initialise_before_relus
from minaction.models.ratio import narrowed
from minaction.models.reading import Channels, layout_of, vector_reader
from minaction.models.sizing import Builder, fit_two, fit_width, outline

DEPTH = 2  # hidden layers of an MLP, convolutions of a 2-D CNN
KERNEL = 5  # of 1-D convolutions
PLANE_KERNEL = 3  # of 2-D ones
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
        sizes = (inputs, *hidden)
        layers: list[nn.Module] = [reader or nn.Flatten()]
        for size, following in itertools.pairwise(sizes):
            layers += [nn.Linear(size, following), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
        initialise_before_relus(self.net, init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(x)


class CNN(nn.Module):
    """Blocks of `convolution -> ReLU -> 2x2 max pooling`, a hidden layer, a read-out.

    Args:
        shape: One sample as it is read, `(channels, height, width)`, at least 2 to the number of
            blocks high and wide.
        channels: Output channels of each block.
        hidden: Units of the hidden layer.
        classes: Number of classes.
        reader: Makes an image of a sample; default: takes it as it is.
        init: How the convolutions and the hidden layer start.
        kernel: Height and width of the kernels, odd.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: tuple[int, ...],
        hidden: int,
        classes: int,
        reader: nn.Module | None = None,
        init: Init = "pytorch",
        kernel: int = PLANE_KERNEL,
    ) -> None:
        super().__init__()
        shrink = 2 ** len(channels)
        pooled = (shape[1] // shrink) * (shape[2] // shrink)
        self.reader = reader or nn.Identity()
        layers: list[nn.Module] = []
        for width, following in itertools.pairwise((shape[0], *channels)):
            layers += [
                nn.Conv2d(width, following, kernel, padding=kernel // 2),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * pooled, hidden),
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
        channels: Output channels of the convolutions; `blocks(length)` of them see the whole.
        hidden: Units of the hidden layer.
        classes: Number of classes.
        init: How the convolutions and the hidden layer start.
        kernel: Positions a kernel spans, odd; None: as above.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        reader: Channels,
        channels: tuple[int, ...],
        hidden: int,
        classes: int,
        init: Init = "pytorch",
        kernel: int | None = None,
    ) -> None:
        super().__init__()
        (length,) = reader.positions
        kernel = kernel or (KERNEL if length >= KERNEL else 1)
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
    spec: DataSpec,
    parameters: int,
    ratio: float | None = None,
    init: Init = "pytorch",
    depth: int = DEPTH,
) -> Builder:
    """Size an MLP of `depth` hidden layers, each `ratio` (default 1/2) as wide as the one before.

    Its own way to start is PyTorch's.
    """
    share = 0.5 if ratio is None else ratio

    def build(width: int) -> nn.Module:
        reader, inputs = vector_reader(spec, parameters)
        return MLP(inputs, widths(width, share, depth), spec.classes, reader, init)

    return functools.partial(build, fit_width(build, parameters))


def widths(first: int, ratio: float, count: int) -> tuple[int, ...]:
    """Return the widths of `count` layers, each `ratio` as wide as the one before."""
    steps = itertools.repeat(ratio, count - 1)
    return tuple(itertools.accumulate(steps, narrowed, initial=first))


def sized_cnn(
    spec: DataSpec,
    parameters: int,
    ratio: float | None = None,
    init: Init = "pytorch",
    depth: int | None = None,
    kernel: int | None = None,
) -> Builder:
    """Size a CNN, two-dimensional for images and frames, one-dimensional for everything else.

    Convolutions have `c` and then `2c` channels, and `4c` hidden units follow, more or less as the
    budget needs. With a `ratio`, each of these layers is that much as wide as the one before. There
    are `depth` convolutions; by default two in a plane, else what `CNN1d` says. Its own way to
    start is PyTorch's.

    Raises:
        ModelError: Images are smaller than the poolings need, or a sequence than the kernel.
    """
    if layout_of(spec) in ("image", "frames"):
        return _sized_cnn2d(spec, parameters, ratio, init, depth or DEPTH, kernel or PLANE_KERNEL)
    return _sized_cnn1d(spec, parameters, ratio, init, depth, kernel)


def _sized_cnn2d(
    spec: DataSpec, parameters: int, ratio: float | None, init: Init, depth: int, kernel: int
) -> Builder:
    height, width = spec.shape[-2:]
    if min(height, width) < 2**depth:
        raise ModelError(
            f"cnn: needs images of at least {2**depth} x {2**depth}, {spec.name!r} has "
            f"{spec.shape}; choose another model{' or a smaller depth' if depth > 1 else ''}"
        )

    def build(channels: tuple[int, ...], hidden: int) -> nn.Module:
        reader = Channels(spec, parameters)
        shape = (reader.channels, height, width)
        return CNN(shape, channels, hidden, spec.classes, reader, init, kernel)

    return _sized_convolutions(build, parameters, ratio, depth)


def _sized_cnn1d(
    spec: DataSpec,
    parameters: int,
    ratio: float | None,
    init: Init,
    depth: int | None,
    kernel: int | None,
) -> Builder:
    (length,) = outline(lambda: Channels(spec, parameters)).positions
    if kernel is not None and kernel > length:
        raise ModelError(
            f"cnn: a kernel of {kernel} needs as many positions, {spec.name!r} has {length}; "
            "choose a smaller kernel"
        )

    def build(channels: tuple[int, ...], hidden: int) -> nn.Module:
        return CNN1d(Channels(spec, parameters), channels, hidden, spec.classes, init, kernel)

    return _sized_convolutions(build, parameters, ratio, depth or CNN1d.blocks(length))


def _sized_convolutions(
    build: Callable[[tuple[int, ...], int], nn.Module],
    parameters: int,
    ratio: float | None,
    depth: int,
) -> Builder:
    """Size what is built of the channels of `depth` convolutions and of a hidden layer's units."""
    if ratio is None:
        return fit_two(
            lambda c, hidden: build((c, *(depth - 1) * (2 * c,)), hidden),
            parameters,
            lambda c: 4 * c,
        )

    def narrowing(c: int) -> nn.Module:
        *channels, hidden = widths(c, ratio, depth + 1)
        return build(tuple(channels), hidden)

    return functools.partial(narrowing, fit_width(narrowing, parameters))
