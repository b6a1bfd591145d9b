from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError, UnknownNameError
from minaction.models.build import TOLERANCE, build_model
from minaction.models.catalog import MODELS, TAKES
from minaction.models.conventional import sized_cnn, sized_mlp
from minaction.models.sequence import CausalBlock
from minaction.models.sizing import count_parameters, size_of
from minaction.models.transformer import EncoderBlock

DIGITS = DataSpec.of_source("digits")
MNIST = DataSpec.of_source("mnist")
BUDGETS = (10_000, 100_000, 1_000_000)


def spec_of(*shape, classes=10):
    names = tuple(map(str, range(classes)))
    return DataSpec(name="made", modality="vision", shape=shape, classes=classes, class_names=names)


def equal_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("spec", [DIGITS, MNIST], ids=["digits", "mnist"])
def test_within_ten_percent_of_the_budget(spec, model, budget):
    built = build_model(model, spec, parameters=budget)
    assert abs(count_parameters(built) - budget) <= TOLERANCE * budget


@settings(max_examples=20)
@given(
    budget=st.integers(10_000, 1_000_000),
    size=st.sampled_from([sized_mlp, sized_cnn]),
    spec=st.sampled_from([DIGITS, MNIST]),
)
def test_no_budget_in_between_is_missed(budget, size, spec):
    assert abs(size_of(size(spec, budget)) - budget) <= TOLERANCE * budget


@pytest.mark.parametrize("model", MODELS)
def test_equal_seeds_give_equal_weights_whatever_the_global_state(model):
    torch.manual_seed(1)
    one = build_model(model, DIGITS, parameters=10_000, seed=7)
    torch.manual_seed(2)
    torch.rand(5)
    other = build_model(model, DIGITS, parameters=10_000, seed=7)
    assert equal_weights(one, other)
    assert not equal_weights(one, build_model(model, DIGITS, parameters=10_000, seed=8))


@pytest.mark.parametrize("model", MODELS)
def test_the_global_random_state_is_untouched(model):
    before = torch.get_rng_state()
    build_model(model, DIGITS, parameters=10_000, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_random_state_is_untouched_by_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ModelError):
        build_model("cnn", MNIST, parameters=10)
    assert torch.equal(torch.get_rng_state(), before)


def test_default_device_changes_nothing():
    with torch.device("meta"):
        built = build_model("mlp", DIGITS, parameters=10_000, seed=4)
    assert {p.device.type for p in built.parameters()} == {"cpu"}
    assert equal_weights(built, build_model("mlp", DIGITS, parameters=10_000, seed=4))


def test_unknown_model_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model 'mpl'; did you mean 'mlp'\?"):
        build_model("mpl", DIGITS)


@pytest.mark.parametrize(
    ("model", "spec", "budget", "said"),
    [
        ("mlp", MNIST, 100, r"mlp on mnist: .* budget of 100 parameters .*nearest: 807"),
        ("cnn", DIGITS, 10, r"cnn on digits: .* budget of 10 parameters"),
        ("mlp", DIGITS, 0, r"budget of 0 parameters"),
        ("mlp", DIGITS, -5, r"budget of -5 parameters"),
        ("mlp", MNIST, 10**12, r"budget of 1,000,000,000,000 parameters"),
        ("cnn", spec_of(1, 3, 64), 10_000, r"at least 4 x 4, 'made' has \(1, 3, 64\)"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(model, spec, budget, said):
    with pytest.raises(ModelError, match=said) as caught:
        build_model(model, spec, parameters=budget)
    assert "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("shape", [(5,), (2, 7), (1, 4, 4), (3, 5, 9), (2, 3, 4, 5)])
def test_mlp_takes_samples_of_any_shape(shape):
    model = build_model("mlp", spec_of(*shape, classes=3), parameters=10_000)
    assert model(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 9), (2, 13, 6), (7,), (1, 3), (90, 2)])
def test_cnn_takes_images_from_four_pixels_and_everything_else(shape):
    model = build_model("cnn", spec_of(*shape, classes=3), parameters=10_000)
    assert model(torch.zeros(2, *shape)).shape == (2, 3)


def test_two_classes_and_many():
    for classes in (2, 100):
        spec = replace(spec_of(1, 8, 8, classes=classes), name="classes")
        for model in MODELS:
            assert build_model(model, spec)(torch.zeros(1, 1, 8, 8)).shape == (1, classes)


@pytest.mark.parametrize("model", MODELS)
def test_a_ratio_is_kept_and_counts_within_the_budget(model):
    sizes = {build_size(model, ratio) for ratio in (None, "1/2", "2/3", "golden", 1)}
    assert all(abs(size - 20_000) <= TOLERANCE * 20_000 for size in sizes)
    assert len(sizes) > 2


def build_size(model, ratio):
    return count_parameters(build_model(model, DIGITS, parameters=20_000, ratio=ratio))


def test_an_impossible_ratio_is_refused():
    with pytest.raises(ModelError, match="ratio is 'silver'"):
        build_model("mlp", DIGITS, ratio="silver")


@pytest.mark.parametrize("spec", [DIGITS, spec_of(9, 2, classes=3)])
@pytest.mark.parametrize(("model", "option"), [(m, o) for m in TAKES for o in TAKES[m]])
def test_layers_are_as_many_and_kernels_as_large_as_asked_within_the_budget(model, option, spec):
    for asked in (1, 3):
        network = build_model(model, spec, parameters=20_000, **{option: asked})
        assert abs(count_parameters(network) - 20_000) <= TOLERANCE * 20_000
        assert network(torch.zeros(2, *spec.shape)).shape == (2, spec.classes)
        assert asked in (layers_in(network) if option == "depth" else kernels_in(network))


def layers_in(network):
    """How many modules there are of each kind that repeats."""
    kinds = (nn.Conv1d, nn.Conv2d, CausalBlock, EncoderBlock, nn.ReLU)
    return {sum(isinstance(m, kind) for m in network.modules()) for kind in kinds}


def kernels_in(network):
    return {m.kernel_size[0] for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("gru", {"depth": 2}, "gru: takes no depth; leave it out"),
        ("mlp", {"kernel": 3}, "mlp: takes no kernel"),
        ("cnn", {"depth": 4}, "at least 16 x 16"),
    ],
)
def test_a_depth_or_kernel_that_cannot_be_is_refused(model, options, said):
    with pytest.raises(ModelError, match=said):
        build_model(model, DIGITS, **options)


def test_a_kernel_is_no_longer_than_a_sequence():
    with pytest.raises(ModelError, match="a kernel of 5 needs as many positions"):
        build_model("cnn", spec_of(4, 2, classes=3), parameters=10_000, kernel=5)
