import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import minaction as ma
from minaction.energy.gauge import find_gauge, gauge_fix
from minaction.errors import GaugeError, TapeError

SEEDS = st.integers(0, 2**31)
with_scripts = pytest.mark.filterwarnings("ignore:`torch.jit.script")


def dense(widths, generator, *, bias=True, activation=nn.ReLU):
    layers = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following, bias=bias), activation()]
    return randomised(nn.Sequential(*layers[:-1]), generator)


def randomised(model, generator):
    """Weights of very different sizes, and batch norms that do something."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            tensor.normal_(generator=generator)
            if "running_var" in name:
                tensor.abs_().add_(0.1)
            elif tensor.ndim >= 2:
                size = torch.randn(len(tensor), generator=generator).exp()
                tensor.mul_(size.view(-1, *[1] * (tensor.ndim - 1)) / tensor[0].numel() ** 0.5)
    return model.eval()


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


class Residual(nn.Module):
    """Convolution + batch norm blocks around a sum, a concatenation and a channel shuffle."""

    def __init__(self, channels, groups):
        super().__init__()
        wide = channels * groups
        self.stem = nn.Conv2d(3, wide, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.inner = nn.Conv2d(wide, wide, 3, padding=1, groups=groups)
        self.inner_norm = nn.BatchNorm2d(wide, affine=False)
        self.last = nn.Conv2d(wide, wide, 1)
        self.slope = nn.PReLU(wide)
        self.side = nn.Conv2d(wide, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.read_out = nn.Linear(wide + 6, 5)
        self.groups = groups

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        y = F.leaky_relu(self.inner_norm(self.inner(x)))
        y = y.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        x = F.relu(self.slope(self.last(y)) + x)
        side = self.up(F.relu(self.side(F.avg_pool2d(F.dropout(x, training=self.training), 2))))
        joined = torch.cat([F.max_pool2d(x, 2), F.relu(side)], dim=1)
        return self.read_out(joined.mean(dim=(2, 3)))


def test_one_hidden_unit_in_closed_form():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (3.0, 4.0, 0.2, 0.0), strict=True):
            parameter.fill_(value)
    report = gauge_fix(model, torch.ones(1, 1).double())
    # |(w_in, b)| = 5 and |w_out| = 0.2 become 1 each: c = 1/5
    assert report.model[0].weight.item() == pytest.approx(0.6)
    assert report.model[0].bias.item() == pytest.approx(0.8)
    assert report.model[2].weight.item() == pytest.approx(1.0)
    assert report.energy_before == pytest.approx(49.0)
    assert report.energy_after == pytest.approx(49.0 / 25)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 12), min_size=2, max_size=5), st.booleans(), st.booleans())
def test_outputs_stay_and_norms_are_equal(seed, widths, bias, double):
    generator = generator_of(seed)
    model = dense([*widths, 3], generator, bias=bias)
    x = torch.randn(8, widths[0], generator=generator)
    if double:
        model, x = model.double(), x.double()
    report = gauge_fix(model, x)
    assert report.max_output_difference <= (1e-10 if double else 1e-5)
    assert not report.not_covered
    linear = [layer for layer in report.model if isinstance(layer, nn.Linear)]
    for layer, following in itertools.pairwise(linear):
        norms = layer.weight.double().square().sum(1)
        if bias:
            norms = norms + layer.bias.double().square()
        torch.testing.assert_close(
            norms, following.weight.double().square().sum(0), rtol=1e-4, atol=1e-9
        )


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_a_residual_convolutional_network(seed, channels, groups):
    generator = generator_of(seed)
    model = randomised(Residual(channels, groups), generator).double()
    x = torch.randn(4, 3, 8, 8, generator=generator).double()
    report = gauge_fix(model, x)
    assert report.max_output_difference <= 1e-10
    assert not report.not_covered
    again = gauge_fix(report.model, x)
    assert again.energy_after == pytest.approx(report.energy_after, rel=1e-9)
    assert again.energy_before == pytest.approx(report.energy_after, rel=1e-9)
    single = gauge_fix(copy.deepcopy(model).float(), x.float())
    assert single.max_output_difference <= 1e-5
    assert single.energy_after == pytest.approx(report.energy_after, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.integers(0, 5))
def test_rescaling_a_hidden_unit_changes_nothing(seed, c, unit):
    generator = generator_of(seed)
    model = dense([4, 6, 5, 3], generator).double()
    x = torch.randn(8, 4, generator=generator).double()
    before = gauge_fix(model, x)
    with torch.no_grad():
        model[0].weight[unit] *= c
        model[0].bias[unit] *= c
        model[2].weight[:, unit] /= c
    after = gauge_fix(model, x)
    assert after.energy_after == pytest.approx(before.energy_after, rel=1e-9)


def test_rescaling_channels_around_batch_norm_changes_nothing():
    generator = generator_of(0)
    model = randomised(Residual(2, 2), generator).double()
    x = torch.randn(4, 3, 8, 8, generator=generator).double()
    before = gauge_fix(model, x)
    with torch.no_grad():
        model.side.weight[2] *= 50
        model.side.bias[2] *= 50
        model.up.weight[2] /= 50
    rescaled = gauge_fix(model, x)
    assert rescaled.energy_before != pytest.approx(before.energy_before)
    assert rescaled.energy_after == pytest.approx(before.energy_after, rel=1e-9)


def test_the_factors_give_the_energy_without_a_copy():
    generator = generator_of(1)
    model = randomised(Residual(2, 3), generator).double()
    x = torch.randn(4, 3, 8, 8, generator=generator).double()
    gauge, report = find_gauge(model, x), gauge_fix(model, x)
    with torch.no_grad(), ma.Tape(model) as tape:
        model(x)
    for layer in tape.trajectory.layers:
        squares = layer.value.square().movedim(layer.unit_axis, 0).flatten(1).sum(1)
        energy = (gauge.scales[layer.name].square() * squares).sum() / len(x)
        assert float(energy) == pytest.approx(report.layers_after[layer.name], rel=1e-9)


def test_dead_units_lose_their_activation_and_their_weights():
    model = dense([3, 4, 4, 2], generator_of(2)).double()
    with torch.no_grad():
        model[2].weight[:, 1] = 0  # unit 1 of the first layer leads nowhere
        model[2].weight[3] = 0
        model[2].bias[3] = 0  # unit 3 of the second layer is never reached
    x = torch.randn(16, 3).double()
    report = gauge_fix(model, x)
    assert report.max_output_difference < 1e-12
    assert not report.model[0].weight[1].any()
    assert not report.model[4].weight[:, 3].any()
    with torch.no_grad():
        model[0].weight[1] *= 1000
    assert gauge_fix(model, x).energy_after == pytest.approx(report.energy_after)


def test_shared_layers_keep_one_weight():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.loop, self.last = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x):
            x = F.relu(self.first(x))
            return self.last(F.relu(self.loop(F.relu(self.loop(x)))))

    model = randomised(Shared(), generator_of(3)).double()
    report = gauge_fix(model, torch.randn(8, 3).double())
    assert report.max_output_difference < 1e-12
    assert len(report.covered) == 3
    assert report.energy_after != pytest.approx(report.energy_before)


def test_hand_written_layers_are_followed_too():
    class ByHand(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 6)
            self.offset = nn.Parameter(torch.randn(6))
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            x = F.relu(2 * self.linear(x) + self.offset)
            x = x * (x > 0)
            return self.out(F.pad(x[:, 1:], (1, 0)) / 3)

    model = ByHand().double()
    report = gauge_fix(model, torch.randn(8, 3).double())
    assert report.max_output_difference < 1e-12
    assert report.covered == ("relu",)


@pytest.mark.parametrize(
    ("between", "word"),
    [
        (nn.GELU(), "gelu"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.Sequential(nn.ReLU(), nn.LayerNorm(6)), "layer_norm"),
        (nn.Sequential(nn.ReLU(), nn.Softmax(-1)), "softmax"),
        (nn.ReLU6(), "hardtanh"),
    ],
)
def test_what_is_not_homogeneous_is_listed_with_the_reason(between, word):
    model = nn.Sequential(nn.Linear(3, 6), between, nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    report = gauge_fix(model.eval(), torch.randn(8, 3))
    assert report.covered == ("3",)
    (reason,) = report.not_covered.values()
    assert reason == f"{word} is not positively homogeneous"
    assert report.max_output_difference <= 1e-5


def test_a_product_that_is_not_followed_is_not_called_inhomogeneous():
    class Conv1D(nn.Module):  # as GPT-2 has them
        def __init__(self):
            super().__init__()
            self.bias, self.weight = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.randn(3, 6))

        def forward(self, x):
            return torch.addmm(self.bias, x, self.weight)

    report = gauge_fix(nn.Sequential(Conv1D(), nn.ReLU(), nn.Linear(6, 2)), torch.randn(8, 3))
    assert report.not_covered == {"1": "rescaling is not followed through addmm"}


def test_a_recurrent_layer_is_not_covered():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.lstm(x)[0][:, -1])

    report = gauge_fix(Recurrent().eval(), torch.randn(4, 6, 3))
    assert not report.covered
    assert "lstm" in next(iter(report.not_covered.values()))
    assert report.energy_after == report.energy_before


@with_scripts
def test_a_function_that_cannot_be_seen_stops_rescaling():
    @torch.jit.script
    def shifted(x):
        return torch.sigmoid(x) + 1.0

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.two(shifted(F.relu(self.one(x))))

    report = gauge_fix(Hidden().eval(), torch.randn(8, 3))
    assert report.not_covered == {"relu": "a function that cannot be followed computes with it"}


def test_tied_weights_used_transposed_stop_rescaling():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 6)

        def forward(self, x):
            return F.relu(self.linear(x)) @ self.linear.weight

    report = gauge_fix(Tied(), torch.randn(8, 4))
    assert not report.covered
    assert report.max_output_difference == 0


def test_a_batch_norm_whose_layer_is_read_elsewhere_is_not_folded():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm, self.out = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)

        def forward(self, x):
            x = self.linear(x)
            return self.out(F.relu(self.norm(x)) + F.relu(x))

    model = randomised(Forked(), generator_of(5)).double()
    report = gauge_fix(model, torch.randn(8, 3).double())
    assert report.max_output_difference < 1e-12
    assert "folded" in report.not_covered["relu"]


def test_the_model_is_not_changed():
    model = randomised(Residual(2, 2), generator_of(6))
    before = copy.deepcopy(model.state_dict())
    gauge_fix(model, torch.randn(4, 3, 8, 8))
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_other_energies_are_reported_in_the_gauge():
    model, x = dense([3, 6, 4, 2], generator_of(7)), torch.randn(8, 3)
    report = gauge_fix(model, x, ma.L1Energy())
    with torch.no_grad(), ma.Tape(report.model) as tape:
        report.model(x)
    assert report.energy_after == pytest.approx(float(ma.L1Energy()(tape.trajectory)))


@with_scripts
def test_a_compiled_model_is_followed():
    model, x = dense([3, 6, 2], generator_of(8)), torch.randn(8, 3)
    report = gauge_fix(torch.compile(model), x)
    assert report.energy_after == pytest.approx(gauge_fix(model, x).energy_after)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(6), nn.Dropout(0.5)])
def test_a_model_in_training_mode_is_refused_where_that_matters(layer):
    model = nn.Sequential(nn.Linear(3, 6), layer, nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(GaugeError, match=r"^1 is in training mode.*model\.eval\(\) first$"):
        gauge_fix(model, torch.randn(8, 3))
    gauge_fix(model.eval(), torch.randn(8, 3))


def test_weights_that_are_not_finite_are_named():
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[2].bias[0] = torch.nan
    with pytest.raises(GaugeError, match=r"^2\.bias has NaN or infinite elements"):
        gauge_fix(model, torch.randn(8, 3))


def test_an_input_of_the_wrong_shape_is_one_clear_line():
    with pytest.raises(GaugeError, match=r"^the model does not run on this input: [^\n]*$"):
        gauge_fix(nn.Sequential(nn.Linear(3, 6), nn.ReLU()), torch.randn(8, 4))


@with_scripts
def test_a_script_module_is_refused():
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)))
    with pytest.raises(TapeError, match="TorchScript"):
        gauge_fix(model, torch.randn(8, 3))
