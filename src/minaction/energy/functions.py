"""Which torch functions are nonlinearities and which apply weights.

One name covers the functional, the `torch.` and the method form: `F.relu`, `torch.relu` and
`Tensor.relu` are all called `relu`. In-place forms end in an underscore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minaction.energy.compiling import constant_when_compiled

_POINTWISE = (
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
)

NONLINEARITIES = frozenset([*_POINTWISE, *(f"{name}_" for name in _POINTWISE), "glu"])
"""Functions whose output is observed by default."""

SEQUENCES = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
"""Fused recurrent kernels: the hidden states of their last layer are observed."""

CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})
"""Recurrent kernels of one time step: the hidden state is observed."""

CONVOLUTIONS = frozenset(f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3))

RESHAPES = frozenset({"flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view"})
"""Functions that give the same numbers another shape."""

_WEIGHT_ARGUMENTS: Mapping[str, Sequence[tuple[int, str]]] = {
    "linear": ((1, "weight"),),
    "bilinear": ((2, "weight"),),
    **dict.fromkeys(CONVOLUTIONS, ((1, "weight"),)),
    "multi_head_attention_forward": (
        (5, "in_proj_weight"),
        (11, "out_proj_weight"),
        (18, "q_proj_weight"),
        (19, "k_proj_weight"),
        (20, "v_proj_weight"),
    ),
    **dict.fromkeys(SEQUENCES, ((2, "params"),)),
    **dict.fromkeys(CELLS, ((2, "w_ih"), (3, "w_hh"))),
}

WEIGHTED = frozenset(_WEIGHT_ARGUMENTS)
"""Functions that apply weights."""


def _by_function() -> dict[Callable[..., Any], str]:
    # looked up by object, not by __name__: torch.compile can trace only the former
    private = [getattr(torch._C, name) for name in ("_nn", "_VariableFunctions")]
    spaces = (torch, F, Tensor, *private)
    names = NONLINEARITIES | RESHAPES | WEIGHTED
    return {
        getattr(space, name): name
        for name in sorted(names)
        for space in spaces
        if hasattr(space, name)
    }


_NAMES = _by_function()


@constant_when_compiled  # or every call would look through the table again
def name_of(function: Callable[..., Any]) -> str | None:
    """Return the name of a function the tape looks at, None for any other."""
    return _NAMES.get(function)


def weights_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the weight tensors (two axes or more) in a call of the weighted function `name`."""
    found: list[Tensor] = []
    for position, keyword in _WEIGHT_ARGUMENTS[name]:
        argument = args[position] if position < len(args) else kwargs.get(keyword)
        candidates = argument if isinstance(argument, (list, tuple)) else [argument]
        found += [w for w in candidates if isinstance(w, Tensor) and w.ndim >= 2]
    return found


def is_packed(args: Sequence[Any]) -> bool:
    """Return whether a call of a function in `SEQUENCES` works on a packed sequence."""
    return not isinstance(args[3], bool)  # packed: (data, batch_sizes, hx, params, has_biases, …)


def is_batch_first(args: Sequence[Any]) -> bool:
    """Return the `batch_first` of an unpacked call of a function in `SEQUENCES`."""
    return bool(args[8])
