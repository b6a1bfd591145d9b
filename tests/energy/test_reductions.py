"""The reductions equal the plain operations they replace, and keep no more than their input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.energy.functionals import (
    ActivationEnergy,
    FreeEnergy,
    L1Energy,
    LayerEnergy,
    SynapticEnergy,
    UnitEnergy,
)
from minaction.energy.reductions import (
    MANY,
    saturated_count,
    sum_of_sizes,
    sum_of_squares,
    sum_of_squares_per_unit,
)
from minaction.objective.objective import EnergyObjective

PLAIN = {
    "squares": (lambda v: sum_of_squares(v, 0.3), lambda v: 0.3 * (v * v).sum()),
    "squares-per-unit": (
        lambda v: sum_of_squares_per_unit(v, 1),
        lambda v: (v * v).transpose(0, 1).flatten(1).sum(1),
    ),
    "squares-per-last-unit": (
        lambda v: sum_of_squares_per_unit(v, -1),
        lambda v: (v * v).flatten(0, -2).sum(0),
    ),
    "sizes": (sum_of_sizes, lambda v: v.abs().sum()),
    "saturated": (lambda v: saturated_count(v, 0.2), lambda v: (v.abs() / (v.abs() + 0.2)).sum()),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided", "in_a_transform"])
def test_equals_the_plain_operations(name, layout):
    reduction, plain = PLAIN[name]
    value = torch.randn(4, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    shaped = {
        "contiguous": value,
        "channels_last": value.contiguous(memory_format=torch.channels_last),
        "strided": value[::2, 1:5],
        "in_a_transform": value,
    }[layout]
    weight = torch.randn_like(plain(shaped))
    (expected,) = torch.autograd.grad((weight * plain(shaped)).sum(), value)
    if layout == "in_a_transform":
        gradient = torch.func.grad(lambda v: (weight * reduction(v)).sum())(value)
    else:
        torch.testing.assert_close(reduction(shaped), plain(shaped))
        (gradient,) = torch.autograd.grad((weight * reduction(shaped)).sum(), value)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_second_derivatives(name):
    reduction, _ = PLAIN[name]
    value = torch.randn(2, 3, 2, dtype=torch.float64).sign_().mul_(0.7).requires_grad_()
    assert torch.autograd.gradcheck(reduction, value)
    if name != "saturated":  # its first derivative holds |a|
        assert torch.autograd.gradgradcheck(reduction, value)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_of_half_precision_are_rounded_once(name, dtype):
    reduction, plain = PLAIN[name]
    value = torch.randn(64, 5, dtype=torch.float64).to(dtype)
    half, exact = value.clone().requires_grad_(), value.double().requires_grad_()
    (reduction(half).sum() / 3).backward()
    (plain(exact).sum() / 3).backward()
    assert half.grad is not None
    assert exact.grad is not None
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(half.grad.double(), exact.grad, rtol=epsilon, atol=1e-7)


def test_sums_of_millions_stay_accurate_in_float32():
    value = torch.rand(128, 16, 28, 28, generator=torch.Generator().manual_seed(0))
    exact = value.double().square().sum()
    assert abs(sum_of_squares(value).double() / exact - 1) < 1e-6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("height", [28, 27])  # in rows of 256 elements, and not
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_rounding_cancels_out_over_many_bfloat16_elements(layout, height, size):
    value = torch.rand(64, 16, height, 28, generator=torch.Generator().manual_seed(0))
    value = (size * value).bfloat16().contiguous(memory_format=layout)
    exact = value.double().square().sum()
    assert value.numel() >= MANY
    assert abs(sum_of_squares(value).double() / exact - 1) < 2e-4


# ---- memory: what is kept for the backward pass


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(8 * 49, 16), nn.GELU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10),
    )  # fmt: skip


def kept_bytes(model: nn.Module, x: Tensor, loss) -> int:
    """Bytes of the distinct storages that autograd keeps for the backward pass of `loss`."""
    storages: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(model, x)
    return sum(storages.values())


@pytest.mark.parametrize(
    "energy",
    [
        ActivationEnergy(),
        L1Energy(),
        UnitEnergy(),
        SynapticEnergy.of(cnn(), torch.randn(2, 1, 14, 14)),
        FreeEnergy(s=0.5),
        ActivationEnergy() + 0.1 * L1Energy(),
    ],
    ids=lambda energy: type(energy).__name__,
)
@pytest.mark.parametrize("autocast", [False, True])
def test_an_energy_keeps_nothing_that_the_network_does_not_keep(energy, autocast):
    model, x, y = cnn(), torch.randn(8, 1, 14, 14), torch.zeros(8, dtype=torch.long)
    objective = EnergyObjective(F.cross_entropy, energy, lam=1e-3)

    def plain(model: nn.Module, x: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    def with_energy(model: nn.Module, x: Tensor) -> Tensor:
        return objective(model, x, y).total

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        before, after = kept_bytes(model, x, plain), kept_bytes(model, x, with_energy)
    assert before > 40_000
    assert 0 <= after - before < 2_000  # scalars, and one number per unit


def test_a_layer_energy_is_reduced_while_the_network_runs():
    alive: list[int] = []

    class Counting(LayerEnergy):
        def term(self, activation):
            alive.append(activation.value.untyped_storage().data_ptr())
            return activation.value.sum()

    model, x, y = cnn(), torch.randn(8, 1, 14, 14), torch.zeros(8, dtype=torch.long)
    order: list[int] = []
    objective = EnergyObjective(F.cross_entropy, Counting(), lam=1e-3)
    objective(model, x, y)  # the first call looks at the model beforehand
    alive.clear()
    model[5].register_forward_hook(lambda _m, _a, _o: order.append(len(alive)))
    objective(model, x, y)
    assert order == [2]
    assert len(alive) == 4
