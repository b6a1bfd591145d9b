"""Sums over activations that keep nothing for the backward pass but the activation itself.

A network's own graph keeps its activations anyway, so such a sum costs no memory. Written in plain
operations each would keep intermediate results of the same size.

Inside `torch.compile` and the transforms of `torch.func` plain operations are used: the compiler
fuses them and decides what to keep, and every transform knows their derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

SMALL = 1 << 15
"""Up to this many elements memory traffic is cheaper than a Python step in the backward pass."""

ROW = 256
MANY = 1 << 18
"""From this many bfloat16 elements on the CPU on, sums are put together from rounded norms of rows.

Norms are summed in float32 and rounded to 8 bits, which leaves the whole sum a relative error of
standard deviation `2^-8 / sqrt(3 * rows)`: 7e-5 for 1,024 rows, far below the rounding of the
activations themselves.
"""


class _SumOfSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.scale = scale  # pyright: ignore[reportAttributeAccessIssue]
        # in two stages: one long float32 sum would lose digits
        norms = _row_norms(value)
        return torch.dot(norms, norms).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return value * (2 * ctx.scale * grad_outputs[0]), None


class _SumOfSquaresPerUnit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, axes: list[int]) -> Tensor:
        ctx.save_for_backward(value)
        *positions, batch = sorted(axes, reverse=True)  # positions first: several times faster
        norm = torch.linalg.vector_norm(
            value, dim=positions or batch, keepdim=True, dtype=_accumulator(value)
        )
        if positions:
            norm = torch.linalg.vector_norm(norm, dim=batch, keepdim=True)
        return norm.square_()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return (value * (2 * grad_outputs[0])).to(value.dtype), None


class _SaturatedCount(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.width = width  # pyright: ignore[reportAttributeAccessIssue]
        return _saturated_count(value, width)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        width = ctx.width
        size = value.to(_accumulator(value)).abs()
        slope = width * value.sign() / (size + width).square()
        return (slope * grad_outputs[0]).to(value.dtype), None


def sum_of_squares(value: Tensor, scale: float = 1.0) -> Tensor:
    """Return `scale * sum value^2` over all elements, in float32 (float64 for float64).

    Its relative error is that of float32, but for many bfloat16 elements about 1e-4; see `MANY`.
    """
    if _plain() or (value.numel() <= SMALL and value.dtype == _accumulator(value)):
        value = accumulable(value)
        return scale * (value * value).sum()
    return _SumOfSquares.apply(value, scale)  # pyright: ignore[reportReturnType]


def sum_of_squares_per_unit(value: Tensor, unit_axis: int) -> Tensor:
    """Return `sum value^2` of each unit, over all axes but one, in float32 (or float64)."""
    axes = [axis for axis in range(value.ndim) if axis != unit_axis % value.ndim]
    if _plain():
        return value.to(_accumulator(value)).square().sum(axes)
    sums: Tensor = _SumOfSquaresPerUnit.apply(value, axes)  # pyright: ignore[reportAssignmentType]
    return sums.flatten()


def sum_of_sizes(value: Tensor) -> Tensor:
    """Return `sum |value|` over all elements, in float32 (float64 for float64)."""
    return value.abs().sum(dtype=_accumulator(value))


def saturated_count(value: Tensor, width: float) -> Tensor:
    """Return `sum |value| / (|value| + width)` over all elements, in float32 (or float64)."""
    if _plain():
        return _saturated_count(value, width)
    return _SaturatedCount.apply(value, width)  # pyright: ignore[reportReturnType]


def accumulable(value: Tensor) -> Tensor:
    """Return `value` in float32 (float64 stays)."""
    return value.to(_accumulator(value))


def _accumulator(value: Tensor) -> torch.dtype:
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def _row_norms(value: Tensor) -> Tensor:
    """Return Euclidean norms, in float32 (float64 for float64), of parts that make up `value`."""
    with torch.autocast(value.device.type, enabled=False):  # or it would make a float32 copy
        if _many_in_bfloat16(value):
            rows = value.as_strided((value.numel() // ROW, ROW), (ROW, 1))
            return torch.linalg.vector_norm(rows, dim=1).float()
        axes = tuple(range(1, value.ndim)) or (0,)
        return torch.linalg.vector_norm(value, dim=axes, dtype=_accumulator(value))


def _many_in_bfloat16(value: Tensor) -> bool:
    """Whether rounding every row's norm, as bfloat16 kernels do, cancels out over the rows.

    Asked for a float32 result, a kernel of the CPU would first write a float32 copy of the whole
    tensor; those of other devices convert as they read.
    """
    return (
        value.device.type == "cpu"
        and value.dtype == torch.bfloat16
        and value.numel() >= MANY
        and value.numel() % ROW == 0
        and (value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last))
    )


def _saturated_count(value: Tensor, width: float) -> Tensor:
    size = accumulable(value).abs()
    return (size / (size + width)).sum()


def _plain() -> bool:
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
