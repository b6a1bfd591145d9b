"""Scaling activity to a fixed mean power."""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-6
"""Added to the mean square, so that no activity stays none."""


def unit_power(x: Tensor) -> Tensor:
    """Scale each sample to a mean square of 1 over all its elements.

    `x / sqrt(mean(x^2) + 1e-6)`: samples that differ in scale only become the same.

    Shapes: `[batch, ...]` -> the same.
    """
    power = x.square().flatten(1).mean(1) + SMALLEST
    return x * power.rsqrt().reshape(-1, *[1] * (x.ndim - 1))
