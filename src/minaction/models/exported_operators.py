"""The functions an exported program may call.

A program is a file from anywhere: whatever it names is looked up among torch's own tensor
functions, and nothing that reaches files, Python or memory is among them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minaction.errors import ModelError

TAKE_TEXT = frozenset({"conv1d", "conv2d", "conv3d", "div", "einsum", "gelu", "meshgrid", "pad"})
"""Functions that may be given text; all others that take some could name a file."""

_PREFIX = "torch.ops.aten."
_PYTHON = "_operator."
_NUMBERS = ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt",
            "ge", "and_", "or_", "not_", "getitem")  # fmt: skip
_ASSERTIONS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range",
               "sym_constrain_range_for_size")  # fmt: skip
_LOGICAL = ("__and__", "__or__", "__xor__")
_UNSAFE = ("set", "resize", "resize_as", "unsafe", "from_file", "save")


@functools.cache
def function_of(target: str) -> Callable[..., Any] | None:
    """Return the function that a program's `target` stands for; None for an assertion.

    Args:
        target: As a program names it, e.g. `torch.ops.aten.relu.default` or `_operator.mul`.

    Raises:
        ModelError: It is none of the functions a program may call.
    """
    if target.startswith(_PYTHON) and target.removeprefix(_PYTHON) in _NUMBERS:
        return getattr(operator, target.removeprefix(_PYTHON))
    if target.startswith(_PREFIX) and name_of(target) in _ASSERTIONS:
        return None  # what held when the program was exported
    if target.startswith(_PREFIX):
        function = _tensor_function(name_of(target))
        if function is not None:
            return function
    raise ModelError(f"the program calls {target!r}, which exported programs may not do here")


def name_of(target: str) -> str:
    """Return the plain name of a target: `relu` for `torch.ops.aten.relu.default`."""
    return target.removeprefix(_PREFIX).removeprefix(_PYTHON).partition(".")[0]


def _tensor_function(name: str) -> Callable[..., Any] | None:
    if name in _REWRITTEN:
        return _REWRITTEN[name]
    if (name.startswith("_") and name not in _LOGICAL) or name.strip("_") in _UNSAFE:
        return None
    if not name.isidentifier() or not hasattr(torch.ops.aten, name):
        return None
    # bindings of the same operators: unlike torch.ops they are what a tape looks for
    for space in _SPACES:
        function = getattr(space, name, None)
        if callable(function):
            return function
    return None


def _convert(value: Tensor, *options: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    found = [o for o in options if isinstance(o, torch.dtype)]
    found += [o.dtype for o in options if isinstance(o, Tensor)]
    dtype = found[0] if found else dtype
    return value if dtype is None else value.to(dtype)


def _index(value: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    return value[tuple(slice(None) if index is None else index for index in indices)]


def _slice(
    value: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    return value[(slice(None),) * (dim % value.ndim) + (slice(start, end, step),)]


def _batch_norm(
    value: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor,
    training: bool, momentum: float, eps: float, _cudnn: bool = False,
) -> Tensor:  # fmt: skip
    return F.batch_norm(value, mean, variance, weight, bias, training, momentum, eps)


def _same(value: Tensor, **_: Any) -> Tensor:
    return value


_SPACES = (*(getattr(torch._C, name) for name in ("_nn", "_VariableFunctions")), torch.Tensor)
_REWRITTEN: Mapping[str, Callable[..., Any]] = {
    "sym_size": torch.Tensor.size,
    "to": _convert,
    "index": _index,
    "slice": _slice,
    "batch_norm": _batch_norm,
    "alias": _same,
    **{name: operator.attrgetter(name) for name in ("mT", "mH", "real", "imag")},
    "numpy_T": operator.attrgetter("T"),
    "matrix_H": operator.attrgetter("H"),
    "lift_fresh_copy": torch.clone,
}
