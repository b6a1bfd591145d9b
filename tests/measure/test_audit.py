"""The audit against naive twins, closed forms, other counters, and models of every kind."""

import copy
import itertools
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import minaction as ma
from minaction.energy.gauge import gauge_fix
from minaction.energy.pitfalls import find_pitfalls
from minaction.energy.tape import run_model
from minaction.energy.wiring import trace_wiring
from minaction.errors import InputError, TapeError
from minaction.measure.audit import audit

SEEDS = st.integers(0, 2**31)


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def seeded(model, seed=0):
    """Normal weights of the usual size, from a generator of their own."""
    generator = generator_of(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if isinstance(tensor, nn.Parameter) or "running" in name:
                tensor.normal_(generator=generator)
                if tensor.ndim >= 2:
                    tensor.div_(tensor[0].numel() ** 0.5)
                if "running_var" in name:
                    tensor.abs_().add_(0.1)
    return model


def randn(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=generator_of(seed), dtype=dtype)


def by_name(found):
    return {layer.name: layer for layer in found.layers}


class Residual(nn.Module):
    """A residual CNN with batch norms, shared and functional nonlinearities, in training mode."""

    def __init__(self, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.inner_norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(channels, 4)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(x + self.inner_norm(self.inner(x)))
        return self.head(self.drop(F.relu(F.max_pool2d(x, 2)).mean((2, 3))))


class Recurrent(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        self.lstm = nn.LSTM(5, 7, num_layers=2, batch_first=batch_first, bidirectional=True)
        self.head = nn.Linear(14, 3)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.head(states if self.lstm.batch_first else states.transpose(0, 1))


class Shared(nn.Module):
    """One layer and one nonlinearity, used three times."""

    def __init__(self, times=3):
        super().__init__()
        self.inner, self.act, self.head = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
        self.times = times

    def forward(self, x):
        for _ in range(self.times):
            x = self.act(self.inner(x))
        return self.head(x)


def spiking(*, init_hidden):
    snn = pytest.importorskip("snntorch")

    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.outward = nn.Linear(6, 9), nn.Linear(9, 2)
            self.lif = snn.Leaky(beta=0.9, init_hidden=init_hidden)

        def forward(self, x):
            outputs, membrane = [], None if init_hidden else self.lif.reset_mem()
            for _ in range(4):
                current = self.inward(x)
                if init_hidden:
                    spikes = self.lif(current)
                else:
                    spikes, membrane = self.lif(current, membrane)
                outputs.append(self.outward(spikes))
            return torch.stack(outputs).sum(0)

    return Spiking()


def mlp(*widths, dtype=torch.float32, seed=0):
    layers = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return seeded(nn.Sequential(*layers[:-1]).to(dtype), seed)


# --- values


def test_one_layer_in_closed_form():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, -1.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[4.0, 1.0, 1.0]]))
    found = audit(model, torch.tensor([[2.0, -3.0], [1.0, 1.0]]).double())
    (layer,) = found.layers
    # activations: [2, 3, 1] and [1, 0, 0]
    assert (layer.name, layer.units, layer.silent_units) == ("1", 3, 0)
    assert layer.zero_fraction == pytest.approx(2 / 6)
    assert layer.energy_activation == pytest.approx((4 + 9 + 1 + 1) / 2)
    # |w_in| = 1, 1, sqrt 2 and |w_out| = 4, 1, 1: squared scales are their ratios 4, 1, 1 / sqrt 2
    assert layer.energy_gauge_fixed == pytest.approx((4 * 5 + 1 * 9 + 2**-0.5 * 1) / 2)
    assert (layer.macs_dense, layer.macs_effective) == (3, 2)
    assert layer.parameters == 4
    assert (found.unobserved.macs_dense, found.unobserved.parameters) == (6, 9)
    assert (found.total.macs_dense, found.total.macs_effective) == (9, 8)
    assert found.total.parameters == 13
    assert found.total.energy_gauge_fixed == pytest.approx(layer.energy_gauge_fixed)
    assert (found.model, found.samples, found.batches) == ("Sequential", 2, 1)


def twin(model, x):
    """Everything again, from kept activations and a rescaled copy."""
    with torch.no_grad(), ma.Tape(model) as tape:
        run_model(model, x)
    fixed = gauge_fix(model, x).layers_after
    for layer in tape.trajectory.layers:
        units = layer.value.movedim(layer.unit_axis, 0).flatten(1)
        yield (
            layer.name,
            {
                "units": len(units),
                "silent_units": int((units == 0).all(1).sum()),
                "zero_fraction": pytest.approx(float((units == 0).double().mean())),
                "energy_activation": pytest.approx(
                    float(layer.value.double().square().sum()) / len(layer.value), rel=1e-9
                ),
                "energy_gauge_fixed": pytest.approx(fixed[layer.name], rel=1e-8),
            },
        )


