"""What goes, and that the network computes the same without it."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Concatenating, Residual, Separable, images, settle
from torch import nn
from torch.nn import functional as F

from minaction.compaction.compact import compact
from minaction.models.conventional import CNN, MLP

SILENCE = -1e4


def cnn():
    return CNN((1, 8, 8), (5, 6), 7, 3).eval()


def with_silent_units(model, units):
    """Let the biases of some units see to it that a ReLU never lets them through."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, index in units:
            modules[name].bias[index] = SILENCE
    return model


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_outputs(model, compaction, x, tolerance=1e-5):
    with torch.no_grad():
        expected, found = model(x), compaction.model(x)
    assert float((expected - found).abs().max() / expected.abs().max()) <= tolerance


def removed(compaction):
    return {(unit.layer, unit.unit): unit.kind for unit in compaction.removed}


def test_silent_units_of_a_cnn_go_and_nothing_else_changes():
    silent = [("features.0", 1), ("features.0", 4), ("features.3", 0), ("classifier.1", 6)]
    model = with_silent_units(cnn(), silent)
    x, unseen = images(channels=1), images(channels=1, seed=1)
    compaction = compact(model, x, held_out=unseen)
    assert set(silent) <= removed(compaction).keys()
    assert set(removed(compaction).values()) == {"silent"}
    assert compaction.approximate == ()
    assert len(compaction.exact) == len(compaction.removed)
    assert_same_outputs(model, compaction, x)
    for name, (before, after) in compaction.units.items():
        assert before - after == sum(unit.layer == name for unit in compaction.removed)
    assert compaction.units["classifier.3"] == (3, 3)
    assert compaction.not_covered == {}
    assert 0 <= compaction.max_output_difference < 1e-5
    assert compaction.max_output_difference_held_out is not None


def test_a_smaller_network_has_the_rows_and_columns_that_are_left():
    model = with_silent_units(MLP(4, (6, 5), 3).eval(), [("net.1", 2), ("net.3", 0)])
    with torch.no_grad():
        for name in ("net.1", "net.3"):
            model.get_submodule(name).bias += 3  # the other units stay awake
        model.net[1].bias[2] = model.net[3].bias[0] = SILENCE
    smaller = compact(model, torch.rand(30, 4)).model
    rows = [i for i in range(6) if i != 2]
    torch.testing.assert_close(smaller.net[1].weight, model.net[1].weight[rows])
    torch.testing.assert_close(smaller.net[3].weight, model.net[3].weight[1:][:, rows])
    torch.testing.assert_close(smaller.net[5].weight, model.net[5].weight[:, 1:])
    torch.testing.assert_close(smaller.net[5].bias, model.net[5].bias)


def test_a_constant_unit_goes_into_the_next_bias():
    model = MLP(4, (6,), 3).eval()
    with torch.no_grad():
        model.net[1].bias += 3
        model.net[1].weight[2] = 0
        model.net[1].bias[2] = 0.75
    compaction = compact(model, torch.rand(30, 4))
    [unit] = compaction.removed
    assert (unit.layer, unit.unit, unit.kind) == ("net.1", 2, "constant")
    assert unit.constant == 0.75
    folded = model.net[3].bias + 0.75 * model.net[3].weight[:, 2]
    torch.testing.assert_close(compaction.model.net[3].bias, folded)


def test_a_unit_that_nothing_reads_goes_though_it_varies():
    model = MLP(4, (6,), 3).eval()
    with torch.no_grad():
        model.net[1].bias += 3
        model.net[3].weight[:, 5] = 0
    x = torch.rand(30, 4)
    compaction = compact(model, x)
    assert removed(compaction) == {("net.1", 5): "unread"}
    assert_same_outputs(model, compaction, x, 1e-6)


