"""What a count of MACs covers, what it lists as not counted, and what it refuses."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import minaction as ma
from minaction.errors import InputError, TapeError
from minaction.measure.flops import count_macs

UNSEEN = "functions that cannot be seen (custom autograd functions, extensions)"


def randn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = randn(2, 3, 4)
LINEAR = 3 * 4 * 4
"""MACs per sample of a linear layer of a `Twin` on `X`."""


class Twin(nn.Module):
    """Two linear layers of 4 units and whatever a test does with them."""

    def __init__(self, function):
        super().__init__()
        self.one, self.two, self.function = nn.Linear(4, 4), nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self, x)


def count(function, x=X, **options):
    return count_macs(Twin(function), x, **options)


# --- training steps


def test_a_first_layer_needs_no_gradient_of_its_input():
    found = count(lambda m, x: m.two(m.one(x).relu()))
    assert found.macs_dense == found.macs_training_forward == 2 * LINEAR
    assert found.macs_backward == LINEAR + 2 * LINEAR
    assert found.macs_training == 5 * LINEAR


def test_a_sample_that_needs_a_gradient_gets_one():
    x = randn(2, 3, 4).requires_grad_()
    assert count(lambda m, x: m.two(m.one(x)), x).macs_backward == 4 * LINEAR


def test_a_frozen_layer_passes_gradients_on_and_has_none():
    def frozen(which):
        model = Twin(lambda m, x: m.two(m.one(x)))
        getattr(model, which).requires_grad_(False)
        return count_macs(model, X).macs_backward

    assert frozen("one") == LINEAR  # of the second's weight
    assert frozen("two") == 2 * LINEAR  # through the second, and of the first's weight


@pytest.mark.parametrize(
    ("function", "backward"),
    [
        (lambda m, x: m.two(m.one(x).detach()), LINEAR),
        (lambda m, x: m.two(torch.no_grad()(m.one)(x)), LINEAR),
        (lambda m, x: (m.one(x), m.two(x))[1], LINEAR),
        (lambda m, x: m.two(m.one(x) * 0 + m.one(x)), 2 * LINEAR + 2 * LINEAR),
        (lambda m, x: m.two(m.one(x).relu_()), LINEAR + 2 * LINEAR),
        (lambda m, x: {"loss": None, "logits": [m.two(m.one(x))]}, LINEAR + 2 * LINEAR),
    ],
    ids=["detached", "without gradients", "unused", "twice", "in place", "nested output"],
)
def test_only_gradients_that_reach_the_output_are_counted(function, backward):
    found = count(function)
    assert found.macs_training_forward >= 2 * LINEAR
    assert found.macs_backward == backward
    assert not found.uncounted


def test_training_mode_is_what_is_counted():
    def auxiliary(model, x):
        return (model.one(x), model.two(x)) if model.training else model.one(x)

    found = count(auxiliary)
    assert (found.macs_dense, found.macs_training_forward) == (LINEAR, 2 * LINEAR)
    assert found.macs_backward == 2 * LINEAR
    assert [(row.name, row.macs_dense, row.macs_backward) for row in found.layers] == [
        ("one", LINEAR, LINEAR), ("two", 0, LINEAR),
    ]  # fmt: skip


def test_the_training_step_can_be_left_out():
    found = count(lambda m, x: m.one(x), training=False)
    assert found.macs_training is found.macs_backward is found.training_bytes is None
    assert found.layers[0].macs_backward is None


# --- effective MACs, spikes


def test_zeros_do_not_count_wherever_they_come_from():
    x = torch.zeros(2, 3, 4)
    x[0, 0, 0] = 3
    assert count(lambda m, x: m.one(x), x).macs_effective == 4 / 2
    assert count(lambda m, x: m.one(x.view(-1, 4).neg_().view(2, 3, 4)), x).macs_effective == 2
    assert count(lambda m, x: m.one(F.max_pool1d(x, 2, 1, 1)[..., :4]), x).macs_effective == 4


def test_a_change_in_place_through_a_view_is_seen():
    def overwritten(model, x):
        y = x + 1
        first = model.one(y)
        y.view(-1)[:12] = 0
        return first + model.two(y)

    assert count(overwritten, torch.ones(2, 3, 4)).macs_effective == LINEAR + LINEAR / 2


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_what_reads_spikes_accumulates(low):
    spikes = torch.where(randn(2, 3, 4) > 0, 1.0, low)
    found = count(lambda m, x: m.two(m.one(x)), spikes)
    assert found.acs_effective == 4 * int(spikes.count_nonzero()) / 2
    assert found.macs_effective == LINEAR
    assert found.macs_dense == 2 * LINEAR


def test_a_single_element_that_is_no_spike_makes_macs():
    x = torch.ones(2, 3000, 4)
    assert count(lambda m, x: m.one(x), x).macs_effective == 0
    x[1, -1, -1] = 0.5
    assert count(lambda m, x: m.one(x), x).acs_effective == 0


def test_spiking_neurons_over_time():
    snntorch = pytest.importorskip("snntorch")

    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.outward = nn.Linear(4, 6), nn.Linear(6, 2)
            self.lif = snntorch.Leaky(beta=0.5)

        def forward(self, x):
            state, spikes = self.lif.init_leaky(), []
            for step in x.unbind(1):
                spike, state = self.lif(self.inward(step), state)
                spikes.append(spike)
            return torch.stack([self.outward(spike) for spike in spikes]), torch.stack(spikes)

    model, x = Spiking(), 3 * randn(2, 3, 4)
    found = count_macs(model, x)
    with torch.no_grad():
        spikes = int(model(x)[1].sum())
    assert spikes > 0
    assert found.macs_dense == 3 * (4 * 6 + 6 * 2)
    assert (found.macs_effective, found.acs_effective) == (3 * 4 * 6, spikes * 2 / 2)
    # snnTorch's surrogate gradients are custom autograd functions
    assert all(name.startswith("backward of ") for name in found.uncounted)


# --- what is not counted


class Gram(torch.autograd.Function):
    """A product whose gradient is written by hand."""

    @staticmethod
    def forward(ctx, x):
        return x @ x.mT

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@torch.library.custom_op("minaction_tests::linear", mutates_args=())
def _linear(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


def _gram(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


def scripted(function):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return torch.jit.script(function)


_scripted = scripted(_gram)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda m, x: torch.fft.ifft(torch.fft.fft(m.one(x))).real, {"fft_fft", "fft_ifft"}),
        (lambda m, x: torch.linalg.svd(m.one(x))[1], {"linalg_svd"}),
        (lambda m, x: torch.cdist(m.one(x), x), {"cdist"}),
        (lambda m, x: torch.linalg.multi_dot([m.one(x)[0], x[0].T, x[0]]), {"linalg_multi_dot"}),
        (lambda m, x: torch.einsum("bij,bkj,bkl->bil", m.one(x), x, x), {"einsum"}),
        (lambda m, x: torch.ops.minaction_tests.linear(m.one(x.detach()).detach()),
         {"minaction_tests::linear"}),
        (lambda m, x: m.one(_scripted(x)[..., :1] + x), {UNSEEN}),
        (lambda m, x: _scripted(m.one(x)), {UNSEEN}),
        (lambda m, x: m.one(torch.from_numpy(x.numpy() @ x.numpy().swapaxes(1, 2))[..., :1] + x),
         {UNSEEN}),
        (lambda m, x: Gram.apply(m.one(x)), {"backward of Gram (custom autograd function)"}),
        (lambda m, x: checkpoint(m.one, m.two(x), use_reentrant=True),
         {"backward of CheckpointFunction (custom autograd function)"}),
    ],
    ids="fft svd cdist chain einsum custom script last numpy autograd checkpoint".split(),
)  # fmt: skip
def test_a_costly_function_is_never_0_in_silence(function, names):
    found = count(function)
    assert set(found.uncounted) == names
    assert found.macs_dense >= LINEAR
    for name in names:
        assert name.split()[0] in " ".join(str(found).split())
        assert name in found.reason


def test_products_inside_a_transform_are_listed():
    def transformed(model, x):
        return torch.func.vmap(lambda row: row @ model.one.weight)(x)

    assert "matmul inside vmap" in count(transformed, training=False).uncounted


def test_functions_without_macs_are_listed_with_their_elements():
    words = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2))
    found = count_macs(words, torch.ones(2, 3, dtype=torch.long))
    assert found.cheap == {"embedding": 12, "layer_norm": 12, "gelu": 12}
    assert found.macs_dense == 3 * 4 * 2
    assert not found.uncounted
    assert found.reason is None


def test_steps_can_be_gone_through_one_by_one():
    found = count(lambda m, x: torch.stack([m.one(step) for step in x.transpose(0, 1)], 1))
    assert (found.macs_dense, found.macs_backward) == (LINEAR, LINEAR)
    assert found.layers[0].calls == 3
    assert not found.uncounted


def test_a_compiled_model_is_counted_uncompiled():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    assert count_macs(torch.compile(model, backend="eager"), X).to_dict() | {"model": ""} == (
        count_macs(model, X).to_dict() | {"model": ""}
    )


def test_checkpointed_layers_have_their_gradients():
    found = count(lambda m, x: checkpoint(m.two, m.one(x), use_reentrant=False))
    assert (found.macs_training_forward, found.macs_backward) == (2 * LINEAR, 3 * LINEAR)


# --- bytes


def test_bytes_of_a_linear_layer():
    found = count_macs(nn.Linear(4, 5), randn(3, 4))
    assert found.weight_bytes == 4 * (20 + 5)
    assert found.activation_bytes == 4 * (4 + 5)
    assert found.bytes_moved == 100 / 3 + 36
    # the gradient of the weight: the output's and the input read, itself written; of the bias:
    # the output's read and itself written, and by the rule for all functions the others read
    weight, bias = 15 + (12 + 5) + 20, 15 + (12 + 20) + 5
    assert found.training_bytes == (100 + 4 * (12 + 15) + 4 * (weight + bias)) / 3


@pytest.mark.parametrize(
    ("function", "elements"),
    [
        (lambda m, x: x.view(2, 12), 0),
        (lambda m, x: x.transpose(1, 2)[:, :2].unsqueeze(0), 0),
        (lambda m, x: F.dropout(x, 0.5, m.training), 0),
        (lambda m, x: x.contiguous(), 0),
        (lambda m, x: x.transpose(1, 2).contiguous(), 24 + 24),
        (lambda m, x: x.relu(), 24 + 24),
        (lambda m, x: F.relu(x.clone(), inplace=True), 2 * 48),
        (lambda m, x: x.clone().add_(1), 2 * 48),
        (lambda m, x: x + x[:1].expand(2, 3, 4), 24 + 12 + 24),
        (lambda m, x: torch.cat([x, x], 1), 48 + 48),
    ],
    ids="view views dropout same copy relu inplace add_ expanded cat".split(),
)
def test_bytes_of_functions_without_weights(function, elements):
    assert count(function, training=False).activation_bytes == 4 * elements / 2


def test_a_look_up_reads_only_what_it_returns():
    found = count_macs(nn.Embedding(1000, 4), torch.ones(2, 3, dtype=torch.long), training=False)
    assert found.weight_bytes == 2 * 3 * 4 * 4
    assert found.activation_bytes == 3 * 8 + 3 * 4 * 4


# --- batches, tables, values


def test_batches_add_up():
    x = randn(6, 4).relu()
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    whole, parts = count_macs(model, x), count_macs(model, iter(x.split([1, 2, 3])))
    assert (parts.samples, parts.batches) == (6, 3)
    for name in ("macs_dense", "macs_effective", "macs_training", "activation_bytes"):
        assert getattr(whole, name) == pytest.approx(getattr(parts, name))
    assert whole.weight_bytes == parts.weight_bytes
    assert parts.bytes_moved > whole.bytes_moved  # the weights are read three times
    assert count_macs(model, iter(x.split(2)), batches=2).samples == 4
    assert whole.layers[0].calls == parts.layers[0].calls == 1


def test_it_counts_without_memory_on_the_meta_device():
    with torch.device("meta"):
        model, x = nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU()), torch.zeros(2, 10**6)
    found = count_macs(model, x)
    assert (found.macs_dense, found.macs_training) == (10**12, 2 * 10**12)
    assert found.macs_effective is found.acs_effective is found.layers[0].macs_effective is None
    assert "No effective MACs" in str(found)


def test_the_table_and_the_json_hold_what_was_found():
    model = nn.Sequential(nn.Linear(4, 1000), nn.ReLU(), nn.Linear(1000, 3))
    found = ma.count_macs(model, randn(2, 4))
    text = str(found)
    assert text.splitlines()[0] == "Sequential: per sample, of 2 in 1 batch"
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["0"][:5] == ["0", "linear", "1", "4k", "57.1"]
    assert rows["2"][:5] == ["2", "linear", "1", "3k", "42.9"]
    assert rows["total"][1] == "7k"
    assert "Training step: 17k MACs (forward 7k, backward 10k)" in text
    assert max(map(len, text.splitlines())) <= 100
    values = json.loads(found.to_json())
    assert values == json.loads(json.dumps(found.to_dict()))
    assert values["macs_training"] == 17_000
    assert values["layers"][1]["name"] == "2"
    assert isinstance(found, ma.MacCount)


def test_parts_add_up_to_the_whole():
    found = count_macs(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), randn(2, 5, 8))
    for name in ("macs_dense", "macs_effective", "acs_effective", "macs_backward"):
        assert sum(getattr(row, name) for row in found.layers) == getattr(found, name)


# --- bad input


class Mover(nn.Module):
    def __init__(self, move):
        super().__init__()
        self.inner, self.move = nn.Linear(4, 2), move

    def forward(self, x):
        self.move(self)
        return self.inner(x.to(self.inner.weight.device, self.inner.weight.dtype))


def _replace(model):
    model.inner.weight = nn.Parameter(torch.ones(2, 4))


@pytest.mark.parametrize(
    "move",
    [lambda m: m.to("meta"), lambda m: m.double(), _replace, lambda m: m.to("meta") and 1 / 0],
    ids=["device", "type", "replaced", "and fails"],
)
@pytest.mark.parametrize("function", [count_macs, ma.audit])
def test_a_model_that_moves_itself_is_refused_and_put_back(move, function):
    model = Mover(move)
    weight, content = model.inner.weight, model.inner.weight.detach().clone()
    weight.grad = gradient = torch.ones(2, 4)
    with pytest.raises(InputError, match=r"Mover moves or replaces its parameters .*\(weight\)"):
        function(model, randn(3, 4))
    assert model.inner.weight is weight
    assert weight.grad is gradient
    assert (weight.device.type, weight.dtype) == ("cpu", torch.float32)
    assert torch.equal(weight, content)


def test_inputs_on_another_device():
    with pytest.raises(InputError, match="inputs are on meta, the weights of Linear on cpu; move"):
        count_macs(nn.Linear(4, 2), randn(3, 4).to("meta"))


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (None, "expected tensors or batches of them, got NoneType"),
        ("abc", "expected tensors or batches of them, got str"),
        ([], "inputs holds no batch; give at least one"),
        (torch.zeros(0, 4), "a batch is empty"),
        ([None], "a batch holds tensors, got NoneType"),
        (torch.zeros(3, 5), "Linear does not run on this input: RuntimeError: mat1 and mat2"),
        (torch.ones(3, 4, dtype=torch.long), "Linear does not run on this input"),
        ((torch.zeros(3, 4), torch.zeros(3)), "leave labels out"),
        ({"images": torch.zeros(3, 4)}, "unexpected keyword argument 'images'"),
    ],
)
def test_unusable_inputs(inputs, problem):
    model = nn.Linear(4, 2).eval()
    with pytest.raises(InputError, match=problem) as raised:
        count_macs(model, inputs)
    assert "\n" not in str(raised.value)
    assert not model.training
    assert not model._forward_hooks


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda x: x, "expected a torch.nn.Module, got function"),
        (nn.LazyLinear(3), "weight is not initialised yet"),
        (scripted(nn.Linear(4, 2)), "TorchScript"),
    ],
)
def test_unusable_models(model, problem):
    with pytest.raises((InputError, TapeError), match=problem):
        count_macs(model, randn(3, 4))


def test_one_sample_is_too_few_for_a_training_step_with_batch_norm():
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    with pytest.raises(InputError, match=r"more than 1 value per channel .* in training mode"):
        count_macs(model, randn(1, 4))
    assert count_macs(model, randn(1, 4), training=False).macs_dense == 8


def test_how_many_batches_to_read():
    with pytest.raises(InputError, match="batches is 0, expected a number from 1"):
        count_macs(nn.Linear(4, 2), randn(3, 4), batches=0)


class Restless(nn.Module):
    """Changes whatever it can while it runs, and may fail after that."""

    def __init__(self, *, fails):
        super().__init__()
        self.linear, self.norm, self.fails = nn.Linear(4, 4), nn.BatchNorm1d(4), fails
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.state = F.dropout(self.norm(self.linear(x + torch.randn_like(x))), 0.5, True)
        if self.fails:
            raise RuntimeError("out of luck")
        if self.training:
            self.state.sum().backward(retain_graph=True)
        return self.state


@pytest.mark.parametrize("fails", [True, False])
def test_the_model_is_left_as_it_was(fails):
    model = Restless(fails=fails).train()
    model.norm.eval()
    model.linear.weight.grad = torch.ones(4, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(InputError, match="out of luck"):
            count_macs(model, randn(5, 4))
    else:
        assert set(count_macs(model, randn(5, 4)).uncounted) == {"backward"}
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.training, model.linear.training, model.norm.training) == (True, True, False)
    assert not hasattr(model, "state")
    assert torch.equal(model.linear.weight.grad, torch.ones(4, 4))
    assert model.linear.bias.grad is None
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.overrides._get_current_function_mode() is None
