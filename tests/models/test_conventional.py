from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.build import build_model
from minaction.models.conventional import CNN, MLP, CNN1d, sized_cnn, sized_mlp
from minaction.models.reading import Channels
from minaction.models.sizing import count_parameters


def sequence_of(length, channels):
    return DataSpec(
        name="made",
        modality="speech",
        shape=(length, channels),
        classes=4,
        class_names=("a", "b", "c", "d"),
    )


def test_mlp_is_what_it_says():
    model = MLP(6, (5, 4), 3)
    x = torch.randn(7, 2, 3)
    w1, b1, w2, b2, w3, b3 = model.parameters()
    hidden = F.relu(F.relu(x.reshape(7, 6) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(model(x), hidden @ w3.T + b3)


def test_mlp_without_hidden_layer_is_linear():
    assert count_parameters(MLP(6, (), 3)) == 6 * 3 + 3


def test_cnn_is_what_it_says():
    model = CNN((2, 9, 6), (3, 4), 5, 10)
    x = torch.randn(7, 2, 9, 6)
    w1, b1, w2, b2, w3, b3, w4, b4 = model.parameters()
    a = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=1)), 2)
    a = F.max_pool2d(F.relu(F.conv2d(a, w2, b2, padding=1)), 2)
    assert a.shape == (7, 4, 2, 1)
    logits = F.relu(a.flatten(1) @ w3.T + b3) @ w4.T + b4
    torch.testing.assert_close(model(x), logits)


def test_cnn_along_time_is_what_it_says():
    spec = sequence_of(20, 2)
    model = CNN1d(Channels(spec, 1000), (3, 4), 5, 10)
    x = torch.randn(7, 20, 2)
    w1, b1, w2, b2, w3, b3, w4, b4 = model.parameters()
    a = F.max_pool1d(F.relu(F.conv1d(x.transpose(1, 2), w1, b1, padding=2)), 2)
    a = F.max_pool1d(F.relu(F.conv1d(a, w2, b2, padding=2)), 2)
    assert a.shape == (7, 4, 5)
    logits = F.relu(a.flatten(1) @ w3.T + b3) @ w4.T + b4
    torch.testing.assert_close(model(x), logits)


@pytest.mark.parametrize(
    ("length", "blocks"), [(1, 2), (8, 2), (16, 2), (32, 2), (36, 3), (250, 5), (512, 6)]
)
def test_longer_sequences_get_more_blocks(length, blocks):
    model = sized_cnn(sequence_of(length, 3), 20_000)()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv1d)]
    assert len(convolutions) == CNN1d.blocks(length) == blocks
    assert model(torch.zeros(2, length, 3)).shape == (2, 4)


# measured before other layouts and ratios existed: published results depend on these weights
@pytest.mark.parametrize(
    ("name", "source", "digest"),
    [
        ("mlp", "mnist", "85737952d5a28f01"),
        ("cnn", "mnist", "a9aae1dea372cd28"),
        ("mlp", "digits", "f0f552338ab6a164"),
        ("cnn", "digits", "f01b96644cd308e0"),
    ],
)
def test_networks_for_images_never_change(name, source, digest):
    model = build_model(name, DataSpec.of_source(source), parameters=30_000, seed=5)
    hashed = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        hashed.update(f"{key} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.numpy().tobytes())
    assert hashed.hexdigest()[:16] == digest


@pytest.mark.parametrize("ratio", [0.5, 2 / 3, 1.0])
def test_each_layer_is_the_ratio_as_wide_as_the_one_before(ratio):
    spec = DataSpec.of_source("mnist")
    for size, model_spec in ((sized_mlp, spec), (sized_cnn, spec), (sized_cnn, sequence_of(99, 3))):
        weights = [w for w in size(model_spec, 100_000, ratio)().parameters() if w.ndim > 1]
        widths = [w.shape[0] for w in weights[:-1]]
        assert widths[1:] == [max(int(w * ratio), 1) for w in widths[:-1]]


def test_proportions():
    spec = DataSpec.of_source("mnist")
    first, second, _ = [w.shape[0] for w in sized_mlp(spec, 100_000)().parameters() if w.ndim == 2]
    assert second == first // 2
    network = sized_cnn(spec, 100_000)()
    c, twice, hidden, _ = [w.shape[0] for w in network.parameters() if w.ndim > 1]
    assert twice == 2 * c
    assert 3 * c <= hidden <= 5 * c