def test_units_that_fed_only_what_went_go_too():
    model = MLP(4, (6, 5), 3).eval()
    with torch.no_grad():
        for index in (1, 3):
            model.net[index].bias += 3
        model.net[3].weight[1:, 2] = 0  # unit 2 of the first layer feeds only unit 0 of the second
        model.net[3].bias[0] = SILENCE
    compaction = compact(model, torch.rand(30, 4))
    assert removed(compaction) == {("net.3", 0): "silent", ("net.1", 2): "unread"}


def test_a_network_with_nothing_to_remove_comes_back_equal():
    model = MLP(4, (6, 5), 3).eval()
    with torch.no_grad():
        for index in (1, 3):
            model.net[index].bias += 3
    x = torch.rand(30, 4)
    compaction = compact(model, x)
    assert compaction.removed == compaction.kept == ()
    assert compaction.max_output_difference == 0
    assert compaction.macs_after == compaction.macs_before
    assert compaction.bytes_after == compaction.bytes_before
    for name, tensor in compaction.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_the_users_model_is_not_touched():
    model = with_silent_units(cnn(), [("features.0", 1)])
    model.features[3].weight.requires_grad_(False)
    before, hooks = state_of(model), copy.deepcopy(model._forward_hooks)
    compaction = compact(model, images(channels=1), tolerance=0.2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model._forward_hooks == hooks
    assert all(not m._forward_pre_hooks for m in model.modules())
    assert all(not m._forward_pre_hooks for m in compaction.model.modules())
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    assert flags == {name: p.requires_grad for name, p in compaction.model.named_parameters()}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_residual_channels_go_from_both_sides_of_the_sum():
    model = settle(Residual())
    with torch.no_grad():
        for norm in (model.norm, model.norm2):
            norm.bias[3] = SILENCE
        model.norm1.bias[1] = SILENCE
    x = images()
    compaction = compact(model, x)
    expected = {("stem", 3), ("conv2", 3), ("conv1", 1)}
    assert expected <= removed(compaction).keys()
    assert compaction.units["stem"][1] == compaction.units["conv2"][1]
    assert compaction.model.norm.num_features == compaction.units["stem"][1]
    assert_same_outputs(model, compaction, x)


def test_a_channel_that_only_one_side_of_a_sum_silences_stays():
    model = settle(Residual())
    with torch.no_grad():
        model.norm.bias += 2
        model.norm1.bias += 2
        model.norm2.bias += 2
        model.norm2.weight[3] = model.norm2.bias[3] = 0  # the skip still brings something
    compaction = compact(model, images())
    assert compaction.removed == ()


def test_concatenated_branches():
    model = with_silent_units(Concatenating().eval(), [("left", 2), ("right", 0), ("both", 5)])
    x = images()
    compaction = compact(model, x)
    assert {("left", 2), ("right", 0), ("both", 5)} <= removed(compaction).keys()
    assert_same_outputs(model, compaction, x)
    widths = {name: after for name, (_, after) in compaction.units.items()}
    assert compaction.model.both.in_channels == widths["left"] + widths["right"]
    assert compaction.model.head.in_features == compaction.model.both.in_channels + widths["both"]


def test_depthwise_channels_go_with_the_ones_they_filter():
    model = settle(Separable())
    with torch.no_grad():
        model.norm.bias[4] = SILENCE
        model.project.bias[1] = SILENCE
    x = images()
    compaction = compact(model, x)
    assert {("expand", 4), ("depthwise", 4), ("project", 1)} <= removed(compaction).keys()
    assert compaction.model.depthwise.groups == compaction.units["expand"][1]
    assert_same_outputs(model, compaction, x)


@pytest.mark.parametrize(
    ("reader", "goes"),
    [
        (nn.Conv2d(4, 3, 3), True),
        (nn.Conv2d(4, 3, 3, padding=1), False),
        (nn.Conv2d(4, 3, 3, padding="same"), False),
        (nn.Conv2d(4, 3, 1, padding="same"), True),
        (nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), True),
        (nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), True),
        (nn.Conv2d(4, 3, 3, stride=2, dilation=2, bias=False), True),
        (nn.ConvTranspose2d(4, 3, 3, stride=2), False),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a_constant_channel_goes_only_where_borders_do_not_show_it(reader, goes):
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), reader).eval()
    with torch.no_grad():
        model[0].bias += 3
        model[0].weight[2] = 0
    x = images()
    compaction = compact(model, x)
    assert removed(compaction) == ({("0", 2): "constant"} if goes else {})
    kept = [(unit.layer, unit.unit) for unit in compaction.kept]
    assert kept == ([] if goes else [("0", 2)])
    assert_same_outputs(model, compaction, x)
    if not goes:
        reason = "transposed" if isinstance(reader, nn.ConvTranspose2d) else "padding with zeros"
        assert reason in compaction.kept[0].reason
        assert compaction.kept[0].constant == pytest.approx(model[0].bias[2].item())


