"""One window at a time: long enough, per call, with what the resting device takes."""

from __future__ import annotations

import pytest
from recorded_meters import Clock

from minaction.errors import MeterError
from minaction.measure.joules.in_rounds import RoundMeter
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.reading import Source, Validity, not_measured


class Device:
    """Draws 10 W, and 5 J more for each call of its program, whose work ends with `finish`."""

    unit, source, scope, poll_seconds = "joules", Source.COUNTER, "gpu 0", None
    min_window_seconds = 2.0

    def __init__(self):
        self.clock, self.spent, self.calls, self.waiting = Clock(), 0.0, 0, 0

    def program(self):
        self.calls += 1
        self.waiting += 1

    def finish(self):
        self.clock.sleep(0.1 * self.waiting)
        self.spent += 5.0 * self.waiting
        self.waiting = 0

    def now(self):
        return 10.0 * self.clock() + self.spent

    def open(self):
        before = self.now()
        return Tally(total=lambda: self.now() - before, others=lambda: None)

    def rested(self):
        return RoundMeter.rested(self, clock=self.clock, sleep=self.clock.sleep)


def test_a_call_is_its_share_of_a_window_that_is_long_enough():
    device = Device()
    reading = device.rested().per_call(device.program, 0.1, finish=device.finish)
    assert device.calls == 24  # a fifth longer than the shortest window
    assert reading.value == pytest.approx(5 + 10 * 0.1)
    assert reading.idle == pytest.approx(1.0)
    assert reading.window_seconds == pytest.approx(0.1)


def test_a_window_that_became_too_short_is_tried_again_with_more_calls():
    device = Device()
    reading = device.rested().per_call(device.program, 1.0, finish=device.finish)
    assert device.calls == 3 + 6 + 12 + 24
    assert reading.value == pytest.approx(5 + 10 * 0.1)


def test_a_program_that_takes_far_less_than_was_said_has_a_reason_and_no_value():
    device = Device()
    reading = device.rested().per_call(lambda: device.clock.sleep(1e-6), 1.0)
    assert (reading.value, reading.validity) == (None, Validity.TOO_SHORT)


def test_where_there_is_no_meter_the_reason_is_the_reading_and_nothing_rests():
    none = not_measured(MeterError("there is none"), scope="gpu 0")
    slept = []
    meter = RoundMeter.rested(none, sleep=slept.append)
    assert meter.per_call(lambda: pytest.fail("was called"), 0.1) is none
    assert slept == []
