"""The forward pass as a trajectory: what the tape records and the energies read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Activation:
    """The output of one observed layer.

    Attributes:
        name: The layer's qualified name, e.g. `"net.1"` or `"block.relu"`.
        value: Tensor of shape `[batch, ...]`, at least two axes.
        unit_axis: The axis that counts units: 1 (channels) after a convolution, -1 (features)
            after a linear or recurrent layer. All other axes but the batch are positions.
        index: Position among the observed layers, from 0.
        named: False where module names were not to be had (inside `torch.compile`), so that
            `name` only tells function and order, and `index` must be relied on.
    """

    name: str
    value: Tensor
    unit_axis: int
    index: int = 0
    named: bool = True

    @property
    def batch_size(self) -> int:
        """Number of samples."""
        return self.value.shape[0]

    @property
    def units(self) -> int:
        """Number of units (channels or features)."""
        return self.value.shape[self.unit_axis]

    def __getstate__(self) -> dict[str, Any]:
        # a copy is no part of the autograd graph, and torch copies only what is not
        return {**self.__dict__, "value": self.value.detach()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory(Mapping[str, Tensor]):
    """Activations `a_1 … a_L` in the order they were computed, and the weights that made them.

    A mapping from layer name to activation tensor. Pickled and deep copies are detached from the
    autograd graph.

    Attributes:
        layers: The observed activations in order.
        weights: Weight tensors used on the way (at least two axes; biases are no weights), each
            once, by parameter name, e.g. `"net.0.weight"`.
    """

    layers: tuple[Activation, ...]
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        for layer in self.layers:
            if layer.name == name:
                return layer.value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (layer.name for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        return {"layers": self.layers, "weights": weights}
