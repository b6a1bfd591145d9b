"""How each torch function treats the scales of what it reads.

Names are those of the functions without underscores: `add` stands for `torch.add`, `Tensor.add_`
and `+`. A function that is in none of these tables stops rescaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from minaction.energy.functions import CONVOLUTIONS

HOMOGENEOUS = frozenset(
    """relu leaky_relu prelu rrelu dropout dropout1d dropout2d dropout3d feature_dropout clone
    contiguous detach to type float double half bfloat16 cpu cuda abs absolute neg negative positive
    data requires_grad""".split()
)
"""`f(c x) = c f(x)` for `c > 0`, element by element."""

MOVES = frozenset(
    """flatten reshape view view_as reshape_as unflatten permute transpose swapaxes swapdims
    movedim moveaxis t T mT adjoint squeeze unsqueeze expand expand_as broadcast_to repeat tile
    repeat_interleave chunk split split_with_sizes tensor_split unbind narrow select getitem
    index_select roll flip fliplr flipud rot90 pixel_shuffle pixel_unshuffle channel_shuffle
    diagonal ravel""".split()
)
"""The elements of one tensor in another order or shape, possibly some of them only."""

JOINS = frozenset("cat concat concatenate stack hstack vstack dstack column_stack".split())
"""The elements of several tensors in one."""

POOLS = frozenset(
    f"{kind}{dims}d"
    for kind in ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool")
    for dims in (1, 2, 3)
)
"""Homogeneous in each channel over windows of the last axes."""

RESAMPLES = frozenset({"interpolate", "upsample"})
"""Homogeneous in each channel over all axes from the third on."""

REDUCTIONS = frozenset("mean sum amax amin".split())
"""Homogeneous over the axes that vanish."""

SUMS: Mapping[str, slice] = {
    **dict.fromkeys("add radd iadd sub rsub isub subtract maximum minimum".split(), slice(2)),
    **dict.fromkeys("clamp clip clamp_min clamp_max threshold".split(), slice(3)),
    "where": slice(1, 3),
    "masked_fill": slice(0, 3, 2),
}
"""Homogeneous where all operands share a scale and the numbers among them are 0; their places."""

BIASED = frozenset("add radd iadd sub rsub isub subtract".split())
"""Sums of which one operand may be a parameter."""

DIVISIONS = frozenset("div truediv itruediv divide true_divide".split())
PRODUCTS = frozenset("mul rmul imul multiply".split()) | DIVISIONS
"""Homogeneous in one operand while the others' scales are given."""

SIGNS = frozenset("gt lt ge le eq ne sign sgn".split())
"""The same for every positive scale, if what is compared with is 0."""

NORMALISATIONS = frozenset("batch_norm layer_norm instance_norm group_norm rms_norm".split())
"""Undo the scale of what they read."""

LINEAR = CONVOLUTIONS | frozenset(
    """linear bilinear addmm addmv addbmm baddbmm matmul rmatmul mm mv bmm einsum tensordot dot
    inner outer""".split()
)
"""Homogeneous, but followed only where they apply weights of the model as layers do."""

METADATA = frozenset(
    """size dim numel nelement stride element_size get_device is_contiguous is_floating_point
    is_complex is_sparse is_cuda is_quantized is_leaf shape dtype device ndim layout grad_fn names
    len storage_offset data_ptr version hash has_names output_nr is_tensor ndimension itemsize
    nbytes is_same_size is_nested is_inference is_conj is_neg is_meta""".split()
)
"""Say nothing of a tensor's values."""


def why_stopped(name: str) -> str:
    """Return the reason for which a function in none of the tables stops rescaling."""
    if name in LINEAR:
        return f"rescaling is not followed through {name}"
    return f"{name} is not positively homogeneous"


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a torch function, after it returned."""

    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    output: Any

    @property
    def name(self) -> str:
        """The function's name without underscores; a property's own name."""
        name = getattr(self.func, "__name__", "")
        if name in ("__get__", "__set__"):
            owner = getattr(getattr(self.func, "__self__", None), "__name__", "")
            name = owner if name == "__get__" else f"set {owner}"
        return name.strip("_")

    @property
    def reads(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return list(tensors_in([*self.args, *self.kwargs.values()]))

    @property
    def outputs(self) -> list[Tensor]:
        """All tensors that came back."""
        return list(tensors_in([self.output]))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return one argument, however it was passed."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    @property
    def operands(self) -> list[Any]:
        """What a function in `SUMS` or `SIGNS` takes together."""
        named = [v for k, v in self.kwargs.items() if k in ("other", "min", "max", "value")]
        return [v for v in [*self.args[SUMS.get(self.name, slice(2))], *named] if v is not None]


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and mappings."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(value.values())