@settings(max_examples=20)
@given(seed=SEEDS, widths=st.lists(st.integers(1, 12), min_size=3, max_size=5))
def test_networks_equal_their_twin(seed, widths):
    model, x = mlp(*widths, dtype=torch.float64, seed=seed).eval(), randn(5, widths[0], seed=seed)
    found = by_name(audit(model, x.double()))
    for name, wanted in twin(model, x.double()):
        assert {key: getattr(found[name], key) for key in wanted} == wanted


def test_a_residual_network_equals_its_twin():
    model = seeded(Residual()).double()
    x = randn(4, 3, 8, 8, dtype=torch.float64)
    found = by_name(audit(model, x))
    wanted = dict(twin(copy.deepcopy(model).eval(), x))
    assert list(found) == ["act", "act#2", "relu"]
    covered = [name for name, layer in found.items() if layer.energy_gauge_fixed is not None]
    assert covered  # those that are not keep their energy in the rescaled copy, partly rescaled
    for name, values in wanted.items():
        if name not in covered:
            values.pop("energy_gauge_fixed")
            assert found[name].gauge_reason
        assert {key: getattr(found[name], key) for key in values} == values


@settings(max_examples=15)
@given(seed=SEEDS, factor=st.floats(0.01, 100))
def test_rescaling_a_unit_changes_the_raw_energy_only(seed, factor):
    model, x = mlp(4, 6, 5, 3, dtype=torch.float64, seed=seed), randn(7, 4, dtype=torch.float64)
    before = audit(model, x)
    with torch.no_grad():
        model[0].weight[2] *= factor
        model[0].bias[2] *= factor
        model[2].weight[:, 2] /= factor
    after = audit(model, x)
    assert after.total.energy_gauge_fixed == pytest.approx(before.total.energy_gauge_fixed)
    assert after.total.macs_effective == before.total.macs_effective


@settings(max_examples=15)
@given(seed=SEEDS, sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_batches_add_up(seed, sizes):
    model = mlp(4, 8, 6, 3, dtype=torch.float64, seed=seed)
    x = randn(sum(sizes), 4, seed=seed, dtype=torch.float64)
    whole, split = audit(model, x), audit(model, iter(x.split(sizes)))
    assert (split.samples, split.batches) == (len(x), len(sizes))
    for one, other in zip(whole.layers, split.layers, strict=True):
        assert vars(other) == {
            key: pytest.approx(value) if isinstance(value, float) else value
            for key, value in vars(one).items()
        }


def test_a_unit_silent_in_one_batch_only_is_not_silent():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    one, other = torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, -1.0]])
    assert audit(model, one).total.silent_units == 1
    assert audit(model, other).total.silent_units == 2
    assert audit(model, [one, other]).total.silent_units == 1


def test_tiny_activations_are_not_zeros():
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Linear(2, 1))
    (layer,) = audit(model, torch.tensor([[1e-30, 0.0]])).layers
    assert (layer.silent_units, layer.zero_fraction) == (1, 0.5)  # its square underflows


def test_large_activations_are_reduced_in_parts():
    x = randn(3, 4, 500, 300)
    (layer,) = audit(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 1, 1)), x).layers
    assert layer.energy_activation == pytest.approx(float(x.relu().double().square().sum() / 3))
    assert layer.zero_fraction == pytest.approx(float((x <= 0).double().mean()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).to(dtype)
    found = audit(seeded(model), randn(5, 4).to(dtype))
    assert found.total.energy_activation > 0


def test_evaluation_mode_is_measured():
    model = seeded(Residual())
    x = randn(4, 3, 8, 8)
    assert audit(model.train(), x).to_dict() == audit(model.eval(), x).to_dict()


# --- MACs


def test_macs_and_zeros_of_what_reads_a_layer_directly():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 9, 5),
    )  # fmt: skip
    x = randn(2, 3, 9, 9)
    found = audit(seeded(model), x)
    for layer, (name, wiring) in zip(found.layers, trace_wiring(model, x), strict=True):
        assert layer.name == name
        assert layer.macs_dense == wiring.macs_out
    with torch.no_grad():
        first, second = model[:2](x), model[:5](x)
    met = F.conv2d((first != 0).float(), torch.ones(4, 3, 3, 3), stride=2, groups=2)
    assert found.layers[0].macs_effective == float(met.sum()) / 2
    assert found.layers[1].macs_effective == 5 * int(second.count_nonzero()) / 2


