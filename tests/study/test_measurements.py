"""The file of measurements: append-only, from one device, and no line that cannot be trusted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from minaction.errors import InputError, JournalError, StudyDirectoryError
from minaction.study.measurements import Measurement, MeasurementFile, read_measurements

SETTING = {"device": "a processor", "seconds": "CPU time of one thread", "torch": "2.13.0"}
ONE = Measurement(
    run_id="a",
    round=0,
    before={"inference_seconds": 1e-5, "inference_joules": None, "macs_dense": 100.0},
    after={"inference_seconds": 5e-6, "macs_dense": 0},
    units_removed=3,
    setting=SETTING,
)


def write(directory, *measurements, setting=SETTING):
    with MeasurementFile(directory, setting) as file:
        for one in measurements:
            file.append(one)
        return file


def test_what_is_appended_is_read_back_also_by_the_next_writer(tmp_path):
    assert read_measurements(tmp_path) == []
    others = [replace(ONE, round=1), replace(ONE, run_id="b", after=None, units_removed=0)]
    write(tmp_path, ONE)
    assert write(tmp_path, *others).found == [ONE]
    assert read_measurements(tmp_path) == [ONE, *others]


def test_a_network_from_which_nothing_was_removed_is_its_own_compaction():
    assert replace(ONE, after=None, units_removed=0).compacted == ONE.before
    assert replace(ONE, after=None, units_removed=None).compacted is None
    assert ONE.compacted == ONE.after


def test_a_torn_last_line_is_passed_over_and_then_repaired(tmp_path):
    path = write(tmp_path, ONE, replace(ONE, round=1)).path
    path.write_bytes(path.read_bytes()[:-20])
    assert read_measurements(tmp_path) == [ONE]
    write(tmp_path, replace(ONE, round=2))
    assert [one.round for one in read_measurements(tmp_path)] == [0, 2]


def test_devices_are_never_mixed(tmp_path):
    path = write(tmp_path, ONE).path
    with pytest.raises(InputError, match=r"measured with device 'a processor', here it is 'a GPU'"):
        write(tmp_path, setting=SETTING | {"device": "a GPU"})
    line = json.loads(path.read_text()) | {"setting": SETTING | {"torch": "3.0"}}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(JournalError, match=r"measurements.jsonl:2: .*another device or setting"):
        read_measurements(tmp_path)


def test_nothing_is_left_where_nothing_was_measured(tmp_path):
    write(tmp_path)
    assert not (tmp_path / "measurements.jsonl").exists()


def test_two_writers_at_once_are_refused(tmp_path):
    with (
        MeasurementFile(tmp_path, SETTING),
        pytest.raises(StudyDirectoryError, match="another process"),
        MeasurementFile(tmp_path, SETTING),
    ):
        pass
    write(tmp_path, ONE)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"before": {"inference_seconds": 0}}, "has the inference_seconds 0"),
        ({"before": {"inference_seconds": -1.0}}, "what is not known is null"),
        ({"before": {"macs_dense": "many"}}, "before has the macs_dense 'many'"),
        ({"before": {"macs_dense": 10**400}}, "before has the macs_dense 1000"),
        ({"before": {"inference_seconds": float("inf")}}, "has the inference_seconds inf"),
        ({"setting": {"device": "a processor"}}, "'setting' does not say the seconds"),
        ({"setting": SETTING | {"device": 7}}, "'setting' does not say the device"),
        ({"after": {"parameters": True}}, "after has the parameters True"),
        ({"round": "first"}, "'round' is of a wrong type"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"schema": 9}, "of a newer minaction"),
    ],
)
def test_a_line_that_cannot_be_trusted_is_named(tmp_path, change, problem):
    path = write(tmp_path, ONE).path
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")
    with pytest.raises(JournalError, match=r"measurements.jsonl:1: not a measurement") as caught:
        read_measurements(tmp_path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["[1]\n", "{}\n", "no json\n", '{"before": NaN}\n', "[" * 9999])
def test_what_is_no_measurement_is_no_traceback(tmp_path, line):
    write(tmp_path, ONE).path.write_text(line + "\n")
    with pytest.raises(JournalError, match="not a measurement"):
        read_measurements(tmp_path)
