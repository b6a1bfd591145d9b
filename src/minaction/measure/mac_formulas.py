"""Multiply-accumulates of torch functions, from the shapes they are called with.

Counted: whatever multiplies by a matrix: linear layers, convolutions, recurrent kernels, attention
(projections and products), matrix products of any kind. Element-wise functions, normalisations,
pooling, softmax and look-ups have none, by convention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from minaction.energy.functions import CELLS, CONVOLUTIONS, NONLINEARITIES, SEQUENCES, is_packed
from minaction.energy.scale_rules import (
    HOMOGENEOUS,
    JOINS,
    METADATA,
    MOVES,
    NORMALISATIONS,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    RESAMPLES,
    SIGNS,
    SUMS,
    Call,
    tensors_in,
)

FREE = (
    frozenset(name.strip("_") for name in NONLINEARITIES)
    | frozenset().union(HOMOGENEOUS, MOVES, JOINS, POOLS, RESAMPLES, REDUCTIONS, SUMS, PRODUCTS)
    | frozenset().union(SIGNS, NORMALISATIONS, METADATA)
    | frozenset(
        "acos acosh addcdiv addcmul all allclose alpha_dropout and any argmax argmin argsort asin "
        "asinh atan atan2 atanh bernoulli bitwise_and bitwise_not bitwise_or bitwise_xor bool "
        "bucketize ceil conj copy copysign cos cosh count_nonzero cummax cummin cumprod cumsum "
        "diag diag_embed diff embedding embedding_bag empty_like equal erf erfc erfinv exp exp2 "
        "expm1 feature_alpha_dropout fill float_power floor floor_divide floordiv fmod fold frac "
        "full_like gather gumbel_softmax heaviside hypot iand index_add index_copy index_fill "
        "index_put int invert ior ipow isclose isfinite isinf isnan item kthvalue lerp "
        "local_response_norm log log10 log1p log2 log_softmax logaddexp logcumsumexp logical_and "
        "logical_not logical_or logical_xor logit logsigmoid logsumexp long lp_pool1d lp_pool2d "
        "masked_scatter masked_select max max_unpool1d max_unpool2d max_unpool3d median meshgrid "
        "min mod mode multinomial nan_to_num nanmean nansum new_empty new_full new_ones new_tensor "
        "new_zeros nonzero norm normalize numpy one_hot ones_like or pad pairwise_distance pow "
        "prod quantile rand_like randint_like randn_like reciprocal remainder rfloordiv round rpow "
        "rsqrt scatter scatter_add scatter_reduce setitem signbit sin sinc sinh softmax softmin "
        "sort sqrt square std std_mean take take_along_dim tan tolist topk tril triu trunc unfold "
        "unique unsafe_chunk unsafe_split upsample_bicubic2d upsample_bilinear2d upsample_linear1d "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var "
        "var_mean vector_norm xlogy xor zero zeros_like".split()
    )
)  # fmt: skip
"""Functions without multiply-accumulates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Some of the MACs of one call, over the whole batch, and the tensors that are multiplied."""

    macs: float
    reads: tuple[Tensor, ...] = ()


def products_of(call: Call) -> list[Product] | None:
    """Return the MACs of a call; None where there is no formula for the function.

    A causal mask is not taken into account: attention counts as if every position saw all.
    """
    formula = _FORMULAS.get(call.name)
    return formula(call) if formula else None


def backward_macs(product: Product) -> float:
    """Return the MACs of a product's gradients: as many as its own for each factor that has one.

    Of its two factors those that `reads` leaves out are weights or states that come of them.
    """
    factors = 2 - len(product.reads) + sum(factor.requires_grad for factor in product.reads)
    return factors * product.macs


def _linear(call: Call) -> list[Product]:
    source = call.argument(0, "input")
    return [Product(macs=_output(call).numel() * source.shape[-1], reads=(source,))]


def _bilinear(call: Call) -> list[Product]:
    one, other, weight = (call.argument(i, n) for i, n in enumerate(("input1", "input2", "weight")))
    macs = _output(call).numel() * weight[0].numel()
    return [Product(macs=macs, reads=(one, other))]


def _convolution(call: Call) -> list[Product]:
    source, weight = call.argument(0, "input"), call.argument(1, "weight")
    # every weight once per position: of the output, or of the input where that is spread out
    places = source if "transpose" in call.name else _output(call)
    return [Product(macs=places.numel() * weight[0].numel(), reads=(source,))]


def _sequence(call: Call) -> list[Product] | None:
    if is_packed(call.args):
        return None
    source, _, parameters, _, layers, _, _, bidirectional, _ = call.args
    directions = 2 if bidirectional else 1
    per_direction = len(parameters) // (layers * directions)
    first = [parameters[direction * per_direction] for direction in range(directions)]
    steps = source.shape[:-1].numel()
    every = sum(weight.numel() for weight in parameters if weight.ndim >= 2)
    reading = sum(weight.numel() for weight in first)
    return [Product(macs=steps * reading, reads=(source,)), Product(macs=steps * (every - reading))]


def _cell(call: Call) -> list[Product]:
    source, state, of_input, of_state = call.args[:4]
    state = state[0] if isinstance(state, (list, tuple)) else state
    samples = source.shape[:-1].numel()
    return [
        Product(macs=samples * of_input.numel(), reads=(source,)),
        Product(macs=samples * of_state.numel(), reads=(state,)),
    ]


def _multi_head_attention(call: Call) -> list[Product]:
    query, key, value = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    width = query.shape[-1]
    targets, sources = query.shape[:-1].numel(), key.shape[:-1].numel()
    samples = query.shape[1] if query.ndim == 3 else 1
    return [
        Product(macs=targets * width * width, reads=(query,)),
        Product(macs=sources * width * key.shape[-1], reads=(key,)),
        Product(macs=sources * width * value.shape[-1], reads=(value,)),
        Product(macs=2 * targets * (sources / samples) * width),
        Product(macs=targets * width * width),
    ]


def _dot_product_attention(call: Call) -> list[Product]:
    query, key, value = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return [
        Product(macs=pairs * query.shape[-1], reads=(query, key)),
        Product(macs=pairs * value.shape[-1], reads=(value,)),
    ]


def _matrix_product(call: Call) -> list[Product]:
    one, other = call.args[0], call.argument(1, _SECOND.get(call.name, "other"))
    if call.name == "rmatmul":
        one, other = other, one
    return [Product(macs=_output(call).numel() * one.shape[-1], reads=(one, other))]


def _added_product(call: Call) -> list[Product]:
    first, second = _ADDED[call.name]
    one, other = call.argument(1, first), call.argument(2, second)
    summed = len(one) if call.name == "addbmm" else 1
    macs = _output(call).numel() * one.shape[-1] * summed
    return [Product(macs=macs, reads=(one, other))]


def _outer_product(call: Call) -> list[Product]:
    reads = (call.argument(0, "input"), call.argument(1, "vec2"))
    return [Product(macs=_output(call).numel(), reads=reads)]


def _tensor_product(call: Call) -> list[Product]:
    one, other = call.argument(0, "a"), call.argument(1, "b")
    # |a| = m k, |b| = k n, |out| = m n
    contracted = math.sqrt(one.numel() * other.numel() / max(_output(call).numel(), 1))
    return [Product(macs=_output(call).numel() * contracted, reads=(one, other))]


def _einsum(call: Call) -> list[Product] | None:
    equation, reads = call.args[0], list(tensors_in(call.args))
    if not isinstance(equation, str) or len(reads) != 2:
        return None if len(reads) != 1 else []
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "->" not in equation:
        output = "".join(c for c in inputs if c.isalpha() and inputs.count(c) == 1)
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, reads, strict=True):
        before, _, after = term.partition("...")
        sizes.update(zip(before, operand.shape, strict=False))
        sizes.update(zip(reversed(after), reversed(operand.shape), strict=False))
    summed = math.prod(size for letter, size in sizes.items() if letter not in output)
    return [Product(macs=_output(call).numel() * summed, reads=tuple(reads))]


def _output(call: Call) -> Tensor:
    return call.outputs[0]


_SECOND: Mapping[str, str] = {"mm": "mat2", "bmm": "mat2", "mv": "vec", "dot": "tensor"}
_ADDED: Mapping[str, Sequence[str]] = {
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
}
_FORMULAS: Mapping[str, Callable[[Call], list[Product] | None]] = {
    "linear": _linear,
    "bilinear": _bilinear,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(SEQUENCES, _sequence),
    **dict.fromkeys(CELLS, _cell),
    "multi_head_attention_forward": _multi_head_attention,
    "scaled_dot_product_attention": _dot_product_attention,
    **dict.fromkeys(["matmul", "rmatmul", "imatmul", *_SECOND, "vdot", "inner"], _matrix_product),
    **dict.fromkeys(_ADDED, _added_product),
    **dict.fromkeys(["outer", "ger"], _outer_product),
    "tensordot": _tensor_product,
    "einsum": _einsum,
}
