"""Bytes that a call of a torch function moves: what it reads and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from minaction.energy.scale_rules import Call

LOOK_UPS = frozenset(
    "embedding embedding_bag gather getitem index_select take take_along_dim".split()
)
"""Functions that read of a table no more than they return."""

_IN_PLACE = frozenset(
    f"__i{name}__"
    for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
) | {"__setitem__"}


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes moved.

    Attributes:
        weights: Bytes of weights read.
        activations: Bytes of everything else read, and of what was written.
    """

    weights: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.activations


def is_view(call: Call, output: Tensor) -> bool:
    """Return whether a call returned an existing tensor's elements without writing any."""
    name = getattr(call.func, "__name__", "")
    in_place = (
        name in _IN_PLACE
        or (name.endswith("_") and not name.startswith("__"))
        or call.kwargs.get("inplace") is True
        or call.kwargs.get("out") is not None
    )
    storage = _storage(output)
    return not in_place and any(_storage(read) == storage for read in call.reads)


def traffic_of(
    name: str,
    reads: Iterable[Tensor],
    written: Iterable[Tensor],
    is_weight: Callable[[Tensor], bool],
) -> Traffic:
    """Return the bytes a function moves, without caches and fusion.

    Args:
        name: The function's name.
        reads: The tensors it reads.
        written: Those it writes.
        is_weight: Whether one of them is a weight.
    """
    stored = sum(size_of(tensor) for tensor in written)
    moved = {True: 0, False: stored}
    for tensor in reads:
        size = size_of(tensor)
        looked_up = name in LOOK_UPS and tensor.is_floating_point()
        moved[is_weight(tensor)] += min(size, stored) if looked_up else size
    return Traffic(weights=moved[True], activations=moved[False])


def size_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor's elements, each once: of an expanded axis one."""
    elements = tensor.numel()
    if tensor.is_nested:
        return elements * tensor.element_size()
    for size, stride in zip(tensor.shape, _strides(tensor), strict=True):
        elements //= size if stride == 0 and size > 1 else 1
    return elements * tensor.element_size()


def _strides(tensor: Tensor) -> tuple[int, ...]:
    try:
        return tensor.stride()
    except RuntimeError:  # sparse
        return (1,) * tensor.ndim


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse
        return id(tensor)
