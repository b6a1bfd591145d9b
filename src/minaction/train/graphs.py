"""CUDA graphs: many small kernels launched as one. Not measured on a GPU yet."""

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
        self._function = function
        self._inputs = [value.clone() for value in inputs]
        self._graph: torch.cuda.CUDAGraph | None = torch.cuda.CUDAGraph()
        kept = [(value, value.clone()) for value in state]
        try:
            self._capture(self._graph)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation that no graph can hold
            self._graph = None
        for value, before in kept:
            value.copy_(before)

    def _capture(self, graph: torch.cuda.CUDAGraph) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            self._outputs = self._function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return what the function returns; the next call may overwrite it."""
        if self._graph is None:
            return self._function(*inputs)
        for held, value in zip(self._inputs, inputs, strict=True):
            held.copy_(value)
        self._graph.replay()
        return self._outputs
