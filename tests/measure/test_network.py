"""Measuring a network: what is told, that the network stays as it was, and bad input."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.errors import InputError, MeterError
from minaction.measure.flops import count_macs
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.per_call import Procedure
from minaction.measure.joules.reading import Reading, Source, Validity, not_measured
from minaction.measure.network import _modelled_effective, measure_network, meters_for
from minaction.measure.network_text import network_text
from minaction.models.build import build_model

QUICK = {"measurements": 5, "procedure": Procedure(cool_down_seconds=0, warm_up_seconds=0)}
SPEC = DataSpec(
    name="random", modality="vision", shape=(1, 8, 8), classes=3, class_names=("a", "b", "c")
)


class SteadyMeter:
    """Counts 40 W by the real clock."""

    unit, source, scope = "joules", Source.COUNTER, "gpu 0"
    min_window_seconds, poll_seconds = 0.01, None

    def __init__(self, others=None):
        self.others = others

    def open(self):
        began = time.perf_counter()
        return Tally(total=lambda: 40 * (time.perf_counter() - began), others=lambda: self.others)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def measured(model=None, batch=None, find=lambda device: [], **options):
    x = torch.randn(4, 6) if batch is None else batch
    return measure_network(model or network(), x, find=find, **{**QUICK, **options})


def test_latency_throughput_and_counts():
    found = measured()
    assert 0 < found.latency.seconds < 0.1
    assert found.samples == 4
    assert found.samples_per_second == pytest.approx(4 / found.latency.seconds)
    assert found.work.macs_dense == 6 * 16 + 16 * 3
    assert found.modelled.value == pytest.approx(4.6e-12 * 4 * found.work.macs_dense)
    assert (found.model, found.device) == ("Sequential", "cpu")


def test_joules_of_a_batch_where_there_is_a_meter():
    model, ran = network(), []
    model.register_forward_hook(lambda *_: ran.append(5.0))

    class FivePerPass(SteadyMeter):
        def open(self):
            before = len(ran)
            return Tally(total=lambda: sum(ran[before:]), others=lambda: None)

    (meter,) = measured(model, find=lambda device: [FivePerPass()]).meters
    assert (meter.reading.value, meter.low, meter.high) == (5, 5, 5)
    assert meter.calls > 1
    assert (meter.repeats, meter.narrow) == (5, True)
    assert meter.reading.idle is None  # nothing ran while it rested


def test_what_takes_long_is_told_before():
    told = []
    measured(find=lambda device: [SteadyMeter()], note=told.append)
    assert told == ["reading the joules of gpu 0, 0 s or longer"]


def test_a_meter_that_is_missing_or_shared_is_a_reason():
    missing = not_measured(MeterError("no such thing here"), scope="cpu package")
    found = measured(find=lambda device: [missing, SteadyMeter(others="two runs compute")])
    assert [meter.reading.value for meter in found.meters] == [None, None]
    assert found.meters[0].reading.reason == "no such thing here"
    assert found.meters[1].reading.validity is Validity.SHARED
    text = " ".join(network_text(found).split())
    assert "not measured (cpu package): no such thing here" in text
    assert "not measured (gpu 0): two runs compute" in text
    assert "a model, not a measurement" in text


def test_effective_macs_that_are_not_known_are_not_none_at_all():
    work = count_macs(nn.Linear(2, 2), torch.ones(3, 2), training=False)
    reading = _modelled_effective(replace(work, macs_effective=None), 3)
    assert reading.value is None
    assert "no values" in reading.reason
    assert _modelled_effective(work, 3).value > 0


def test_it_is_json():
    found = measured(find=lambda device: [SteadyMeter()]).to_dict()
    assert json.loads(json.dumps(found)) == found


def test_this_machine_has_meters_or_reasons():
    found = meters_for(torch.device("cpu"))
    assert [one.unit for one in found] == ["joules", "instructions"]
    for one in found:
        assert one.reason if isinstance(one, Reading) else one.min_window_seconds > 0


@pytest.mark.parametrize("name", ["cnn", "lif-mlp", "transformer", "gru"])
def test_the_network_is_left_as_it_was(name):
    model = build_model(name, SPEC, parameters=5000).train()
    before = copy.deepcopy(model.state_dict())
    x = torch.rand(2, 1, 8, 8)
    found = measured(model, x, find=lambda device: [SteadyMeter()])
    assert found.latency.seconds > 0
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    model(x).sum().backward()  # no tensor was left that cannot be trained


def test_several_arguments():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    x = torch.ones(3, 2)
    assert measured(Sum(), (x, x)).samples == 3
    listed = measured(Sum(), [x, x])
    assert (listed.samples, listed.work.batches) == (3, 1)
    found = measured(Sum(), {"a": x, "b": x})
    assert found.modelled.value is None
    assert "no multiply-accumulate was counted" in network_text(found)


class Mover(nn.Module):
    """Goes to another device at its n-th call."""

    def __init__(self, call):
        super().__init__()
        self.layer, self.calls, self.call = nn.Linear(6, 3), 0, call

    def forward(self, x):
        self.calls += 1
        if self.calls == self.call:
            self.to("meta")
        return self.layer(x)


class MoverWithItsInput(Mover):
    def forward(self, x):
        return super().forward(x.to("meta") if self.calls + 1 >= self.call else x)


@pytest.mark.parametrize("call", [1, 6])
@pytest.mark.parametrize("kind", [Mover, MoverWithItsInput])
def test_a_model_that_moves_itself_is_refused(kind, call):
    with pytest.raises(InputError, match="its parameters while it runs"):
        measured(kind(call))


@pytest.mark.parametrize(
    ("model", "batch", "problem"),
    [
        (network(), torch.ones(4, 6, device="meta"), "the inputs are on meta and the model on cpu"),
        (network().to("meta"), torch.ones(4, 6), "the inputs are on cpu and the model on meta"),
        (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6).to("meta")), torch.ones(4, 6),
         "the model is on cpu and meta; move all of it"),
        (network().to("meta"), torch.ones(4, 6, device="meta"), "where nothing is computed"),
        (nn.ReLU(), (torch.ones(1), torch.ones(1, device="meta")), "the inputs are on meta and"),
        (network(), torch.ones(0, 6), "a batch is empty"),
        (network(), "text", "batch: expected tensors, got str"),
        (network(), torch.ones(4, 7), "Sequential does not run on this input: RuntimeError: mat1"),
    ],
)  # fmt: skip
def test_bad_input(model, batch, problem):
    with pytest.raises(InputError, match=problem):
        measured(model, batch)