def flops(model, x):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_model(model.eval(), x)
    return counter.get_total_flops()


ATTENTION = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Residual(), randn(2, 3, 8, 8)),
        (Shared(), randn(3, 8)),
        (nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.ConvTranspose1d(6, 4, 5, 2)),
         randn(2, 4, 9)),
        (nn.Sequential(nn.Conv3d(2, 3, 2), nn.ReLU(), nn.ConvTranspose3d(3, 2, 2)),
         randn(2, 2, 4, 4, 4)),
        (nn.MultiheadAttention(8, 2), (randn(5, 3, 8), randn(7, 3, 8), randn(7, 3, 8))),
        (ATTENTION, (randn(3, 5, 8), randn(3, 7, 6), randn(3, 7, 4))),
    ],
)  # fmt: skip
def test_macs_are_half_of_what_torch_counts_as_flops(model, inputs):
    x = inputs[0] if isinstance(inputs, tuple) else inputs
    found = audit(model, inputs, layers=[type(model)])
    samples = found.layers[0].units and found.samples
    assert 2 * found.total.macs_dense * samples == pytest.approx(flops(model, inputs))
    assert len(x)


class Products(nn.Module):
    """One function of two activations or an activation and a weight."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(6, 5))

    def forward(self, x):
        return self.function(torch.relu(x), self.weight)


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda a, w: a @ w, 4 * 6 * 5),
        (lambda a, w: w.T @ a.mT, 5 * 6 * 4),
        (lambda a, w: torch.matmul(a, w[:, 0]), 4 * 6),
        (lambda a, w: torch.bmm(a, a.mT), 4 * 6 * 4),
        (lambda a, w: torch.baddbmm(torch.ones(1), a, a.mT), 4 * 6 * 4),
        (lambda a, w: torch.addmm(torch.ones(5), a.flatten(0, 1), w).unflatten(0, (-1, 4)),
         4 * 6 * 5),
        (lambda a, w: torch.einsum("btf,fo->bto", a, w), 4 * 6 * 5),
        (lambda a, w: torch.einsum("b...f, b...f", a, a), 4 * 6),
        (lambda a, w: torch.tensordot(a, w, 1), 4 * 6 * 5),
        (lambda a, w: torch.inner(a, w.T), 4 * 6 * 5),
        (lambda a, w: F.bilinear(a, a, w.new_ones(3, 6, 6)), 4 * 3 * 36),
        (lambda a, w: F.scaled_dot_product_attention(a, a, a), 2 * 4 * 4 * 6),
        (lambda a, w: F.conv1d(a, w.new_ones(2, 4, 3)), 2 * 4 * 4 * 3),
    ],
)  # fmt: skip
def test_products_in_closed_form(function, macs):
    x = randn(2, 4, 6)
    found = audit(Products(function), x)
    (layer,) = found.layers
    assert layer.macs_dense == macs
    assert 0 < layer.macs_effective < macs
    assert (found.unobserved.macs_dense, dict(found.not_counted)) == (0, {})


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_recurrent_kernel_in_closed_form(batch_first):
    x = randn(2, 6, 5) if batch_first else randn(6, 2, 5)
    found = audit(Recurrent(batch_first=batch_first), x)
    (layer,) = found.layers
    assert (layer.name, layer.units) == ("lstm.lstm", 14)
    assert layer.macs_dense == 6 * 14 * 3
    first, second = 4 * 7 * (5 + 7), 4 * 7 * (14 + 7)
    assert found.unobserved.macs_dense == 6 * 2 * (first + second)
    assert found.samples == 2


def test_recurrent_cells_are_one_layer_over_time():
    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            state = x.new_zeros(len(x), 4)
            for step in x.unbind(1):
                state = self.cell(step, state)
            return self.head(state)

    found = audit(Cells(), randn(2, 5, 3))
    (layer,) = found.layers
    assert layer.units == 4
    # the cell reads its own state four times, and the head reads it once
    assert layer.macs_dense == 4 * (3 * 4 * 4) + 4 * 2
    assert found.unobserved.macs_dense == 5 * (3 * 4 * 3) + 1 * (3 * 4 * 4)


def test_zeros_are_counted_where_they_are_read():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(2, 3, 1)

        def forward(self, x):
            return self.head(F.max_pool2d(torch.relu(x), 2))

    x = randn(2, 2, 4, 4)
    found = audit(Pooled(), x)
    pooled = F.max_pool2d(x.relu(), 2)
    share = float((pooled != 0).double().mean())
    assert share > 1 - found.layers[0].zero_fraction
    assert found.layers[0].macs_effective == pytest.approx(share * 2 * 3 * 4)


def test_zeros_of_what_is_not_observed_count_too():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(torch.cat([torch.relu(x), torch.zeros_like(x)], 1))

    x = randn(5, 4)
    found = audit(Joined(), x)
    (layer,) = found.layers
    assert (layer.macs_dense, found.unobserved.macs_dense) == (12, 12)
    assert found.total.macs_effective == 3 * int(x.relu().count_nonzero()) / 5


def test_operations_of_several_layers_are_shared():
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(F.relu(self.one(x)) + torch.tanh(self.other(x)))

    found = audit(Summed(), randn(5, 4))
    one, other = found.layers
    assert one.macs_dense == other.macs_dense == 9
    assert one.parameters == other.parameters == 21 / 2
    assert one.macs_effective == other.macs_effective == 9  # tanh leaves no zeros in the sum


def test_what_has_no_formula_is_listed():
    class Spectral(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            x = self.head(torch.relu(x))
            return torch.cdist(x, x) + torch.fft.fft(x).real[..., :1]

    found = audit(Spectral(), randn(2, 3, 4))
    assert set(found.not_counted) == {"cdist", "fft_fft"}
    assert "MACs not counted: cdist (1 call), fft_fft (1 call)" in str(found)


def test_parameters_are_counted_once():
    found = audit(Shared(), randn(3, 8))
    assert found.total.parameters == 72 + 18
    assert sum(layer.parameters for layer in found.layers) == 72 + 18  # the second use reads act


# --- models of every kind, left as they were


class Counting(nn.Module):
    """Keeps a state in attributes and buffers, and changes a buffer in place."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.last = None

    def forward(self, x):
        self.calls += 1
        self.last = torch.relu(x)
        self.fresh = self.last + self.calls
        return self.head(self.fresh)


