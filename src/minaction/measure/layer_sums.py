"""Sums over the activations of one layer, batch by batch, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minaction.energy.trajectory import Activation

CHUNK = 1 << 19
"""Elements reduced at a time: temporaries then stay in the processor's cache."""


@dataclass(kw_only=True, eq=False)
class LayerSums:
    """What is kept of a layer's activations.

    Attributes:
        squares: Sum of squares of each unit, `[units]`, float64.
        nonzeros: Elements of each unit that are not 0, `[units]`, float64.
        elements: Number of elements of all units together.
        samples: Number of samples.
    """

    squares: Tensor
    nonzeros: Tensor
    elements: int
    samples: int

    @classmethod
    def of(cls, activation: Activation) -> LayerSums:
        """Reduce one activation."""
        value = activation.value.detach()
        axis = activation.unit_axis % value.ndim
        parts = [_sums(chunk, axis) for chunk in _chunks(value)]
        squares, nonzeros = torch.stack(parts).sum(0).cpu()
        return cls(squares=squares, nonzeros=nonzeros, elements=value.numel(), samples=len(value))

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.squares)

    @property
    def nonzero_fraction(self) -> float:
        """Share of elements that are not 0."""
        return float(self.nonzeros.sum()) / self.elements if self.elements else 0.0

    @property
    def silent_units(self) -> int:
        """Number of units that are 0 everywhere."""
        return int((self.nonzeros == 0).sum())

    def extend(self, other: LayerSums, *, same_samples: bool = False) -> None:
        """Take the activations of more samples, or more activations of the same samples, in."""
        self.squares += other.squares
        self.nonzeros += other.nonzeros
        self.elements += other.elements
        if not same_samples:
            self.samples += other.samples


def _chunks(value: Tensor) -> tuple[Tensor, ...]:
    """Split along the first axis."""
    return (
        value.split(max(1, CHUNK * len(value) // max(value.numel(), 1))) if value.ndim else (value,)
    )


def _sums(chunk: Tensor, axis: int) -> Tensor:
    """Squares and non-zeros of each unit, `[2, units]`, float64."""
    axes = [other for other in range(chunk.ndim) if other != axis]
    sizes = chunk.abs()
    if sizes.dtype not in (torch.float32, torch.float64):
        sizes = sizes.float()
    # the sign of a size is 1 or 0; counting by `!= 0` takes several times longer
    nonzeros = sizes.sign().sum(axes)
    return torch.stack([sizes.square_().sum(axes).double(), nonzeros.double()])
