"""perf: the kernel's own software counters everywhere, the processor's where they are shown."""

from __future__ import annotations

import threading
import time

import pytest

from minaction.errors import MeterDeniedError, MeterError
from minaction.measure.joules.perf import (
    TASKS,
    PerfMeter,
    instructions_meter,
    perf_joules_meter,
    process_events,
)
from minaction.measure.joules.perf_events import HARDWARE, SOFTWARE, TASK_CLOCK, PerfEvent
from minaction.measure.joules.reading import Validity
from minaction.measure.joules.window import read_window


def task_clock():
    """Nanoseconds of CPU time, which any Linux counts: the way to the counters is the same."""
    return process_events("task clock", SOFTWARE, TASK_CLOCK)


@pytest.fixture
def allowed():
    try:
        PerfEvent("task clock", SOFTWARE, TASK_CLOCK).close()
    except MeterError as error:
        pytest.skip(str(error))


def wait_for_the_kernel_to_forget(thread):
    """Wait on: `join` returns when the Python thread is done, a little before the kernel's."""
    deadline = time.monotonic() + 10
    while (TASKS / str(thread.native_id)).exists():
        assert time.monotonic() < deadline, "the thread has not ended"
        time.sleep(0.001)


def busy(seconds):
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        sum(range(1000))


@pytest.mark.usefixtures("allowed")
def test_a_meter_counts_what_the_kernel_counts():
    meter = PerfMeter(task_clock, unit="instructions", scope="this process", scale=1e-9)
    reading = read_window(meter, lambda: busy(0.1))
    assert reading.value == pytest.approx(0.1, rel=0.3)
    assert reading.validity is Validity.VALID


@pytest.mark.usefixtures("allowed")
def test_threads_count_whether_they_began_before_or_in_the_window():
    meter = PerfMeter(task_clock, unit="instructions", scope="this process", scale=1e-9)
    begin = threading.Event()

    def wait_and_work():
        begin.wait()
        busy(0.1)

    before = threading.Thread(target=wait_and_work)
    before.start()

    def work():
        later = threading.Thread(target=busy, args=(0.1,))
        later.start()
        begin.set()
        before.join()
        later.join()

    assert read_window(meter, work).value > 0.18


@pytest.mark.usefixtures("allowed")
def test_counters_are_given_back():
    event = PerfEvent("task clock", SOFTWARE, TASK_CLOCK)
    assert event.count() >= 0
    event.close()
    event.close()
    with pytest.raises(MeterError, match="task clock cannot be read"):
        event.count()


@pytest.mark.usefixtures("allowed")
def test_an_event_that_does_not_exist_says_so():
    with pytest.raises(MeterError, match=r"nonsense cannot be counted here \("):
        PerfEvent("nonsense", HARDWARE, 12345)


@pytest.mark.usefixtures("allowed")
def test_a_thread_that_has_ended_is_told_apart():
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    wait_for_the_kernel_to_forget(ended)
    with pytest.raises(MeterError, match="in a thread that has ended"):
        PerfEvent("task clock", SOFTWARE, TASK_CLOCK, task=ended.native_id)


def test_instructions_are_counted_or_there_is_a_reason():
    try:
        meter = instructions_meter()
    except MeterError as error:
        reason = str(error)
        assert "instructions" in reason
        return
    assert read_window(meter, lambda: busy(0.01)).value > 1e5


def power(root, **changes):
    files = {
        "type": "25",
        "cpumask": "0",
        "events/energy-pkg": "event=0x02",
        "events/energy-pkg.scale": "2.3283064365386962890625e-10",
        "events/energy-pkg.unit": "Joules",
        **changes,
    }
    (root / "events").mkdir()
    for name, text in files.items():
        if text is not None:
            (root / name).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    "changes",
    [{"type": None}, {"type": "many"}, {"cpumask": "x"}, {"events/energy-pkg": "event=zz"}],
)
def test_a_description_that_cannot_be_read_is_a_reason(tmp_path, changes):
    with pytest.raises(MeterError, match="perf knows no joules of the CPU package here"):
        perf_joules_meter(power(tmp_path, **changes))


def test_a_counter_in_another_unit_is_refused(tmp_path):
    with pytest.raises(MeterError, match="counts Volts, expected Joules"):
        perf_joules_meter(power(tmp_path, **{"events/energy-pkg.unit": "Volts"}))


def test_joules_are_read_by_the_description(tmp_path):
    # the CPU time of the whole machine in place of the energy, which this kernel may not count
    description = power(
        tmp_path,
        **{"type": SOFTWARE, "events/energy-pkg": f"event={TASK_CLOCK:#x}", "cpumask": "0-0"},
    )
    try:
        meter = perf_joules_meter(description)
    except MeterDeniedError as error:
        pytest.skip(str(error))
    assert (meter.unit, meter.scope) == ("joules", "cpu packages by perf (1)")
    assert meter.open().total() >= 0
