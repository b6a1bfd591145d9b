"""The MACs of the wiring against hand-derived ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.energy.functionals import SynapticEnergy, UnitEnergy
from minaction.energy.tape import Tape
from minaction.energy.wiring import Wiring, trace_wiring


def wiring(units: int, positions: int, macs_in: float, macs_out: float) -> Wiring:
    return Wiring(units=units, elements=units * positions, macs_in=macs_in, macs_out=macs_out)


class HandWrittenGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


def mlp(activation=nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 4), activation(), nn.Linear(4, 3), activation(), nn.Linear(3, 2)
    )


MLP = {"1": wiring(4, 1, 6 * 4, 4 * 3), "3": wiring(3, 1, 4 * 3, 3 * 2)}


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.GELU, HandWrittenGELU, lambda: nn.ReLU(inplace=True), nn.PReLU]
)
def test_mlp(activation):
    assert dict(trace_wiring(mlp(activation), torch.randn(5, 6))) == MLP


def test_cnn_with_pooling_and_normalisation():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(),
        nn.Linear(6, 3),
    )  # fmt: skip
    first = 8 * 8 * 4 * 1 * 9
    second = 2 * 2 * 6 * 4 * 9  # on 4 x 4 positions after pooling, without padding
    assert dict(trace_wiring(model, torch.randn(3, 1, 8, 8))) == {
        "2": wiring(4, 64, first, second),
        "5": wiring(6, 4, second, 6 * 3),
    }


def test_grouped_strided_and_transposed_convolutions():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=4), nn.ReLU(),
        nn.Conv2d(4, 1, 1),
    )  # fmt: skip
    grouped = 4 * 4 * 8 * (4 // 2) * 9
    transposed = 4 * 4 * 8 * (4 // 4) * 4  # every input element meets one filter
    assert dict(trace_wiring(model, torch.randn(2, 4, 8, 8))) == {
        "1": wiring(8, 16, grouped, transposed),
        "3": wiring(4, 64, transposed, 8 * 8 * 4),
    }


class Residual(nn.Module):
    """`relu(a(x)) -> relu(b(h) + shortcut(h)) -> relu(c(g) + g) -> read`."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(4, 5), nn.Linear(5, 5)
        self.shortcut, self.read = nn.Linear(4, 5), nn.Linear(5, 2)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        g = F.relu(self.b(h) + self.shortcut(h))
        f = self.c(g)
        if self.in_place:
            f += g
        else:
            f = f + g
        return self.read(F.relu(f, inplace=self.in_place))


@pytest.mark.parametrize("in_place", [False, True])
def test_residual_network(in_place):
    assert dict(trace_wiring(Residual(in_place), torch.randn(3, 6))) == {
        "relu": wiring(4, 1, 6 * 4, 2 * 4 * 5),
        "relu#2": wiring(5, 1, 2 * 4 * 5, 5 * 5),
        "relu#3": wiring(5, 1, 5 * 5, 5 * 2),
    }


def test_operations_fed_by_a_sum_are_shared_equally():
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.read = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.a(x).relu() + self.b(x).tanh())

    assert dict(trace_wiring(Sum(), torch.randn(3, 6))) == {
        "relu": wiring(4, 1, 24, 6),
        "tanh": wiring(4, 1, 24, 6),
    }


def test_operations_fed_by_a_concatenation_are_shared_by_elements():
    class Concat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.read = nn.Linear(6, 4), nn.Linear(6, 8), nn.Linear(18, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(torch.cat([self.a(x).relu(), self.b(x).tanh(), x], dim=1))

    assert dict(trace_wiring(Concat(), torch.randn(3, 6))) == {
        "relu": wiring(4, 1, 24, 4 * 3),
        "tanh": wiring(8, 1, 48, 8 * 3),
    }


@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_network(batch_first):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.read = nn.GRU(6, 4, batch_first=batch_first), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            states, _ = self.rnn(x)
            return self.read(states[:, -1] if batch_first else states[-1])

    x = torch.randn(3, 7, 6)
    assert dict(trace_wiring(Recurrent(), x if batch_first else x.transpose(0, 1))) == {
        "rnn.gru": wiring(4, 7, 7 * 3 * 4 * (6 + 4), 4 * 2)
    }


def test_transformer_layer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(layer, nn.Linear(8, 2))
    assert dict(trace_wiring(model, torch.randn(3, 5, 8))) == {
        "0.relu": wiring(16, 5, 5 * 8 * 16, 5 * 16 * 8)
    }


def test_attention_consumes_what_feeds_it():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.read = nn.Linear(6, 8), nn.Linear(8, 2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x).relu()
            return self.read(self.attention(h, h, h)[0])

    assert dict(trace_wiring(Attention(), torch.randn(3, 5, 6))) == {
        "relu": wiring(8, 5, 5 * 6 * 8, 5 * 4 * 8 * 8)
    }


def test_chosen_layers_are_followed():
    assert dict(trace_wiring(mlp(), torch.randn(5, 6), layers=[nn.Linear])) == {
        "0": wiring(4, 1, 24, 12),
        "2": wiring(3, 1, 12, 6),
        "4": wiring(2, 1, 6, 0),
    }


def test_the_dry_run_changes_nothing():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    trace_wiring(model, torch.randn(5, 6, generator=torch.Generator()))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


def test_the_dry_run_restores_the_mode_after_an_exception():
    model = mlp()
    with pytest.raises(RuntimeError):
        trace_wiring(model, torch.randn(5, 7))
    assert model.training
    assert torch.overrides._len_torch_function_stack() == 0


def test_costs_of_the_energies_are_the_wiring():
    model, x = mlp(), torch.randn(5, 6)
    assert UnitEnergy.of(model, x).cost == {"1": (24 + 12) / 4, "3": (12 + 6) / 3}
    assert UnitEnergy.of(model, x, relative=True).cost == {"1": 1.0, "3": 6 / 9}
    synaptic = SynapticEnergy.of(model, x)
    assert synaptic.fan_out == {"1": 3, "3": 2}
    with Tape(model) as tape:
        model(x)
    strict = synaptic.strict_count(tape.trajectory)
    active = {name: int(value.count_nonzero()) for name, value in tape.trajectory.items()}
    assert float(strict["1"]) == pytest.approx(3 * active["1"] / 5)
    assert float(strict["3"]) == pytest.approx(2 * active["3"] / 5)


def test_an_output_nonlinearity_has_a_cost_should_it_be_observed():
    model = nn.Sequential(mlp(), nn.Sigmoid())
    assert dict(trace_wiring(model, torch.randn(5, 6)))["1"] == wiring(2, 1, 6, 0)


def test_inputs_may_be_tuples_and_mappings():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x + y).relu().sum(1)

    x = torch.randn(2, 6)
    assert trace_wiring(Two(), (x, x)) == trace_wiring(Two(), {"x": x, "y": x})
