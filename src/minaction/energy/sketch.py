"""Fixed, seeded orthonormal sketches: a common space for layers of unequal size."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from minaction.energy.compiling import constant_when_compiled


def sketch(value: Tensor, size: int, seed: int) -> Tensor:
    """Return `value @ S.T` with `S S^T = I`, S of shape `[size, n]`, fixed by `seed`.

    S has one non-zero per column: the n units are dealt at random into `size` buckets with random
    signs, and each bucket's row has norm 1. It costs O(n), and equals a signed permutation where
    `n == size`.

    Args:
        value: `[batch, n]`.
        size: Number of rows, at most n.
        seed: Seed of the deal and the signs.

    Returns:
        `[batch, size]`.

    Reference: Charikar, Chen, Farach-Colton 2002 (count sketch), with balanced buckets.
    """
    order, weights, width = _deal(value.shape[1], size, seed)
    padding = torch.zeros_like(value[:, :1])
    padded = torch.cat([value, padding], dim=1).index_select(1, order.to(value.device))
    return (padded * weights.to(value)).unflatten(1, (width, size)).sum(1)


@constant_when_compiled
def _deal(n: int, size: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """First unit of every bucket, second, ... (index n is padding); weights; bucket width."""
    order, weights, width = _drawn_deal(n, size, seed)
    return torch.from_numpy(order), torch.from_numpy(weights), width


@functools.lru_cache(maxsize=256)
def _drawn_deal(n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    # drawn with NumPy: torch refuses or wraps random tensors inside its transforms
    generator = np.random.default_rng(seed)
    width = -(-n // size)
    # the first buckets are full, the rest one short, so that no bucket is empty
    order = np.full((width, size), n)
    order.flat[:n] = generator.permutation(n)
    filled = (order < n).sum(0)
    signs = generator.choice([-1.0, 1.0], size=(size, width)).T
    return order.ravel(), (signs / np.sqrt(filled)).ravel(), width
