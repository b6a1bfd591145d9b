"""Multiply-accumulates of torch functions, from the shapes they are called with.

Counted: whatever multiplies by a matrix: linear layers, convolutions, recurrent kernels, attention
(projections and products), matrix products of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

from minaction.energy.functions import CELLS, CONVOLUTIONS, SEQUENCES, is_packed
from minaction.energy.scale_rules import Call, tensors_in

Shared = Callable[[Tensor, Tensor], Tensor]
"""Of two indicators of non-zeros: the number of MACs both of whose factors are not 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """Some of the MACs of one call, over the whole batch.

    Attributes:
        macs: Their number.
        backward: MACs of the gradients with respect to its factors, as many again for each factor
            that needs one.
        reads: Activations among the factors; what a fused kernel keeps inside is not there.
        shared: How many MACs are left where both `reads` are not 0.
        taps: Of a convolution, for each axis of positions: how many of the kernel's elements meet
            each position. The MACs that an element takes part in depend on where it is.
        fan: Of a convolution, output channels that an element is multiplied for.
    """

    macs: int
    backward: int
    reads: tuple[Tensor, ...] = ()
    shared: Shared | None = None
    taps: tuple[np.ndarray, ...] | None = None
    fan: int = 1


def operation_name(call: Call) -> str:
    """Return a function's name without underscores; operators of other libraries in full."""
    func = call.func
    if not isinstance(func, (OpOverload, OpOverloadPacket)):
        return call.name
    qualified = func.name() if isinstance(func, OpOverload) else func._qualified_op_name
    namespace, _, name = qualified.partition("::")
    return name.partition(".")[0].strip("_") if namespace == "aten" else qualified


def products_of(call: Call) -> list[Product] | None:
    """Return the MACs of a call; None where there is no formula for the function or its arguments.

    A causal mask is not taken into account: attention counts as if every position saw all. A
    product of complex numbers is four of real ones.
    """
    formula = _FORMULAS.get(operation_name(call))
    if formula is None:
        return None
    try:
        return formula(call)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return None  # arguments of another kind: sparse, nested, or in a form we do not know


def _product(macs: int, one: Tensor, other: Tensor, **known: Any) -> Product:
    """Return the MACs of two factors that are both at hand."""
    if one.is_complex() and other.is_complex():
        macs, known = 4 * macs, {"reads": known.get("reads", ())}
    return Product(macs=macs, backward=_gradients(one, other) * macs, **known)


def _gradients(*factors: Tensor | None) -> int:
    return sum(factor is not None and factor.requires_grad for factor in factors)


def _linear(call: Call) -> list[Product]:
    source, weight = call.argument(0, "input"), call.argument(1, "weight")
    macs = _output(call).numel() * source.shape[-1]
    return [_product(macs, source, weight, reads=(source,))]


def _bilinear(call: Call) -> list[Product]:
    one, other, weight = (call.argument(i, n) for i, n in enumerate(("input1", "input2", "weight")))
    macs = _output(call).numel() * weight[0].numel()
    return [
        Product(
            macs=macs,
            backward=_gradients(one, other, weight) * macs,
            reads=(one, other),
            shared=lambda a, b: (a.sum(-1) * b.sum(-1)).sum() * len(weight),
        )
    ]


def _convolution(call: Call) -> list[Product]:
    source, weight = call.argument(0, "input"), call.argument(1, "weight")
    name, output = operation_name(call), _output(call)
    transposed = "transpose" in name or (name == "convolution" and call.argument(6, "transposed"))
    # every weight once per position: of the output, or of the input where that is spread out
    places = source if transposed else output
    macs = places.numel() * weight[0].numel()
    axes = weight.ndim - 2
    if transposed:
        return [_product(macs, source, weight, reads=(source,))]
    groups = source.shape[-axes - 1] // weight.shape[1]
    stride, padding, dilation = (
        call.argument(position, argument, default)
        for position, argument, default in (
            (3, "stride", 1),
            (4, "padding", 0),
            (5, "dilation", 1),
        )
    )
    taps = tuple(
        _taps(source.shape[axis - axes], output.shape[axis - axes], kernel, s, p, d)
        for axis, (kernel, s, p, d) in enumerate(
            zip(
                weight.shape[2:],
                _per_axis(stride, axes),
                _per_axis(padding, axes),
                _per_axis(dilation, axes),
                strict=True,
            )
        )
    )
    fan = len(weight) // groups
    return [_product(macs, source, weight, reads=(source,), taps=taps, fan=fan)]


def _per_axis(value: Any, axes: int) -> Sequence[Any]:
    values = [value] if isinstance(value, (int, str)) else list(value)
    return values * axes if len(values) == 1 else values


def _taps(
    inputs: int, outputs: int, kernel: int, stride: int, padding: Any, gap: int
) -> np.ndarray:
    """Return how many elements of the kernel meet each input position along one axis."""
    if padding == "same":
        padding = gap * (kernel - 1) // 2
    elif padding == "valid":
        padding = 0
    starts = np.arange(outputs)[:, None] * stride - padding
    met = (starts + np.arange(kernel) * gap).ravel()
    return np.bincount(met[(met >= 0) & (met < inputs)], minlength=inputs)


