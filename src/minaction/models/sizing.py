"""Sizing a network to a parameter budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

MAX_WIDTH = 1 << 16

Module = TypeVar("Module", bound=nn.Module)

Builder = Callable[[], nn.Module]
"""Builds one network, its weights drawn from torch's default generator."""


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def outline(build: Callable[[], Module]) -> Module:
    """Return what `build` would make, but without values: no memory, no random numbers."""
    with torch.device("meta"):
        return build()


def size_of(build: Builder) -> int:
    """Return the number of parameters `build` would make, without memory or random numbers."""
    return count_parameters(outline(build))


def fit_width(build: Callable[[int], nn.Module], parameters: int) -> int:
    """Return the width from 1 to `MAX_WIDTH` whose network comes closest to `parameters`.

    Args:
        build: Returns the network of a given width; its size must grow with the width.
        parameters: The budget.
    """

    def size(width: int) -> int:
        return size_of(lambda: build(width))

    low, high = 1, 2
    while size(high) < parameters and high < MAX_WIDTH:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < parameters else (low, middle)
    return min((low, high), key=lambda width: abs(size(width) - parameters))


def fit_two(
    build: Callable[[int, int], nn.Module], parameters: int, second: Callable[[int], int]
) -> Builder:
    """Size a network of two widths: the first one decides, the second one fills what is left.

    Args:
        build: Returns the network of two widths; its size must grow with both.
        parameters: The budget.
        second: The second width that goes with a first one.
    """
    width = fit_width(lambda width: build(width, second(width)), parameters)
    other = fit_width(lambda other: build(width, other), parameters)
    return functools.partial(build, width, other)
