"""Recorded traces: joules to the last digit, and files that are not traces."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_meters import Clock

from minaction.errors import DataFileError, InputError, MeterError
from minaction.measure.joules.reading import Source, Validity
from minaction.measure.joules.replay import ReplayMeter, Trace, read_trace
from minaction.measure.joules.window import Window, read_window

RAPL = Trace(
    kind="counter",
    seconds=(0, 1, 2, 3, 4, 5),
    values={
        "package-0": (65_000, 65_400, 267, 700, 1100, 1500),  # starts again at 65,533
        "package-0/core": (10, 20, 30, 40, 50, 60),
        "package-0/dram": (5, 5, 6, 7, 8, 9),
        "package-1": (100, 110, 120, 130, None, 150),
        "psys": (0, 900, 1800, 2700, 3600, 4500),
    },
    wraps_at={"package-0": 65_533, "package-1": 65_533},
)


def between(trace, begin, end, **options):
    clock = Clock(begin)
    meter = ReplayMeter(trace, clock=clock, **options)
    return read_window(meter, lambda: clock.sleep(end - begin), clock=clock)


def test_counters_that_start_again_and_nested_domains_are_exact():
    reading = between(RAPL, 0, 3)
    assert reading.value == (700 + 65_533 - 65_000) + 30
    assert reading.scope == "recorded package-0 + package-1"
    assert reading.source is Source.COUNTER


def test_a_domain_can_be_asked_for_by_itself():
    assert between(RAPL, 1, 5, domains=["package-0/core"]).value == 40
    assert between(RAPL, 0, 5, domains=["package-0"]).value == 1500 + 65_533 - 65_000


def test_a_counter_that_is_missing_is_a_reason():
    reading = between(RAPL, 0, 4)
    assert (reading.value, reading.validity) == (None, Validity.LOST)
    assert reading.reason == "package-1 did not answer at 4 s"
    assert between(RAPL, 4, 5).validity is Validity.LOST  # at the beginning as well


@pytest.mark.parametrize(("begin", "end"), [(-1, 3), (3, 6)])
def test_beyond_the_trace_nothing_is_known(begin, end):
    reading = between(RAPL, begin, end)
    assert reading.validity is Validity.LOST
    assert "the trace goes from 0 to 5 s and says nothing of" in reading.reason


def test_a_sensor_that_updates_every_100_ms_is_exact_and_needs_time():
    ticks = range(0, 121)
    sensor = Trace(
        kind="counter",
        seconds=[i / 10 for i in ticks],
        values={"gpu-0": [25.0 * i for i in ticks]},  # 250 W
        refresh_seconds=0.1,
    )
    # at 0.55 s it shows what it counted up to 0.5 s, at 6.05 s up to 6.0 s
    assert between(sensor, 0.55, 6.05).value == 25 * (60 - 5)
    assert between(sensor, 0.55, 5.59).value == 25 * (55 - 5)
    short = between(sensor, 0.55, 5.45)
    assert (short.value, short.validity) == (None, Validity.TOO_SHORT)
    assert between(sensor, 0.51, 0.58).value is None  # the counter did not move: not 0


def test_power_is_the_integral_of_straight_lines():
    power = Trace(kind="power", seconds=(0, 2, 3, 7), values={"gpu-0": (100, 200, 0, 40)})
    whole = between(power, 0, 7)
    assert (whole.value, whole.source) == (300 + 100 + 80, Source.INTEGRATED)
    assert between(power, 1, 2.5).value == (150 + 200) / 2 + (200 + 100) / 2 / 2


def test_two_gpus_in_one_trace_are_told_apart():
    trace = Trace(kind="counter", seconds=(0, 10), values={"gpu-0": (0, 10), "gpu-1": (5, 70)})
    assert between(trace, 0, 10, domains=["gpu-1"]).value == 65
    assert between(trace, 0, 10, domains=["gpu-0"]).value == 10
    assert between(trace, 0, 10).value == 75


def test_others_who_were_there_are_recorded():
    shared = Trace(kind="counter", seconds=(0, 9), values={"gpu-0": (0, 1)}, others="two runs")
    assert between(shared, 0, 9).validity is Validity.SHARED


@given(
    st.lists(st.integers(0, 400), min_size=3, max_size=40),
    st.integers(0, 999),
    st.data(),
)
def test_windows_next_to_each_other_add_up(steps, begin, data):
    counts = [begin]
    for step in steps:
        counts.append(counts[-1] + step)
    trace = Trace(
        kind="counter",
        seconds=[float(i) for i in range(len(counts))],
        values={"package-0": [count % 1000 for count in counts]},
        wraps_at={"package-0": 1000},
    )
    middle = data.draw(st.integers(1, len(counts) - 2))
    readings = [between(trace, *w) for w in ((0, middle), (middle, len(steps)), (0, len(steps)))]
    first, second, whole = (reading.value or 0 for reading in readings)
    assert first + second == whole == sum(steps)
    assert all((r.value is None) == (r.validity is Validity.NOTHING) for r in readings)


@given(
    watts=st.lists(st.integers(0, 500), min_size=2, max_size=20),
    begin=st.integers(0, 63),
    length=st.integers(1, 64),
)
def test_the_power_of_any_window_is_exact(watts, begin, length):
    last = len(watts) - 1
    start = Fraction(begin * last, 128)
    end = start + Fraction(length * last, 128)
    trace = Trace(
        kind="power", seconds=[float(i) for i in range(len(watts))], values={"gpu-0": watts}
    )

    def integral(until):
        whole = math.floor(until)
        area = sum(Fraction(watts[i] + watts[i + 1], 2) for i in range(whole))
        rest = until - whole
        if rest:
            area += rest * (watts[whole] + (watts[whole + 1] - watts[whole]) * rest / 2)
        return area

    reading = between(trace, float(start), float(end))
    assert (reading.value or 0) == pytest.approx(float(integral(end) - integral(start)), rel=1e-12)


def test_a_window_sampled_often_is_the_same(tmp_path):
    clock = Clock(0.5)
    window = Window(ReplayMeter(RAPL, domains=["package-0"], clock=clock), clock=clock)
    for _ in range(8):
        clock.sleep(0.5)
        window.sample()
    assert window.close().value == between(RAPL, 0.5, 4.5, domains=["package-0"]).value


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "joules"}, "kind is 'joules', expected 'counter' or 'power'"),
        ({"seconds": (0, 1, 2, 2, 3, 4)}, "two moments or more, each after the one before"),
        ({"seconds": (0,)}, "two moments or more"),
        ({"seconds": (0, 1, 2, 3, 4, math.inf)}, "two moments or more"),
        ({"values": {}}, "at least one domain"),
        ({"values": {"package-0": (1, 2), "package-1": (1, 2)}}, "package-0 has 2 values for 6"),
        ({"wraps_at": {"package-7": 5}}, "wraps_at names 'package-7', which has no values"),
        ({"wraps_at": {"package-0": 0}}, "wraps_at: expected positive"),
        ({"refresh_seconds": -1}, "refresh_seconds is -1"),
    ],
)
def test_traces_that_make_no_sense(changes, problem):
    with pytest.raises(InputError, match=problem):
        Trace(**{**asdict(RAPL), **changes})


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_values_that_make_no_sense(value):
    with pytest.raises(InputError, match="gpu-0: expected numbers from 0"):
        Trace(kind="power", seconds=(0, 1), values={"gpu-0": (1, value)})


def test_a_domain_that_was_not_recorded_has_no_meter():
    with pytest.raises(MeterError, match="the trace has no gpu-9; it holds package-0, "):
        ReplayMeter(RAPL, domains=["gpu-9"])


def test_a_json_file_is_the_trace(tmp_path):
    file = tmp_path / "rapl.json"
    file.write_text(json.dumps(asdict(RAPL)))
    assert between(read_trace(file), 0, 3) == between(RAPL, 0, 3)


def test_a_csv_file_is_a_trace(tmp_path):
    file = tmp_path / "rapl.csv"
    file.write_text("seconds,package-0_joules,package-0/core_joules\n0,1,7\n1.5,4,\n3,9,8\n")
    trace = read_trace(file)
    assert trace.values == {"package-0": [1, 4, 9], "package-0/core": [7, None, 8]}
    assert between(trace, 0, 3).value == 8
    file.write_text("seconds,gpu-0_watts\n0,100\n2,200\n")
    assert between(read_trace(file), 0, 2).value == 300


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "[]", "expected an object"),
        ("a.json", "{", "is no trace"),
        ("a.json", "[" * 100_000, "is no trace"),
        ("a.json", '{"kind": "counter", "seconds": [0, 1]}', "at least one domain"),
        ("a.json", '{"seconds": [0, 1], "values": {}}', "is no trace"),
        ("a.json", '{"kind": "counter", "seconds": "01", "values": {}}', "seconds: expected a l"),
        ("a.json", '{"kind": "counter", "seconds": [0, 1], "values": [1]}', "values: expected an"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, NaN]}}', "g: expect"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, "2"]}}', "g: expect"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, true]}}', "g: expec"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, 2]}, "x": 1}',
         "unknown field 'x'"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, 2]}, '
         '"refresh_seconds": "1"}', "is no trace"),
        ("a.json", '{"kind": "power", "seconds": [0, 1], "values": {"g": [1, 2]}, '
         '"wraps_at": {"g": null}}', "is no trace"),
        ("a.csv", "", "is no trace"),
        ("a.csv", "seconds,gpu-0_joules\n", "two moments or more"),
        ("a.csv", "time,gpu-0_joules\n0,1\n1,2\n", "expected one column 'seconds'"),
        ("a.csv", "seconds,g_joules,g_joules\n0,1,1\n", "no name twice"),
        ("a.csv", "seconds,gpu-0\n0,1\n1,2\n", "expected columns such as package-0_joules"),
        ("a.csv", "seconds,a_joules,b_watts\n0,1,1\n1,2,2\n", "expected columns such as"),
        ("a.csv", "seconds,gpu-0_joules\n0,1\n1\n", "expected 2 cells in every row"),
        ("a.csv", "seconds,gpu-0_joules\n0,1\n1,many\n", "is no trace"),
        ("a.csv", "seconds,gpu-0_joules\n0,1\n,2\n", "is no trace"),
    ],
)  # fmt: skip
def test_files_that_are_no_traces(tmp_path, name, text, problem):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(DataFileError, match=problem) as error:
        read_trace(file)
    assert str(error.value).startswith(f"{file}: ")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataFileError, match="cannot be read"):
        read_trace(tmp_path / "none.json")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_trace(tmp_path)
    file = tmp_path / "binary.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_trace(file)