def _convolution_over_time(call: Call) -> list[Product]:
    source, weight = call.argument(0, "input"), call.argument(1, "weight")
    macs = _output(call).numel() * weight[..., 0].numel()
    return [_product(macs, source, weight, reads=(source,))]


def _sequence(call: Call) -> list[Product]:
    if is_packed(call.args):
        source, lengths, states, parameters, _, layers, _, _, bidirectional = call.args
        steps, sequences = len(source), int(lengths[0])
    else:
        source, states, parameters, _, layers, _, _, bidirectional, batch_first = call.args
        steps = source.shape[:-1].numel()
        sequences = (steps // source.shape[1 if batch_first else 0]) if source.ndim == 3 else 1
    directions = 2 if bidirectional else 1
    per_direction = len(parameters) // (layers * directions)
    first = states[0] if isinstance(states, (list, tuple)) else states
    products, given = [], source.requires_grad  # whether what the layer reads needs a gradient
    for layer in range(layers):
        needed = False
        for direction in range(directions):
            start = (layer * directions + direction) * per_direction
            weights = parameters[start : start + per_direction]
            inward, recurrent, *projections = [weight for weight in weights if weight.ndim >= 2]
            learnt = given or any(weight.requires_grad for weight in weights)
            passed_on = steps - (0 if first.requires_grad else sequences)  # states with gradients
            products += [
                Product(
                    macs=steps * inward.numel(),
                    backward=steps * inward.numel() * (inward.requires_grad + given),
                    reads=() if layer else (source,),
                ),
                Product(
                    macs=steps * recurrent.numel(),
                    backward=recurrent.numel()
                    * (steps * recurrent.requires_grad + passed_on * learnt),
                ),
                *(
                    Product(
                        macs=steps * weight.numel(),
                        backward=steps * weight.numel() * (weight.requires_grad + learnt),
                    )
                    for weight in projections
                ),
            ]
            needed = needed or learnt
        given = needed
    return products


def _cell(call: Call) -> list[Product]:
    source, state, of_input, of_state = call.args[:4]
    state = state[0] if isinstance(state, (list, tuple)) else state
    samples = source.shape[:-1].numel()
    return [
        _product(samples * of_input.numel(), source, of_input, reads=(source,)),
        _product(samples * of_state.numel(), state, of_state, reads=(state,)),
    ]


def _multi_head_attention(call: Call) -> list[Product]:
    query, key, value = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    inward, outward = call.argument(5, "in_proj_weight"), call.argument(11, "out_proj_weight")
    apart = [call.argument(18 + i, f"{n}_proj_weight") for i, n in enumerate("qkv")]
    weights = [inward] * 3 if apart[0] is None else apart
    width = query.shape[-1]
    targets, sources = query.shape[:-1].numel(), key.shape[:-1].numel()
    samples = query.shape[1] if query.ndim == 3 else 1
    # positions that are added to the keys, apart from the samples'
    added = (call.argument(7, "bias_k") is not None) + bool(call.argument(9, "add_zero_attn"))
    products = [
        _product(rows * width * tensor.shape[-1], tensor, weight, reads=(tensor,))
        for rows, tensor, weight in zip(
            (targets, sources, sources), (query, key, value), weights, strict=True
        )
    ]
    projected = [_gradients(t, w) > 0 for t, w in zip((query, key, value), weights, strict=True)]
    scores = targets * (sources // samples + added) * width
    products += _inner_attention(scores, scores, *projected)
    macs = targets * width * width
    return [
        *products,
        Product(macs=macs, backward=macs * (outward.requires_grad + any(projected))),
    ]


def _inner_attention(
    scored: int, gathered: int, query: bool, key: bool, value: bool
) -> list[Product]:
    """Return the two products of attention, by which of their factors need gradients."""
    return [
        Product(macs=scored, backward=scored * (query + key)),
        Product(macs=gathered, backward=gathered * ((query or key) + value)),
    ]


def _dot_product_attention(call: Call) -> list[Product]:
    query, key, value = (call.argument(i, n) for i, n in enumerate(("query", "key", "value")))
    pairs = query.shape[:-1].numel() * key.shape[-2]
    grouped = query.shape[-3] // key.shape[-3] if query.ndim > 3 else 1

    def shared(one: Tensor, other: Tensor) -> Tensor:
        keys = other.sum(-2)
        return (one.sum(-2) * (keys if grouped == 1 else keys.repeat_interleave(grouped, -2))).sum()

    gathered = pairs * value.shape[-1]
    return [
        _product(pairs * query.shape[-1], query, key, reads=(query, key), shared=shared),
        Product(
            macs=gathered,
            backward=gathered * ((_gradients(query, key) > 0) + _gradients(value)),
            reads=(value,),
        ),
    ]


def _fused_encoder_layer(call: Call) -> list[Product]:
    source, width = call.args[0], call.args[1]
    inward, outward, expand, contract = (call.args[i] for i in (3, 5, 14, 16))
    rows, given = source.shape[:-1].numel(), source.requires_grad
    scores = rows * source.shape[-2] * width
    learnt = any(weight.requires_grad for weight in (inward, outward, expand, contract)) or given
    return [
        _product(rows * inward.numel(), source, inward, reads=(source,)),
        *_inner_attention(scores, scores, learnt, learnt, learnt),
        *(
            Product(
                macs=rows * weight.numel(),
                backward=rows * weight.numel() * (weight.requires_grad + learnt),
            )
            for weight in (outward, expand, contract)
        ),
    ]


def _fused_attention(call: Call) -> list[Product]:
    query, key, value, width = call.args[:4]
    inward, outward = call.args[5], call.args[7]
    rows, learnt = query.shape[:-1].numel(), _gradients(query, inward, outward) > 0
    scores = rows * key.shape[-2] * width
    sources = (rows, key.shape[:-1].numel(), value.shape[:-1].numel())
    macs = rows * outward.numel()
    return [
        *(
            _product(n * width * width, tensor, inward, reads=(tensor,))
            for n, tensor in zip(sources, (query, key, value), strict=True)
        ),
        *_inner_attention(scores, scores, learnt, learnt, learnt),
        Product(macs=macs, backward=macs * (outward.requires_grad + learnt)),
    ]


def _matrix_product(call: Call) -> list[Product]:
    name = operation_name(call)
    one, other = call.args[0], call.argument(1, _SECOND.get(name, "other"))
    if name == "rmatmul":
        one, other = other, one
    macs = _output(call).numel() * one.shape[-1]
    shared = _SHARED.get(name, _shared_rows)
    return [_product(macs, one, other, reads=(one, other), shared=shared)]


def _shared_rows(one: Tensor, other: Tensor) -> Tensor:
    one = one if one.ndim > 1 else one.unsqueeze(0)
    other = other if other.ndim > 1 else other.unsqueeze(1)
    return (one.sum(-2) * other.sum(-1)).sum()


def _shared_inner(one: Tensor, other: Tensor) -> Tensor:
    rows = [tensor.flatten(0, -2).sum(0) if tensor.ndim > 1 else tensor for tensor in (one, other)]
    return (rows[0] * rows[1]).sum()


def _added_product(call: Call) -> list[Product]:
    name = operation_name(call)
    first, second = _ADDED[name]
    one, other = call.argument(1, first), call.argument(2, second)
    summed = len(one) if name == "addbmm" else 1
    macs = _output(call).numel() * one.shape[-1] * summed
    return [_product(macs, one, other, reads=(one, other), shared=_shared_rows)]


def _outer_product(call: Call) -> list[Product]:
    one, other = call.argument(0, "input"), call.argument(1, "vec2")
    macs = _output(call).numel()
    return [_product(macs, one, other, reads=(one, other), shared=lambda a, b: a.sum() * b.sum())]


def _tensor_product(call: Call) -> list[Product]:
    one, other = call.argument(0, "a"), call.argument(1, "b")
    # |a| = m k, |b| = k n, |out| = m n
    contracted = math.isqrt(one.numel() * other.numel() // max(_output(call).numel(), 1))
    rest = (call.args[2:], call.kwargs)

    def shared(left: Tensor, right: Tensor) -> Tensor:
        named = {key: value for key, value in rest[1].items() if key == "dims"}
        return torch.tensordot(left, right, *rest[0], **named).sum()

    macs = _output(call).numel() * contracted
    return [_product(macs, one, other, reads=(one, other), shared=shared)]


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
    macs = _output(call).numel() * summed
    return [
        _product(
            macs,
            *reads,
            reads=tuple(reads),
            shared=lambda one, other: torch.einsum(f"{inputs}->", one, other),
        )
    ]


def _output(call: Call) -> Tensor:
    return call.outputs[0]


_SHARED: Mapping[str, Shared] = {
    "inner": _shared_inner,
    "linalg_vecdot": lambda one, other: (one * other).sum(),
}
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
    **dict.fromkeys([*CONVOLUTIONS, "convolution"], _convolution),
    "conv_tbc": _convolution_over_time,
    **dict.fromkeys(SEQUENCES, _sequence),
    **dict.fromkeys(CELLS, _cell),
    "multi_head_attention_forward": _multi_head_attention,
    "scaled_dot_product_attention": _dot_product_attention,
    "transformer_encoder_layer_fwd": _fused_encoder_layer,
    "native_multi_head_attention": _fused_attention,
    **dict.fromkeys(["matmul", "rmatmul", "imatmul", "linalg_matmul"], _matrix_product),
    **dict.fromkeys([*_SECOND, "vdot", "inner", "linalg_vecdot"], _matrix_product),
    **dict.fromkeys(_ADDED, _added_product),
    **dict.fromkeys(["outer", "ger"], _outer_product),
    "tensordot": _tensor_product,
    "einsum": _einsum,
}