def test_a_silent_channel_goes_also_before_padding_and_transposed_convolutions():
    for reader in (nn.Conv2d(4, 3, 3, padding=1), nn.ConvTranspose2d(4, 3, 3, stride=2)):
        model = with_silent_units(nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), reader), [("0", 2)])
        compaction = compact(model.eval(), images())
        assert removed(compaction)["0", 2] == "silent"
        assert_same_outputs(model, compaction, images())


def test_each_position_of_a_flattened_channel_may_have_its_own_constant():
    model = cnn()
    with torch.no_grad():
        for index in (0, 3):
            model.features[index].bias += 3
        model.features[3].weight[2] = 0
        model.features[3].weight[2, 0] = 1  # sees only a channel that is constant ...
        model.features[0].weight[0] = 0  # ... but is padded, so borders differ
    x = images(channels=1)
    compaction = compact(model, x)
    assert removed(compaction)["features.3", 2] == "constant"
    assert ("features.0", 0) in [(unit.layer, unit.unit) for unit in compaction.kept] or (
        removed(compaction)["features.0", 0] == "unread"
    )
    assert_same_outputs(model, compaction, x)


def test_a_reader_without_bias_gets_one_for_the_constant():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False)).eval()
    with torch.no_grad():
        model[0].bias[1] = 1e4  # saturated: always 1
    x = torch.rand(30, 4)
    compaction = compact(model, x)
    assert removed(compaction) == {("0", 1): "constant"}
    torch.testing.assert_close(compaction.model[2].bias, model[2].weight[:, 1])
    assert_same_outputs(model, compaction, x)


def test_feed_forward_units_of_a_transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    with_silent_units(model, [("layers.0.linear1", 3), ("layers.1.linear1", 15)])
    x = torch.randn(20, 5, 8)
    compaction = compact(model, x)
    assert {("layers.0.linear1", 3), ("layers.1.linear1", 15)} <= removed(compaction).keys()
    assert compaction.model.layers[0].linear2.in_features < 16
    assert_same_outputs(model, compaction, x)
    assert "attention" in compaction.not_covered["layers.0.self_attn"]
    assert "layer norm" in compaction.not_covered["layers.0.linear2"]


def test_double_precision_is_kept():
    model = with_silent_units(cnn().double(), [("features.0", 1), ("features.3", 2)])
    x = images(channels=1).double()
    compaction = compact(model, x)
    assert {p.dtype for p in compaction.model.parameters()} == {torch.float64}
    assert compaction.max_output_difference < 1e-12