def hugging_face(kind):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "bert":
        config = transformers.BertConfig(**sizes, intermediate_size=24, vocab_size=50)
        return transformers.BertModel(config)
    if kind == "vit":
        config = transformers.ViTConfig(
            **sizes, intermediate_size=24, image_size=16, patch_size=8, num_labels=3
        )
        return transformers.ViTForImageClassification(config)
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=12, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


TOKENS = torch.randint(50, (3, 10), generator=generator_of(2))
MODELS = {
    "mlp": (lambda: mlp(5, 8, 3), randn(4, 5)),
    "residual": (Residual, randn(2, 3, 8, 8)),
    "shared": (Shared, randn(3, 8)),
    "lstm": (lambda: Recurrent(batch_first=True), randn(2, 6, 5)),
    "transformer": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, enable_nested_tensor=False
        ),
        randn(2, 5, 8),
    ),
    "counting": (Counting, randn(3, 4)),
    "spiking": (lambda: spiking(init_hidden=False), 4 * randn(3, 6)),
    "spiking with a state": (lambda: spiking(init_hidden=True), 4 * randn(3, 6)),
    "bert": (
        lambda: hugging_face("bert"),
        {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)},
    ),
    "gpt2": (lambda: hugging_face("gpt2"), TOKENS),
    "vit": (lambda: hugging_face("vit"), randn(2, 3, 16, 16)),
}


