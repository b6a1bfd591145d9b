"""Joules of one call: cool-down, idling, warm-up, long windows, as many as are needed."""

from __future__ import annotations

import json

import pytest
from recorded_meters import Clock

from minaction.errors import InputError, MeterLostError
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.per_call import Procedure, measure_per_call
from minaction.measure.joules.reading import Source, Validity

IDLE_WATTS = 10.0


class Device:
    """Draws 10 W, and 5 J more for each call of its program."""

    unit, source, scope, poll_seconds = "joules", Source.COUNTER, "gpu 0", None

    def __init__(self, call_seconds=0.1, min_window_seconds=2.0, noise=lambda call: 0.0):
        self.clock = Clock()
        self.call_seconds, self.noise = call_seconds, noise
        self.min_window_seconds = min_window_seconds
        self.spent = 0.0
        self.calls, self.log = 0, []
        self.others = None

    def sleep(self, seconds):
        self.log.append(("sleep", seconds))
        self.clock.sleep(seconds)

    def program(self):
        self.calls += 1
        self.clock.sleep(self.call_seconds)
        self.spent += 5 + self.noise(self.calls)

    def now(self):
        return IDLE_WATTS * self.clock() + self.spent

    def open(self):
        self.log.append(("open", self.calls))
        before = self.now()
        return Tally(total=lambda: self.now() - before, others=lambda: self.others)

    def measure(self, **procedure):
        return measure_per_call(
            self.program, self, Procedure(**procedure), clock=self.clock, sleep=self.sleep
        )


def test_a_call_is_what_the_windows_say_and_idling_is_told_apart():
    found = Device().measure()
    assert found.reading.value == pytest.approx(5 + IDLE_WATTS * 0.1)
    assert found.reading.idle == pytest.approx(IDLE_WATTS * 0.1)
    assert found.reading.above_idle == pytest.approx(5)
    assert found.reading.window_seconds == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(6), pytest.approx(6))
    assert (found.repeats, found.narrow) == (5, True)
    assert found.calls * 0.1 >= 2.0


def test_the_device_cools_down_idles_and_warms_up_before_anything_counts():
    device = Device()
    device.measure(cool_down_seconds=7, warm_up_seconds=3)
    assert device.log[0] == ("sleep", 7)
    assert device.log[1] == ("open", 0)  # idle
    what, seconds = device.log[2]
    assert (what, seconds >= 2) == ("sleep", True)
    what, calls = device.log[3]
    assert (what, calls >= 30) == ("open", True)


def test_noise_is_repeated_until_the_interval_is_narrow_enough():
    def noise(call):  # of whole windows
        return ((call // 25 * 7919) % 13) / 13

    loose = Device(noise=noise).measure(width=0.5)
    tight = Device(noise=noise).measure(width=0.06)
    assert loose.repeats == 5
    assert 5 < tight.repeats < 30
    assert tight.narrow
    assert (tight.high - tight.low) / tight.reading.value <= 0.06
    assert tight.low <= tight.reading.value <= tight.high


def test_an_interval_that_stays_wide_is_said():
    wild = Device(noise=lambda call: 500.0 * ((call // 24) % 3))
    found = wild.measure(width=0.01, max_repeats=8)
    assert (found.repeats, found.narrow) == (8, False)
    assert found.high - found.low > 0.01 * found.reading.value


def test_windows_that_turn_out_too_short_are_made_longer():
    device = Device(call_seconds=1.0)
    slow_once = iter([1.0] * 3)

    def program():
        device.call_seconds = next(slow_once, 0.3)
        device.program()

    found = measure_per_call(program, device, Procedure(), clock=device.clock, sleep=device.sleep)
    assert found.reading.validity is Validity.VALID
    assert found.calls * 0.3 >= 2.0


def test_a_longer_window_can_be_asked_for():
    assert Device().measure(min_window_seconds=30).calls >= 300


def test_a_shared_device_is_refused_before_the_program_runs():
    device = Device()
    device.others = "other processes used 2 s"
    found = device.measure()
    assert (found.reading.value, found.reading.validity) == (None, Validity.SHARED)
    assert (found.low, found.high, found.repeats, device.calls) == (None, None, 0, 0)


def test_a_meter_that_disappears_ends_the_measurement_with_its_reason():
    device = Device()

    def program():
        device.program()
        if device.calls > 60:
            raise_once = MeterLostError("gone")
            device.now = lambda: (_ for _ in ()).throw(raise_once)

    found = measure_per_call(program, device, clock=device.clock, sleep=device.sleep)
    assert (found.reading.value, found.reading.reason) == (None, "gone")
    assert 0 < found.repeats < 5


def test_a_device_that_takes_nothing_while_idle_has_no_idle_value():
    device = Device()
    device.now = lambda: device.spent
    found = device.measure()
    assert found.reading.value == pytest.approx(5)
    assert found.reading.idle is None


def test_instructions_have_no_idle_part_and_need_no_rest():
    device = Device()
    device.unit = "instructions"
    found = device.measure()
    assert found.reading.value == pytest.approx(6)
    assert found.reading.idle is None
    assert not [entry for entry in device.log if entry[0] == "sleep"]


@pytest.mark.parametrize("unit", ["joules", "instructions"])
def test_how_long_it_takes_is_known_before(unit):
    device = Device()
    device.unit = unit
    procedure = Procedure(cool_down_seconds=7, warm_up_seconds=3)
    measure_per_call(device.program, device, procedure, clock=device.clock, sleep=device.sleep)
    assert device.clock() == pytest.approx(procedure.least_seconds(device), rel=0.1)


def test_it_is_json():
    found = Device().measure()
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"cool_down_seconds": -1},
        {"warm_up_seconds": float("nan")},
        {"min_window_seconds": float("inf")},
        {"min_repeats": 4},
        {"max_repeats": 4},
        {"width": 0},
    ],
)
def test_procedures_that_make_no_sense(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        Procedure(**changes)