@settings(max_examples=25)
@given(
    widths=st.lists(st.integers(2, 9), min_size=1, max_size=3),
    seed=st.integers(0, 2**20),
    silent=st.floats(0, 1),
    constant=st.floats(0, 1),
)
def test_any_network_computes_the_same_without_what_does_nothing(widths, seed, silent, constant):
    generator = torch.Generator().manual_seed(seed)
    layers, size = [], 3
    for width in widths:
        layer = nn.Linear(size, width)
        with torch.no_grad():
            for tensor in (layer.weight, layer.bias):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            layer.bias[torch.rand(width, generator=generator) < silent] = SILENCE
            layer.weight[torch.rand(width, generator=generator) < constant] = 0
        layers += [layer, nn.ReLU()]
        size = width
    head = nn.Linear(size + 3, 2)
    with torch.no_grad():
        for tensor in head.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))

    class Skipping(nn.Module):
        """So that the output never is a constant, whatever falls silent."""

        def __init__(self):
            super().__init__()
            self.net, self.head = nn.Sequential(*layers), head

        def forward(self, x):
            return self.head(torch.cat([self.net(x), x], 1))

    model = Skipping().eval()
    x = torch.randn(50, 3, generator=generator)
    compaction = compact(model, x)
    assert_same_outputs(model, compaction, x)
    again = compact(compaction.model, x)
    assert [unit for unit in again.removed if unit.exact] == []


def test_near_silent_units_go_only_with_a_tolerance():
    model = MLP(4, (6,), 3).eval()
    with torch.no_grad():
        model.net[1].bias += 3
        model.net[1].weight[4] *= 1e-3  # nearly constant
    x = torch.rand(200, 4)
    assert compact(model, x).removed == ()
    compaction = compact(model, x, tolerance=0.05)
    assert removed(compaction) == {("net.1", 4): "near-silent"}
    assert compaction.exact == ()
    assert len(compaction.approximate) == 1
    mean = F.relu(model.net[1](x))[:, 4].mean()
    assert compaction.removed[0].constant == pytest.approx(mean.item(), rel=1e-5)
    folded = model.net[3].bias + mean * model.net[3].weight[:, 4]
    torch.testing.assert_close(compaction.model.net[3].bias, folded)
    assert 0 < compaction.max_output_difference < 0.01


def test_a_higher_tolerance_removes_more_and_costs_more():
    model, x = cnn(), images(channels=1)
    found = [compact(model, x, tolerance=tolerance) for tolerance in (0, 0.2, 0.5, 0.9)]
    macs = [compaction.macs_after for compaction in found]
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] < macs[0]
    differences = [compaction.max_output_difference for compaction in found]
    assert differences[0] < 1e-5 < differences[1] < differences[-1]


def test_folding_the_mean_is_better_than_dropping_it():
    model, x = cnn(), images(channels=1, samples=200)
    compaction = compact(model, x, tolerance=0.5)
    gone = {}
    for unit in compaction.removed:
        gone.setdefault(unit.layer, []).append(unit.unit)
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for name, units in gone.items():
            plain.get_submodule(name).weight[units] = 0
            plain.get_submodule(name).bias[units] = 0
        expected, ours, dropped = model(x), compaction.model(x), plain(x)
    assert (ours - expected).square().mean() < 0.5 * (dropped - expected).square().mean()


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
def test_a_layer_never_loses_its_last_unit(tolerance):
    model = settle(Residual())
    with torch.no_grad():
        model.norm1.bias[:] = SILENCE
    x = images()
    compaction = compact(model, x, tolerance=tolerance)
    assert compaction.units["conv1"] == (5, 1)
    [kept] = [unit for unit in compaction.kept if unit.layer == "conv1"]
    assert "no other unit" in kept.reason
    if not tolerance:
        assert_same_outputs(model, compaction, x)


def test_batches_of_any_kind_give_the_same():
    model = with_silent_units(cnn(), [("features.0", 1), ("classifier.1", 2)])
    x = images(channels=1, samples=50)
    loader = torch.utils.data.DataLoader(x, batch_size=16)
    expected = compact(model, x)
    for calibration in ((x,), {"x": x}, list(x.split(7)), iter(x.split(20)), loader):
        found = compact(model, calibration)
        assert removed(found) == removed(expected)
        assert found.max_output_difference == pytest.approx(0, abs=1e-6)
    assert removed(compact(model, x, batch_size=11)) == removed(expected)
