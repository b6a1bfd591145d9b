"""CUDA graphs: many small kernels launched as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture, as torch asks for


class Graphed:
    """A function of tensors, captured once and replayed.

    Where it cannot be captured it is called as it is.

    Args:
        function: Works on CUDA tensors of fixed shapes without asking for their values, and returns
            tensors.
        inputs: Tensors of the shapes and types it will be called with.
        state: What it changes in place; put back after the calls that lead to the capture.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        inputs: Sequence[Tensor],
        state: Iterable[Tensor],
    ) -> None:
        self._inputs = [value.clone() for value in inputs]
        self._graph = torch.cuda.CUDAGraph()
        self._uncaptured: Callable[..., Sequence[Tensor]] | None = None
        kept = [(value, value.clone()) for value in state]
        try:
            self._capture(function)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation that no graph can hold
            self._uncaptured = function
        for value, before in kept:
            value.copy_(before)

    @property
    def is_captured(self) -> bool:
        """Whether calls are replayed."""
        return self._uncaptured is None

    def _capture(self, function: Callable[..., Sequence[Tensor]]) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return what the function returns; the next call may overwrite it."""
        if self._uncaptured is not None:
            return self._uncaptured(*inputs)
        for held, value in zip(self._inputs, inputs, strict=True):
            held.copy_(value)
        self._graph.replay()
        return self._outputs
