from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minaction.data.dataset import DataSpec
from minaction.energy.functionals import L1Energy
from minaction.energy.tape import Tape
from minaction.models.build import build_model
from minaction.models.dual_pathway import LEAK, sized_dual_pathway
from minaction.models.sizing import count_parameters

SHAPES = {
    "vector": (30,),
    "sequence": (40, 3),
    "image": (1, 14, 14),
    "frames": (4, 2, 12, 12),
}


def spec_of(*shape, vocabulary=None):
    return DataSpec(
        name="made",
        modality="speech",
        shape=shape,
        classes=3,
        class_names=("a", "b", "c"),
        vocabulary=vocabulary,
    )


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def model_of(shape, *, starved=0.0):
    """A model some of whose gates are closed, for some samples or for all."""
    model = build_model("dual-pathway", spec_of(*shape), parameters=20_000, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for glia in model.glia:
            shut = torch.rand(glia.supplier.out_features, generator=generator) < starved
            glia.supplier.bias[shut] = -0.1
    return model


def batch_of(shape, n=9):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def flops(function, x):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(x)
    return counter.get_total_flops()


def test_dense_layers_are_what_they_say():
    model, x = model_of((30,)).double(), torch.randn(5, 30, dtype=torch.float64)
    a, m, s = x, x, torch.zeros(5, model.glia[0].sensor.out_features, dtype=torch.float64)
    for layer, glia in zip(model.neurons, model.glia, strict=True):
        sensor, supplier = glia.sensor, glia.supplier
        s = (1 - LEAK) * s + LEAK * (m @ sensor.weight.T + sensor.bias).tanh()
        g = (s @ supplier.weight.T + supplier.bias).clamp(0, 1)
        a = m = (g * (a @ layer.weight.T + layer.bias)).clamp(min=0)
    torch.testing.assert_close(model(x), a @ model.readout.weight.T + model.readout.bias)


def test_convolutions_are_what_they_say():
    model, x = model_of((1, 14, 14)).double(), torch.randn(5, 1, 14, 14, dtype=torch.float64)
    g1, g2, g3 = model.supply(x)
    one, two, three = model.neurons
    a = F.relu(g1[:, :, None, None] * F.conv2d(x, one.weight, one.bias, 2, 2))
    a = F.relu(g2[:, :, None, None] * F.conv2d(a, two.weight, two.bias, 2, 1))
    a = F.relu(g3 * three(a.flatten(1)))
    torch.testing.assert_close(model(x), model.readout(a))
    sensed = F.adaptive_avg_pool2d(x, 8).flatten(1)
    s = LEAK * torch.tanh(model.glia[0].sensor(sensed))
    torch.testing.assert_close(g1, model.glia[0].supplier(s).clamp(0, 1))


def test_gates_start_mostly_open_and_lie_between_0_and_1(shape):
    for gates in model_of(shape).supply(batch_of(shape)):
        assert gates.min() >= 0
        assert gates.max() <= 1
        assert gates.mean() > 0.7


@pytest.mark.parametrize("starved", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_skipping_changes_nothing(shape, starved, threshold):
    model, x = model_of(shape, starved=starved).double(), batch_of(shape).double()
    for batch in (x, x[:1]):
        torch.testing.assert_close(
            model.skipping(batch, threshold), model.masked(batch, threshold), rtol=1e-12, atol=1e-12
        )


def test_hard_gates_at_zero_are_the_soft_ones(shape):
    model, x = model_of(shape, starved=0.5), batch_of(shape)
    torch.testing.assert_close(model.masked(x), model(x))


def test_skipping_saves_the_work_of_closed_gates(shape):
    model, x = model_of(shape, starved=0.7), batch_of(shape, 1)
    assert any((gates == 0).any() for gates in model.supply(x))
    assert flops(model.skipping, x) < 0.55 * flops(model.masked, x)
    assert flops(model.masked, x) == flops(model, x)


def test_everything_closed_still_gives_the_rest_state(shape):
    model, x = model_of(shape), batch_of(shape)
    torch.testing.assert_close(model.skipping(x, 1.0), model.readout.bias.expand(len(x), -1))


def test_an_energy_charges_for_supply_and_closes_gates():
    model, x = model_of((30,)).train(), batch_of((30,), 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    before = torch.cat(model.supply(x), 1)
    for _ in range(150):
        with Tape(model) as tape:
            model(x)
        optimizer.zero_grad()
        L1Energy()(tape.trajectory).backward()
        optimizer.step()
    after = torch.cat(model.supply(x), 1)
    assert (before == 0).float().mean() < 0.05
    assert (after == 0).float().mean() > 0.5


def test_the_tape_sees_both_pathways():
    model, x = model_of((1, 14, 14)), batch_of((1, 14, 14))
    with Tape(model) as tape:
        model(x)
    assert [*tape.trajectory][:4] == [
        "glia.0.tanh",
        "glia.0.hardtanh",
        "activity.0",
        "glia.1.tanh",
    ]
    assert [layer.value.ndim for layer in tape.trajectory.layers] == [2, 2, 4] * 2 + [2, 2, 2]
    assert torch.equal(tape.trajectory.layers[1].value, model.supply(x)[0])


@pytest.mark.parametrize("shape", [(30,), (40, 3), (1, 14, 14)])
def test_ratio(shape):
    model = sized_dual_pathway(spec_of(*shape), 20_000, 0.5)()
    widths = [layer.weight.shape[0] for layer in model.neurons]
    assert widths[1:] == [width // 2 for width in widths[:-1]]
    assert abs(count_parameters(model) - 20_000) <= 2_000
    assert isinstance(model.neurons[-1], nn.Linear)
