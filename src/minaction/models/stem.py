"""The senses of the energy-first networks: strided convolutions where a sample has positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from minaction.data.dataset import DataSpec
from minaction.models.reading import Channels, layout_of, vector_reader

FIRST_POSITIONS = 32
"""Positions of a sequence the first convolution keeps at most."""


def has_positions(spec: DataSpec) -> bool:
    """Return whether neighbouring elements of a sample belong together; tokens count as a bag."""
    return layout_of(spec) in ("sequence", "image", "frames")


def stem(
    spec: DataSpec, parameters: int, channels: Sequence[int]
) -> tuple[nn.Module, list[nn.Module], int]:
    """Return what reads a sample, the convolutions after it, and the features they end in.

    Strides do what pooling does in a CNN, so that nothing is computed to be thrown away: halving
    images and frames twice, and bringing a sequence to 32 positions and then halving it.

    Args:
        spec: The data set.
        parameters: Budget of the model.
        channels: Output channels of the two convolutions; not used for vectors and tokens, which
            have no positions and get no convolution.
    """
    if not has_positions(spec):
        reader, features = vector_reader(spec, parameters)
        return reader, [], features
    reader = Channels(spec, parameters)
    first, second = channels
    if len(reader.positions) == 2:
        convolutions: list[nn.Module] = [
            nn.Conv2d(reader.channels, first, 5, stride=2, padding=2),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
        ]
        return reader, convolutions, second * math.prod(-(-n // 4) for n in reader.positions)
    (length,) = reader.positions
    stride = math.ceil(length / FIRST_POSITIONS)
    # a kernel spans its own stride and the neighbours on both sides, at least 5 positions
    reach = max(stride, 2)
    convolutions = [
        nn.Conv1d(reader.channels, first, 2 * reach + 1, stride=stride, padding=reach),
        nn.Conv1d(first, second, 3, stride=2, padding=1),
    ]
    kept = math.ceil(length / stride)
    return reader, convolutions, second * math.ceil(kept / 2)
