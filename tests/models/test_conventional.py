from __future__ import annotations

import torch
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.models.conventional import CNN, MLP, sized_cnn, sized_mlp
from minaction.models.sizing import count_parameters


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


def test_proportions():
    spec = DataSpec.of_source("mnist")
    first, second, _ = [w.shape[0] for w in sized_mlp(spec, 100_000)().parameters() if w.ndim == 2]
    assert second == first // 2
    network = sized_cnn(spec, 100_000)()
    c, twice, hidden, _ = [w.shape[0] for w in network.parameters() if w.ndim > 1]
    assert twice == 2 * c
    assert 3 * c <= hidden <= 5 * c
