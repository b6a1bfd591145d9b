"""Every formula against a slow, obvious twin that multiplies element by element."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minaction.measure.flops import count_macs


def randn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sparse(*shape, seed=1):
    """Activations of which about half are 0."""
    return randn(*shape, seed=seed).relu()


class Of(nn.Module):
    """A function of the inputs and of weights `w`, as a model."""

    def __init__(self, function, *weights):
        super().__init__()
        self.function = function
        self.w = nn.ParameterList(nn.Parameter(randn(*shape, seed=7)) for shape in weights)

    def forward(self, *x):
        return self.function(*x, *self.w)


CONVOLUTIONS = {
    "1-D": (F.conv1d, (4, 9), (6, 4, 3), {}),
    "padded": (F.conv2d, (2, 6, 7), (3, 2, 3, 3), {"padding": 1}),
    "strided": (F.conv2d, (2, 9, 8), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    "dilated": (F.conv1d, (2, 11), (3, 2, 3), {"dilation": 3, "padding": 2}),
    "grouped": (F.conv2d, (4, 6, 6), (6, 2, 3, 3), {"groups": 2, "padding": 2}),
    "depthwise": (F.conv2d, (4, 6, 6), (4, 1, 3, 3), {"groups": 4}),
    "same": (F.conv1d, (2, 8), (3, 2, 4), {"padding": "same", "dilation": 2}),
    "valid": (F.conv1d, (2, 8), (3, 2, 4), {"padding": "valid"}),
    "3-D": (F.conv3d, (2, 4, 5, 4), (3, 2, 2, 3, 2), {"padding": 1, "stride": 2}),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions(kind):
    function, shape, weight, options = CONVOLUTIONS[kind]
    x = sparse(3, *shape)
    count = count_macs(Of(lambda x, w: function(x, w, **options), weight), x)
    output = function(x, torch.zeros(weight), **options)
    assert count.macs_dense == output[0].numel() * math.prod(weight[1:])
    # as many as the output of a convolution of ones with ones, where neither is a 0
    met = function((x != 0).double(), torch.ones(weight, dtype=torch.double), **options)
    assert count.macs_effective == float(met.sum()) / 3
    assert count.macs_backward == count.macs_dense  # x needs no gradient


TRANSPOSED = {
    "1-D": (F.conv_transpose1d, (4, 9), (4, 6, 3), {"stride": 2}),
    "grouped": (F.conv_transpose2d, (4, 3, 5), (4, 2, 3, 3), {"groups": 2, "padding": 1}),
    "3-D": (F.conv_transpose3d, (2, 3, 3, 3), (2, 3, 2, 2, 2), {"output_padding": 1, "stride": 2}),
}


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_transposed_convolutions(kind):
    function, shape, weight, options = TRANSPOSED[kind]
    x = sparse(2, *shape)
    count = count_macs(Of(lambda x, w: function(x, w, **options), weight), x)
    each = math.prod(weight[1:])
    assert count.macs_dense == math.prod(shape) * each
    assert count.macs_effective == int(x.count_nonzero()) * each / 2
    assert 2 * 2 * count.macs_dense == flops(lambda: function(x, torch.ones(weight), **options))


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def slow_einsum(equation, *operands):
    """MACs, and those of them whose factors are both not 0, by going through all indices."""
    terms = equation.partition("->")[0].split(",")
    letters = sorted(set("".join(terms)))
    sizes = {
        letter: size
        for term, operand in zip(terms, operands, strict=True)
        for letter, size in zip(term, operand.shape, strict=True)
    }
    every = left = 0
    for place in itertools.product(*(range(sizes[letter]) for letter in letters)):
        at = dict(zip(letters, place, strict=True))
        every += 1
        left += all(
            float(operand[tuple(at[letter] for letter in term)]) != 0
            for term, operand in zip(terms, operands, strict=True)
        )
    return every, left


A, B = sparse(2, 3, 4), sparse(2, 4, 5, seed=2)
ROW, OTHER = sparse(6), sparse(6, seed=3)
PRODUCTS = {
    "bmm": (torch.bmm, "bij,bjk", (A, B)),
    "matmul": (torch.matmul, "bij,bjk", (A, B)),
    "operator": (lambda a, b: a @ b, "bij,bjk", (A, B)),
    "broadcast": (torch.matmul, "bij,jk", (A, B[0])),
    "broadcast left": (torch.matmul, "ij,bjk", (A[0], B)),
    "vector": (torch.matmul, "bij,j", (A, B[0, :, 0])),
    "mm": (torch.mm, "ij,jk", (A[0], B[0])),
    "mv": (torch.mv, "ij,j", (A[0], B[0, :, 0])),
    "dot": (torch.dot, "i,i", (ROW, OTHER)),
    "vdot": (torch.vdot, "i,i", (ROW, OTHER)),
    "inner": (torch.inner, "bij,kj", (A, B[0].T)),
    "vecdot": (torch.linalg.vecdot, "bij,bij", (A, B[:, :, :4].mT.roll(1, 2)[:, :3])),
    "outer": (torch.outer, "i,j", (ROW, OTHER[:4])),
    "baddbmm": (lambda a, b: torch.baddbmm(torch.ones(1), a, b), "bij,bjk", (A, B)),
    "addbmm": (lambda a, b: torch.addbmm(torch.ones(1), a, b), "bij,bjk", (A, B)),
    "addmm": (lambda a, b: torch.addmm(torch.ones(1), a, b), "ij,jk", (A[0], B[0])),
    "addmv": (lambda a, b: torch.addmv(torch.ones(1), a, b), "ij,j", (A[0], B[0, :, 0])),
    "tensordot": (lambda a, b: torch.tensordot(a, b, 1), "bij,jk", (A, B[0])),
    "tensordot of axes": (lambda a, b: torch.tensordot(a, b, dims=([0, 2], [0, 1])),
                          "bij,bjk", (A, B)),
    "einsum": (lambda a, b: torch.einsum("bij,bjk->bik", a, b), "bij,bjk", (A, B)),
    "einsum without an arrow": (lambda a, b: torch.einsum("bij,bjk", a, b), "bij,bjk", (A, B)),
    "einsum of a sum": (lambda a, b: torch.einsum("bij,bjk->b", a, b), "bij,bjk", (A, B)),
    "einsum with dots": (lambda a, b: torch.einsum("...j,jk", a, b), "bij,jk", (A, B[0])),
    "aten": (torch.ops.aten.bmm, "bij,bjk", (A, B)),
    "aten overload": (torch.ops.aten.bmm.default, "bij,bjk", (A, B)),
}  # fmt: skip


@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_of_two_activations(kind):
    function, equation, inputs = PRODUCTS[kind]
    count = count_macs(Of(function), inputs)
    samples = len(inputs[0])
    every, left = slow_einsum(equation, *inputs)
    assert samples * count.macs_dense == every
    assert samples * count.macs_effective == pytest.approx(left, rel=1e-12)
    assert left < every
    assert not count.uncounted
    assert count.macs_backward == 0  # nothing here needs a gradient


@pytest.mark.parametrize("kind", PRODUCTS)
def test_gradients_of_both_factors(kind):
    function, equation, (a, b) = PRODUCTS[kind]

    def learnt(a, b, scale, shift):
        return function(a * scale, b * shift)

    count = count_macs(Of(learnt, (1,), (1,)), (a, b))
    assert len(a) * count.macs_backward == 2 * slow_einsum(equation, a, b)[0]


def test_bilinear():
    x, y = sparse(3, 4), sparse(3, 5, seed=2)
    count = count_macs(nn.Bilinear(4, 5, 6), (x, y))
    assert count.macs_dense == 4 * 5 * 6
    pairs = (x != 0).sum(1) * (y != 0).sum(1)
    assert count.macs_effective == 6 * int(pairs.sum()) / 3


@pytest.mark.parametrize("heads", [2, 4])
def test_dot_product_attention(heads):
    """Two groups of keys and values, each shared by the heads of its group."""
    query, key, value = sparse(3, heads, 5, 8), sparse(3, 2, 7, 8, seed=2), sparse(3, 2, 7, 6)
    many = {"enable_gqa": True} if heads > 2 else {}
    attention = Of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **many))
    count = count_macs(attention, (query, key, value))
    assert count.macs_dense == heads * 5 * 7 * (8 + 6)
    keys, values = (t.repeat_interleave(heads // 2, 1) for t in (key, value))
    scores = slow_einsum("bhic,bhjc", query, keys)[1]
    gathered = 5 * int(values.count_nonzero())  # no weight of a softmax is 0
    assert 3 * count.macs_effective == pytest.approx(scores + gathered)


@pytest.mark.parametrize("added", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 4}])
def test_multi_head_attention(added, sizes):
    module = nn.MultiheadAttention(8, 2, batch_first=True, **added, **sizes)
    inputs = (randn(3, 5, 8), randn(3, 7, sizes.get("kdim", 8)), randn(3, 7, sizes.get("vdim", 8)))
    count = count_macs(module, inputs)
    projections = 5 * 8 * 8 + 7 * 8 * (inputs[1].shape[2] + inputs[2].shape[2])
    inner, outward = 2 * 5 * (7 + len(added)) * 8, 5 * 8 * 8
    assert count.macs_dense == projections + inner + outward
    assert count.macs_backward == projections + 2 * (inner + outward)


RECURRENT = [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)]


@pytest.mark.parametrize(("kind", "gates"), RECURRENT)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_kernels(kind, gates, batch_first, bidirectional):
    model = kind(5, 7, num_layers=2, batch_first=batch_first, bidirectional=bidirectional)
    x = randn(4, 4, 5)  # 4 samples of 4 steps, whichever comes first
    count = count_macs(model, x)
    directions = 1 + bidirectional
    first = 4 * directions * gates * 7 * 5
    second = 4 * directions * gates * 7 * (7 * directions)
    hidden = 2 * 4 * directions * gates * 7 * 7
    assert count.macs_dense == first + second + hidden
    given = hidden // 4  # of the states before the first step, which need no gradient
    assert count.macs_backward == first + 2 * second + 2 * hidden - given
    assert not count.uncounted


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3)])
def test_recurrent_kernels_as_torch_executes_them(kind, gates):
    model, x = kind(5, 7, num_layers=2, bidirectional=True), randn(6, 3, 5)
    count = count_macs(model, x)
    total = flops(lambda: model(x)[0].sum().backward())
    assert 2 * len(x) * count.macs_training == total


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_an_lstm_with_projections():
    model = nn.LSTM(5, 8, proj_size=3, batch_first=True)
    count = count_macs(model, randn(2, 6, 5))
    assert count.macs_dense == 6 * (4 * 8 * (5 + 3) + 8 * 3)


def test_packed_sequences_count_the_steps_that_there_are():
    lengths = torch.tensor([5, 3, 2])
    packed = nn.utils.rnn.pack_padded_sequence(randn(3, 5, 4), lengths, batch_first=True)
    count = count_macs(nn.GRU(4, 6), packed)
    steps = int(lengths.sum())
    macs = 3 * 6 * (4 + 6) * steps
    assert count.samples * count.macs_dense == macs
    assert count.samples * count.macs_backward == 3 * 6 * (4 * steps + 6 * (2 * steps - 3))


def test_cells_read_the_zeros_of_their_state():
    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(3, 4)

        def forward(self, x):
            state = x.new_zeros(len(x), 4)
            for step in x.unbind(1):
                state = self.cell(step, state)
            return state

    count = count_macs(Cells(), randn(2, 5, 3))
    assert count.macs_dense == 5 * 3 * 4 * (3 + 4)
    assert count.macs_effective == 5 * 3 * 4 * 3 + 4 * 3 * 4 * 4


def test_complex_products_are_four_real_ones():
    a, b = torch.complex(A, A), torch.complex(B, B)
    assert count_macs(Of(torch.bmm), (a, b)).macs_dense == 4 * 3 * 4 * 5


def test_weights_count_as_if_they_held_no_zeros():
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.zero_()
    x = sparse(5, 4)
    assert count_macs(model, x).macs_effective == 3 * int(x.count_nonzero()) / 5

    def turned(x: Tensor, w: Tensor) -> Tensor:
        return x @ (w.relu() / 2).T

    assert count_macs(Of(turned, (3, 4)), x).macs_effective == 3 * int(x.count_nonzero()) / 5
