"""Zeros and spikes among the activations that products read, and the MACs that are left without."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from minaction.measure.mac_formulas import Product


def nonzeros_of(activation: Tensor) -> int:
    """Return the number of elements that are not 0."""
    return int(torch.count_nonzero(activation.detach()))


def are_spikes(activation: Tensor) -> bool:
    """Return whether all elements are -1, 0 or 1: what they weigh is added, not multiplied."""
    if activation.dtype is torch.bool or not activation.numel():
        return True
    values = activation.detach()
    first = values[(0,) * (values.ndim - 1)]  # nearly always enough to see that they are none
    return all(bool(((part == 0) | (part.abs() == 1)).all()) for part in (first, values))


def has_values(activation: Tensor) -> bool:
    """Return whether zeros can be counted: not on the meta device, in sparse or quantised form."""
    return not (
        activation.is_meta or activation.is_quantized or activation.layout is not torch.strided
    )


def macs_left(product: Product, active: list[Tensor], nonzeros: list[int]) -> float:
    """Return the MACs of a product none of whose activations is 0.

    Weights, and what a fused kernel keeps inside, count as if they held no zeros.

    Args:
        product: The product.
        active: Those of its `reads` that are no weights.
        nonzeros: How many elements of each are not 0.
    """
    full = all(n == tensor.numel() for n, tensor in zip(nonzeros, active, strict=True))
    if full and product.taps is None:
        return product.macs
    if len(active) == 2 and product.shared is not None:
        return float(product.shared(*[(tensor.detach() != 0).double() for tensor in active]))
    if product.taps is not None:
        return _convolution_left(active[0], product.taps) * product.fan
    elements = active[0].numel()  # each takes part in equally many MACs
    return product.macs * nonzeros[0] / elements if elements else 0.0


def _convolution_left(source: Tensor, taps: tuple[np.ndarray, ...]) -> float:
    """Return the kernel elements that meet elements that are not 0; padding is 0 and not met."""
    leading = tuple(range(source.ndim - len(taps)))
    counts = (source.detach() != 0).sum(leading, dtype=torch.int32).cpu().numpy()
    return float((counts * functools.reduce(np.multiply.outer, taps)).sum())
