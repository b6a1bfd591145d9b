"""What layers read: streamed sums against plain ones, padding against a convolution of ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import images
from torch import nn

from minaction.compaction.batches import Batches
from minaction.compaction.readings import inside_share, measure


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_inside_share_is_what_a_convolution_of_ones_sees(size, kernel, stride, padding, dilation):
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False)
    if any(s + 2 * padding < dilation * (kernel - 1) + 1 for s in size):
        return
    with torch.no_grad():
        layer.weight.fill_(1)
        seen = layer(torch.ones(1, 1, *size)).mean().item() / kernel**2
    assert inside_share(layer, size) == pytest.approx(seen)


def test_other_padding_and_layers_read_no_zeros():
    assert inside_share(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (5, 5)) == 1
    assert inside_share(nn.ConvTranspose2d(1, 1, 3, padding=1), (5, 5)) == 1
    assert inside_share(nn.Linear(3, 3), ()) == 1
    same, one = nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, padding=1)
    assert inside_share(same, (5, 4)) == inside_share(one, (5, 4)) < 1


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_streamed_readings_are_those_of_everything_at_once(batch):
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.Flatten(), nn.LazyLinear(2)
    )
    x = images()
    model(x)
    readings, constant = measure(model.eval(), ["2", "4"], Batches(x, batch, "x"))
    assert not constant
    with torch.no_grad():
        read = {"2": model[:2](x).movedim(1, 0).flatten(1), "4": model[:4](x).movedim(1, 0)}
    for name, values in read.items():
        values, reading = values.double(), readings[name]
        close = {"rtol": 1e-5, "atol": 1e-6}
        torch.testing.assert_close(reading.low, values.amin(1), **close)
        torch.testing.assert_close(reading.high, values.amax(1), **close)
        torch.testing.assert_close(reading.mean, values.mean(1), **close)
        torch.testing.assert_close(reading.constant, values.mean(1), **close)
        torch.testing.assert_close(reading.deviation, values.std(1, correction=0), **close)


def test_padding_counts_as_read():
    layer = nn.Conv2d(2, 1, 3, padding=1).eval()
    x = images(size=5)
    readings, _ = measure(nn.Sequential(layer), ["0"], Batches(x, 8, "x"))
    share = inside_share(layer, (5, 5))
    # the constant that, as a bias, leaves the least square of what every kernel position reads
    mean, square = x.double().mean((0, 2, 3)), x.double().square().mean((0, 2, 3))
    torch.testing.assert_close(readings["0"].constant, share * mean, rtol=1e-5, atol=1e-7)
    left = share * square - (share * mean).square()
    torch.testing.assert_close(readings["0"].deviation, left.sqrt(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(readings["0"].mean, mean, rtol=1e-5, atol=1e-7)


def test_constants_within_rounding():
    value = torch.tensor([0.1, 0.1 + 1e-8, 0.1 - 1e-8]).unsqueeze(1)
    x = torch.cat([value, torch.zeros(3, 1), torch.tensor([[0.1], [0.1], [0.1001]])], 1)
    readings, _ = measure(nn.Sequential(nn.Linear(3, 2)), ["0"], Batches(x, 2, "x"))
    assert readings["0"].is_constant.tolist() == [True, True, False]
    assert readings["0"].is_zero.tolist() == [False, True, False]
    assert readings["0"].deviation[:2].tolist() == [0, 0]


def test_a_layer_that_did_not_run_has_no_reading():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.used(x)

    readings, _ = measure(Net(), ["used", "unused"], Batches(torch.rand(9, 3), 4, "x"))
    assert list(readings) == ["used"]


def test_outputs_of_several_lengths_are_no_constant():
    model = nn.Sequential(nn.Linear(3, 2))
    batches = Batches([torch.zeros(2, 4, 3), torch.zeros(2, 5, 3)], 8, "x")
    assert not measure(model, ["0"], batches)[1]
    assert measure(model, ["0"], Batches(torch.zeros(2, 4, 3), 8, "x"))[1]
