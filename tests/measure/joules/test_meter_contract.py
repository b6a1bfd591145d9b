"""What every meter must do, whatever it counts; a new one is one more fixture."""

from __future__ import annotations

import pytest
from recorded_meters import Clock, PowerZones, RecordedNvml

from minaction.measure.joules.energy_model import ModelMeter
from minaction.measure.joules.nvml import NvmlMeter
from minaction.measure.joules.perf import PerfMeter
from minaction.measure.joules.rapl import RaplMeter
from minaction.measure.joules.reading import Source, Validity
from minaction.measure.joules.replay import ReplayMeter, Trace
from minaction.measure.joules.window import Window, read_window


class Bench:
    """A meter and how to make it count: 10 units a second, in steps of half a second."""

    def __init__(self, clock, meter, tick=lambda: None):
        self.clock, self.meter, self.tick = clock, meter, tick

    def work(self, seconds):
        for _ in range(int(2 * seconds)):
            self.clock.sleep(0.5)
            self.tick()
            yield


def rapl(clock, folder):
    zones = PowerZones(folder, clock, watts=10.0)
    return Bench(clock, RaplMeter(folder, clock=clock, watch=lambda: lambda: None), zones.write)


def nvml(clock, **answers):
    library = RecordedNvml([{"uuid": "GPU-1", **answers}], clock)
    return Bench(clock, NvmlMeter("GPU-1", library=library, clock=clock))


def replay(clock, kind):
    seconds = [i / 2 for i in range(200)]
    values = [10 * s if kind == "counter" else 10.0 for s in seconds]
    trace = Trace(kind=kind, seconds=seconds, values={"gpu-0": values})
    return Bench(clock, ReplayMeter(trace, clock=clock))


def model(clock):
    meter = ModelMeter()
    return Bench(clock, meter, lambda: meter.add(macs=5 / 4.6e-12))


class Ticks:
    """Kernel events that follow the clock."""

    def __init__(self, clock):
        self.clock = clock

    def count(self):
        return round(1000 * self.clock())

    def close(self):
        pass


def perf(clock):
    meter = PerfMeter(lambda: [Ticks(clock)], unit="joules", scope="it", scale=0.01)
    return Bench(clock, meter)


@pytest.fixture(
    params=["rapl", "nvml counter", "nvml power", "replay counter", "replay power", "model", "perf"]
)
def bench(request, tmp_path):
    clock = Clock(1.0)
    make = {
        "rapl": lambda: rapl(clock, tmp_path),
        "nvml counter": lambda: nvml(clock, energy_mj=lambda now: round(10_000 * now)),
        "nvml power": lambda: nvml(clock, power_mw=10_000),
        "replay counter": lambda: replay(clock, "counter"),
        "replay power": lambda: replay(clock, "power"),
        "model": lambda: model(clock),
        "perf": lambda: perf(clock),
    }
    return make[request.param]()


def measured(bench, seconds):
    window = Window(bench.meter, clock=bench.clock, poll=False)
    for _ in bench.work(seconds):
        window.sample()
    return window.close()


def test_it_says_what_it_is(bench):
    meter = bench.meter
    assert meter.unit in ("joules", "instructions")
    assert isinstance(meter.source, Source)
    assert meter.scope
    assert meter.min_window_seconds >= 0
    assert meter.poll_seconds is None or meter.poll_seconds > 0


def test_a_tally_begins_at_nothing_and_never_falls(bench):
    tally = bench.meter.open()
    seen = [tally.total()]
    assert seen == [0]
    for _ in bench.work(6):
        seen.append(tally.total())
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(60)
    assert tally.others() is None


def test_windows_one_after_the_other_add_up(bench):
    parts = [measured(bench, 6).value, measured(bench, 10).value]
    assert parts == pytest.approx([60, 100])


def test_windows_inside_one_another_do_not_disturb(bench):
    outer = Window(bench.meter, clock=bench.clock, poll=False)
    for _ in bench.work(2):
        outer.sample()
    inner = Window(bench.meter, clock=bench.clock, poll=False)
    for _ in bench.work(6):
        outer.sample()
        inner.sample()
    assert inner.close().value == pytest.approx(60)
    assert outer.close().value == pytest.approx(80)


def test_a_window_of_nothing_is_not_zero(bench):
    reading = read_window(bench.meter, lambda: None, clock=bench.clock)
    assert reading.value is None
    assert reading.validity in (Validity.TOO_SHORT, Validity.NOTHING)
    assert reading.reason
