"""Windows: what counts in them, and every way in which their reading does not hold."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_meters import Clock

from minaction.errors import MeterDeniedError, MeterLostError
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.reading import Source, Validity
from minaction.measure.joules.window import Window, read_window


class Fake:
    """Counts 10 W as its clock goes on, and does what it is told to."""

    unit, source, scope = "joules", Source.COUNTER, "gpu 7"
    min_window_seconds, poll_seconds = 2.0, None

    def __init__(self, clock, watts=10.0):
        self.clock, self.watts, self.others = clock, watts, None
        self.problem = self.opening = None
        self.reads = 0

    def open(self):
        if self.opening:
            raise self.opening
        began = self.clock()

        def total():
            self.reads += 1
            if self.problem:
                raise self.problem
            return self.watts * (self.clock() - began)

        return Tally(total=total, others=lambda: self.others)


@pytest.fixture
def clock():
    return Clock()


def test_a_window_is_what_was_counted_in_it(clock):
    clock.sleep(100)
    window = Window(Fake(clock), clock=clock)
    clock.sleep(4)
    reading = window.close(idle_per_second=2.5)
    assert (reading.value, reading.idle, reading.above_idle) == (40, 10, 30)
    assert (reading.unit, reading.source, reading.scope) == ("joules", Source.COUNTER, "gpu 7")
    assert reading.window_seconds == 4
    assert reading.validity is Validity.VALID


def test_a_window_too_short_for_the_counter_has_no_value(clock):
    reading = read_window(Fake(clock), lambda: clock.sleep(1.9), clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.TOO_SHORT)
    assert reading.window_seconds == pytest.approx(1.9)
    assert "the window of 1.9 s is too short for gpu 7" in reading.reason
    assert "asks for 2 s; repeat the work" in reading.reason


def test_joules_of_a_shared_device_are_refused(clock):
    meter = Fake(clock)
    meter.others = "2 processes use the GPU"
    reading = read_window(meter, lambda: clock.sleep(4), clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.SHARED)
    assert reading.reason.startswith("2 processes use the GPU, so the joules of gpu 7 are not")


def test_a_meter_that_disappears_in_the_middle_is_a_reason(clock):
    meter = Fake(clock)

    def work():
        clock.sleep(4)
        meter.problem = MeterLostError("gpu 7 does not answer")

    reading = read_window(meter, work, clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.LOST)
    assert reading.reason == "gpu 7 does not answer"
    assert reading.window_seconds == 4


def test_a_meter_that_was_lost_once_stays_lost(clock):
    meter = Fake(clock)
    window = Window(meter, clock=clock)
    clock.sleep(2)
    meter.problem = MeterLostError("gone")
    window.sample()
    meter.problem = None
    clock.sleep(2)
    assert window.close().validity is Validity.LOST


def test_a_meter_that_does_not_open_is_a_reason(clock):
    meter = Fake(clock)
    meter.opening = MeterDeniedError("root only")
    reading = read_window(meter, lambda: clock.sleep(4), clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.DENIED)


def test_a_counter_that_stands_still_measures_nothing(clock):
    reading = read_window(Fake(clock, watts=0.0), lambda: clock.sleep(4), clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.NOTHING)
    assert "gpu 7 counted nothing in 4 s" in reading.reason


@given(
    watts=st.floats(0, 1e4),
    seconds=st.floats(0, 1e4),
    others=st.none() | st.just("somebody"),
    problem=st.none() | st.builds(MeterLostError, st.text(min_size=1)),
)
def test_whatever_happens_nothing_measured_is_never_zero(watts, seconds, others, problem):
    clock = Clock()
    meter = Fake(clock, watts)
    meter.others, meter.problem = others, problem
    reading = read_window(meter, lambda: clock.sleep(seconds), clock=clock)
    measured = watts * seconds > 0 and seconds >= 2 and others is None and problem is None
    assert (reading.value is not None) == measured
    assert reading.value is None or reading.value == pytest.approx(watts * seconds)
    assert bool(reading.reason) != measured


def test_errors_of_the_program_pass_through_and_nothing_goes_on(clock):
    meter = Fake(time.perf_counter)
    meter.poll_seconds = 0.001

    def fail():
        time.sleep(0.01)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read_window(meter, fail)
    reads = meter.reads
    time.sleep(0.02)
    assert meter.reads == reads


def test_errors_that_are_not_the_meters_are_not_hidden(clock):
    meter = Fake(clock)
    meter.problem = ZeroDivisionError("a mistake")
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        read_window(meter, lambda: None, clock=clock)


def test_a_meter_that_wants_it_is_read_meanwhile():
    meter = Fake(time.perf_counter)
    meter.poll_seconds, meter.min_window_seconds = 0.002, 0.0
    reading = read_window(meter, lambda: time.sleep(0.1))
    assert meter.reads > 3
    assert reading.value == pytest.approx(10 * reading.window_seconds, rel=0.3)
