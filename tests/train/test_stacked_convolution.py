"""Convolutions as matrix products: their outputs and gradients, stacked and not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from minaction.energy.functionals import ActionEnergy
from minaction.objective.objective import EnergyObjective
from minaction.train.stacked_convolution import MatrixProducts

CONVOLUTIONS = {
    "plain": (nn.Conv2d(2, 3, 3, padding=1), (2, 8, 8)),
    "without padding and bias": (nn.Conv2d(2, 3, 3, bias=False), (2, 8, 8)),
    "strided, dilated, uneven": (
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2)),
        (2, 9, 8),
    ),
    "along time": (nn.Conv1d(2, 3, 5, padding=2), (2, 12)),
    "causal, dilated": (nn.Conv1d(2, 3, 3, dilation=4), (2, 12)),
    "strided beyond the kernel": (nn.Conv1d(2, 3, 2, stride=3, padding=1), (2, 11)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_outputs_and_gradients_are_those_of_convolutions(name):
    layer, shape = CONVOLUTIONS[name]
    layer = copy.deepcopy(layer).double()
    x = torch.randn(3, 4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stacked = {n: torch.stack([p, 2 * p, -p]).detach() for n, p in layer.named_parameters()}

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,)).square().sum()

    def computed():
        of_weights, of_x = vmap(grad(loss, (0, 1)))(stacked, x)
        return {"out": layer(x[0]), "x": of_x, **of_weights}

    expected = computed()
    with MatrixProducts():
        found = computed()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, atol=1e-12), key


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 4, 3, groups=2), (5, 2, 8, 8)),
        (nn.Conv2d(2, 4, 3, padding="same"), (5, 2, 8, 8)),
        (nn.Conv2d(2, 4, 3), (2, 8, 8)),
        (nn.Conv3d(2, 4, 3), (5, 2, 8, 8, 8)),
        (nn.ConvTranspose2d(2, 4, 3), (5, 2, 8, 8)),
    ],
)
def test_other_convolutions_stay_as_they_are(layer, shape):
    x = torch.randn(shape)
    expected = layer(x)
    with MatrixProducts():
        assert torch.equal(layer(x), expected)


def test_it_is_they_that_compute():
    layer, x = nn.Conv2d(2, 3, 3, bias=False), torch.randn(4, 2, 8, 8)
    assert "ConvolutionBackward0" in type(layer(x).grad_fn).__name__
    with MatrixProducts():
        assert type(layer(x).grad_fn).__name__ == "_ConvolutionBackward"


def test_second_derivatives_are_those_of_convolutions():
    layer = nn.Conv2d(1, 2, 3, padding=1).double()
    x = torch.randn(2, 1, 5, 5, dtype=torch.float64)
    parameters = list(layer.parameters())

    def second():
        once = torch.autograd.grad(layer(x).pow(3).sum(), parameters, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in once), parameters)

    expected = second()
    with MatrixProducts():
        found = second()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_who_observes_a_network_still_sees_its_convolutions():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    x = torch.randn(4, 2, 8)
    objective = EnergyObjective(F.cross_entropy, ActionEnergy(), 1.0)
    expected = objective.evaluate(model, x, torch.zeros(4, dtype=torch.long), 1.0).energy
    with MatrixProducts():
        found = objective.evaluate(model, x, torch.zeros(4, dtype=torch.long), 1.0).energy
    assert torch.allclose(found, expected)
