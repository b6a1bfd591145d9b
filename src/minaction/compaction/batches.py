"""Data sets of inputs: cut into batches, checked, run through a model one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.errors import CompactionError


class Batches:
    """Inputs of a model, to be gone through several times.

    Args:
        data: A tensor `[samples, ...]`, a tuple of positional or a mapping of keyword arguments
            (each cut into batches), or any other iterable of such batches, which is taken as it
            comes. An iterator, which can be gone through only once, is kept in memory.
        batch_size: Samples of a batch where `data` is cut.
        name: What messages call the data.

    Raises:
        CompactionError: There is no sample, or something else than inputs was given.
    """

    def __init__(self, data: Any, batch_size: int, name: str) -> None:
        self.name = name
        self._batch_size = batch_size
        self._whole = isinstance(data, (Tensor, tuple, Mapping))
        if not self._whole and not isinstance(data, Iterable):
            raise CompactionError(
                f"{name} is of type {type(data).__name__}; give a tensor, a tuple or mapping "
                "of inputs, or an iterable of batches"
            )
        self._data = list(data) if isinstance(data, Iterator) else data
        self.first = next(iter(self), None)
        if self.first is None or samples_in(self.first) == 0:
            raise CompactionError(f"{name} is empty; give at least two samples")

    def __iter__(self) -> Iterator[Any]:
        if not self._whole:
            yield from self._data
            return
        for start in range(0, samples_in(self._data), self._batch_size):
            yield select(self._data, slice(start, start + self._batch_size))

    def run(self, model: nn.Module) -> Iterator[Any]:
        """Yield the model's output for each batch, computed without gradients.

        Raises:
            CompactionError: The model does not run on a batch.
        """
        for batch in self:
            with torch.no_grad():
                output = run(model, batch, self.name)
            yield output  # outside: the caller's own mode must not change


def run(model: nn.Module, batch: Any, name: str) -> Any:
    """Return the model's output for one batch of the data called `name`.

    Raises:
        CompactionError: The model does not run on it, or its output is not finite.
    """
    try:
        output = run_model(model, batch)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in([batch]))
        raise CompactionError(
            f"the model does not run on {name} of shape {shapes or 'unknown'}: {first_line(error)}"
        ) from error
    for tensor in tensors_in([output]):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CompactionError(f"the model's output on {name} has NaN or infinite elements")
    return output


def samples_in(batch: Any) -> int:
    """Return the number of samples: the length of the first tensor."""
    for tensor in tensors_in([batch]):
        return len(tensor) if tensor.ndim else 1
    return 0


def select(batch: Any, rows: slice | Tensor) -> Any:
    """Return some samples: those rows of every tensor that has one row per sample."""
    samples = samples_in(batch)

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[rows] if value.ndim and len(value) == samples else value
        if isinstance(value, Mapping):
            return {key: of(item) for key, item in value.items()}
        return type(value)(map(of, value)) if type(value) in (tuple, list) else value

    return of(batch)


def difference(one: Any, other: Any) -> tuple[float, float]:
    """Return the largest difference of two outputs and the largest absolute value of the first.

    Raises:
        CompactionError: The outputs differ in their shapes.
    """
    worst = size = 0.0
    first, second = list(tensors_in([one])), list(tensors_in([other]))
    if [t.shape for t in first] != [t.shape for t in second]:
        raise CompactionError("the outputs differ in their shapes")
    for a, b in zip(first, second, strict=True):
        if a.is_floating_point() and a.numel():
            worst = max(worst, float((a - b).abs().max()))
            size = max(size, float(a.abs().max()))
    return worst, size


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