def state_of(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return (
        {name: (id(tensor), tensor.clone()) for name, tensor in tensors.items()},
        {name: module.training for name, module in model.named_modules()},
        {name: set(vars(module)) for name, module in model.named_modules()},
        {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in
         model.named_modules()},
    )  # fmt: skip


def assert_same_state(model, before):
    tensors, *rest = state_of(model)
    assert tensors.keys() == before[0].keys()
    for name, (identity, content) in tensors.items():
        assert identity == before[0][name][0], name
        assert torch.equal(content, before[0][name][1]), name
    assert tuple(rest) == before[1:]


@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_kind_work_untouched(name):
    build, inputs = MODELS[name]
    model = build().train()
    before = state_of(model)
    found = audit(model, [inputs, inputs])
    assert_same_state(model, before)
    assert found.batches == 2
    assert found.layers
    assert not found.not_counted
    assert not found.warnings
    assert found.total.energy_activation > 0
    assert found.total.parameters == sum(p.numel() for p in model.parameters())
    effective = found.total.macs_effective + found.total.acs_effective
    assert 0 < effective <= found.total.macs_dense
    rows = [*found.layers, found.unobserved]
    for column in ("macs_dense", "macs_effective", "acs_effective", "parameters"):
        assert sum(getattr(r, column) for r in rows) == pytest.approx(getattr(found.total, column))
    for layer in found.layers:
        assert (layer.energy_gauge_fixed is None) == (layer.gauge_reason is not None)
    assert audit(model, inputs).to_dict() == found.to_dict() | {
        "samples": found.samples // 2, "batches": 1
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "vit", "gpt2"])
def test_attention_is_counted_whoever_computes_it(kind):
    fused = hugging_face(kind)
    plain = copy.deepcopy(fused)
    plain.set_attn_implementation("eager")
    x = MODELS[kind][1]
    found, same = audit(fused, x), audit(plain, x)
    assert found.total.macs_dense == same.total.macs_dense
    assert 2 * same.total.macs_dense * same.samples == flops(plain, x)
    assert [layer.name for layer in found.layers] == [layer.name for layer in same.layers]


def test_spikes_of_all_time_steps_are_one_layer():
    model, x = seeded(spiking(init_hidden=False)), 4 * randn(3, 6)
    (layer,) = audit(model, x).layers
    with torch.no_grad(), ma.Tape(model, layers=[type(model.lif)]) as tape:
        model(x)
    spikes = torch.stack([step.value for step in tape.trajectory.layers])
    assert (layer.name, layer.units) == ("lif", 9)
    assert layer.energy_activation == pytest.approx(float(spikes.sum()) / 3)
    assert layer.silent_units == int((spikes == 0).all(0).all(0).sum())
    assert layer.acs_effective == pytest.approx(float(spikes.sum()) / 3 * 2)
    assert layer.macs_effective == 0
    assert layer.gauge_reason


def test_spikes_that_are_not_observed_are_pointed_out():
    model = spiking(init_hidden=False)
    model.outward = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
    found = audit(model, 4 * randn(3, 6))
    assert {layer.name.partition("#")[0] for layer in found.layers} == {"outward.1"}
    assert found.warnings == ("the spikes of 'lif' are not observed; name it in `layers`",)
    assert not audit(model, 4 * randn(3, 6), layers=["lif", "outward.1"]).warnings


@pytest.mark.parametrize("name", ["lif-mlp", "lif-cnn", "gru", "transformer", "cnn"])
def test_models_of_the_catalogue(name):
    pytest.importorskip("snntorch")
    data = ma.load_dataset("digits")
    model, x = ma.build_model(name, data.spec), data.validation.x[:8]
    found = audit(model, x)
    with torch.no_grad(), ma.Tape(model.eval()) as tape:
        model(x)
    assert [layer.name for layer in found.layers] == list(tape.trajectory)
    energy = float(ma.ActivationEnergy()(tape.trajectory))
    assert found.total.energy_activation == pytest.approx(energy, rel=1e-5)
    assert (dict(found.not_counted), found.warnings) == ({}, ())


def test_a_state_does_not_carry_over_to_the_next_batch():
    model, x = seeded(spiking(init_hidden=True)), 4 * randn(3, 6)
    one, two = audit(model, x), audit(model, [x, x])
    assert two.total.energy_activation == pytest.approx(one.total.energy_activation)


def test_a_compiled_model_is_audited_uncompiled():
    model, x = mlp(5, 8, 3), randn(4, 5)
    compiled = audit(torch.compile(model, backend="eager"), x)
    assert compiled.layers == audit(model, x).layers


def test_nothing_is_kept_of_a_batch():
    model = mlp(5, 8, 3)
    kept, alive = [], []

    def note(_module, _inputs, output):
        kept.append(weakref.ref(output))

    def batches():
        for seed in range(4):
            alive.append(sum(ref() is not None for ref in kept))
            yield randn(4, 5, seed=seed)

    handle = model[1].register_forward_hook(note)
    assert audit(model, batches()).batches == 4
    handle.remove()
    assert len(kept) == 4
    assert alive == [0, 0, 0, 0]


def test_batches_are_read_one_by_one_and_not_further_than_asked():
    model = mlp(5, 8, 3)
    source = iter([randn(4, 5), randn(4, 5), randn(4, 5)])
    assert audit(model, source, batches=2).batches == 2
    assert len(list(source)) == 1


