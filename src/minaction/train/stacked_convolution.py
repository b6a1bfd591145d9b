"""Convolutions of stacked networks as matrix products.

`vmap` makes one grouped convolution of those of many networks, and cuDNN works through its groups
one by one, with transposed copies of each. The columns of all samples of all networks are instead
copied by one kernel and multiplied with the kernels by another; on an H100 a step of 200 stacked
CNNs took about half the time (docs/decisions.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class MatrixProducts(TorchFunctionMode):
    """While it is active, 1-D and 2-D convolutions of batches are matrix products.

    Whoever observes convolutions still sees them: observers become active later, and see a function
    first. Convolutions in groups and with padding by name stay as they are.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do what torch was asked for."""
        if func in (torch.conv1d, torch.conv2d):
            return _convolve(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolve(
    function: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Return what `torch.conv1d` or `torch.conv2d`, the function, returns."""
    if isinstance(padding, str) or groups != 1 or input.dim() != weight.dim():
        return function(input, weight, bias, stride, padding, dilation, groups)
    along_one = weight.dim() == 3
    if along_one:
        input, weight = input.unsqueeze(-2), weight.unsqueeze(-2)

    def both(given: int | Sequence[int], of_rows: int) -> tuple[int, int]:
        values = [given] if isinstance(given, int) else list(given)
        first = of_rows if along_one else values[0]
        return first, values[-1]

    geometry = _Geometry(
        kernel=(weight.shape[2], weight.shape[3]),
        stride=both(stride, 1),
        padding=both(padding, 0),
        dilation=both(dilation, 1),
    )
    out = _Convolution.apply(input, weight, geometry)
    if bias is not None:
        out = out + bias[:, None, None]
    return out.squeeze(-2) if along_one else out


class _Geometry(NamedTuple):
    """Of a 2-D convolution, rows and columns each."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def columns(self, x: Tensor) -> Tensor:
        """Return what each output sees, `[batch, channels * kernel, rows * columns]`."""
        (pad_rows, pad_columns), spans = self.padding, self._spans()
        windows = F.pad(x, (pad_columns, pad_columns, pad_rows, pad_rows))
        for axis, span, stride in zip((2, 3), spans, self.stride, strict=True):
            windows = windows.unfold(axis, span, stride)
        rows, columns = self.dilation
        seen = windows[..., ::rows, ::columns].permute(0, 1, 4, 5, 2, 3)
        return seen.flatten(4).flatten(1, 3)

    def scattered(self, columns: Tensor, like: Tensor, out: tuple[int, int]) -> Tensor:
        """Return the sum of what was read of each input: the transpose of `columns`."""
        batch, channels, height, width = like.shape
        (pad_rows, pad_columns), (rows, cols) = self.padding, out
        parts = columns.unflatten(2, out).unflatten(1, (channels, *self.kernel))
        size = (batch, channels, height + 2 * pad_rows, width + 2 * pad_columns)
        total = columns.new_zeros(size)
        for i, j in itertools.product(*map(range, self.kernel)):
            top, left = i * self.dilation[0], j * self.dilation[1]
            down, along = self.stride
            total[
                :,
                :,
                top : top + down * (rows - 1) + 1 : down,
                left : left + along * (cols - 1) + 1 : along,
            ] += parts[:, :, i, j]
        return total[:, :, pad_rows : pad_rows + height, pad_columns : pad_columns + width]

    def out(self, x: Tensor) -> tuple[int, int]:
        """Return rows and columns of the output."""
        sizes = zip(x.shape[2:], self.padding, self._spans(), self.stride, strict=True)
        rows, columns = ((n + 2 * pad - span) // stride + 1 for n, pad, span, stride in sizes)
        return rows, columns

    def _spans(self) -> Iterator[int]:
        return (d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


class _Convolution(torch.autograd.Function):
    """`out[b] = weight @ columns(x[b])`; columns are made again for the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
        matrix = weight.flatten(1).expand(len(x), -1, -1)
        return torch.bmm(matrix, geometry.columns(x)).unflatten(2, geometry.out(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, _Geometry], output: Tensor) -> None:
        x, weight, ctx.geometry = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x, weight), geometry = ctx.saved_tensors, ctx.geometry
        of_out, of_x, of_weight = gradient.flatten(2), None, None
        if ctx.needs_input_grad[0]:
            matrix = weight.flatten(1).T.expand(len(x), -1, -1)
            of_x = geometry.scattered(torch.bmm(matrix, of_out), x, geometry.out(x))
        if ctx.needs_input_grad[1]:
            products = torch.bmm(of_out, geometry.columns(x).mT)
            of_weight = products.sum(0).view_as(weight)
        return of_x, of_weight, None