def test_layers_can_be_chosen():
    model, x = mlp(5, 8, 6, 3), randn(4, 5)
    found = audit(model, x, layers=["2", nn.ReLU])
    assert [layer.name for layer in found.layers] == ["1", "2", "3"]
    assert found.layers[1].zero_fraction == 0


def test_a_model_without_nonlinearities_has_no_energy():
    found = audit(nn.Linear(3, 2), randn(4, 3))
    assert found.layers == ()
    assert (found.total.energy_activation, found.total.macs_dense) == (None, 6)
    assert "no nonlinearity was observed" in found.warnings[0]
    assert "no nonlinearity was observed" in str(found)


@pytest.mark.parametrize(
    ("model", "layers", "problem"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)),
         None, "'1' can fall by mere rescaling"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(),
                       nn.Conv2d(4, 2, 1)), ["1"], "'1' cannot change"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)),
         None, None),
    ],
)  # fmt: skip
def test_energies_that_say_nothing_are_pointed_out(model, layers, problem):
    x = randn(2, 3, 6, 6)
    found = audit(model, x, layers=layers)
    assert len(found.warnings) == len(find_pitfalls(model, x, layers)) == (problem is not None)
    if problem:
        assert problem in found.warnings[0]


# --- bad input


def refused(model, inputs, error=InputError, **options):
    before = state_of(model)
    with pytest.raises(error) as caught:
        audit(model, inputs, **options)
    assert_same_state(model, before)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ([], "inputs holds no batch"),
        (iter([]), "inputs holds no batch"),
        (torch.zeros(0, 5), "a batch is empty"),
        ([torch.zeros(2, 5), torch.zeros(0, 5)], "a batch is empty"),
        (torch.zeros(2, 6), "Sequential does not run on this input: RuntimeError: mat1 and mat2"),
        ((torch.zeros(2, 5), torch.zeros(2)), "leave labels out"),
        ({"y": torch.zeros(2, 5)}, "does not run on this input: TypeError"),
        (torch.full((2, 5), float("nan")), "the activation of '1' is not finite"),
        (torch.full((2, 5), float("inf")), "the activation of '1' is not finite"),
        (torch.zeros(2, 5).numpy(), "a batch holds tensors, got ndarray"),
        ("mnist", "expected tensors or batches of them, got str"),
        (None, "expected tensors or batches of them, got NoneType"),
        ({}, "a batch holds tensors, got dict"),
    ],
)
def test_unusable_inputs(inputs, problem):
    assert problem in refused(mlp(5, 8, 3), inputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value):
    model = mlp(5, 8, 3)
    with torch.no_grad():
        model[2].weight[1, 3] = value
    before = torch.tensor(value)
    with pytest.raises(InputError, match=r"2\.weight has NaN or infinite elements"):
        audit(model, randn(2, 5))
    assert torch.equal(model[2].weight[1, 3], before) or before.isnan()


def test_masks_of_minus_infinity_are_no_problem():
    model = mlp(5, 8, 3)
    model.register_buffer("mask", torch.full((3, 3), float("-inf")))
    assert audit(model, randn(2, 5)).layers


def test_models_without_values():
    lazy = nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"0\.weight is not initialised yet"):
        audit(lazy, randn(2, 5))
    with pytest.raises(InputError, match=r"0\.weight is on the meta device"):
        audit(mlp(5, 8, 3).to("meta"), randn(2, 5))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_cannot_be_observed():
    model = torch.jit.script(mlp(5, 8, 3))
    with pytest.raises(TapeError, match=r"^the model is TorchScript and cannot be observed"):
        audit(model, randn(2, 5))


def test_a_layer_that_did_not_run():
    message = refused(mlp(5, 8, 3), randn(2, 5), TapeError, layers=["11"])
    assert message == "layer '11' did not run in the forward pass; did you mean '1'?"


@pytest.mark.parametrize("batches", [0, -1])
def test_no_batches_wanted(batches):
    assert "batches is" in refused(mlp(5, 8, 3), randn(2, 5), batches=batches)


def test_units_that_differ_from_batch_to_batch():
    model = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool1d(2))
    with pytest.raises(InputError, match="layer '0' has 4 units after 3 before"):
        audit(model, [torch.ones(2, 1, 3), torch.ones(2, 1, 4)])


def test_a_model_that_fails_halfway_is_left_as_it_was():
    class Failing(Counting):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("no\nmore")

    assert refused(Failing(), randn(3, 4)) == (
        "Failing does not run on this input: RuntimeError: no"
    )
