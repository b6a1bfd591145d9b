"""RAPL: real file trees of power zones, laid out in a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorded_meters import RANGE_UJ, Clock, PowerZones

from minaction.errors import MeterDeniedError, MeterError, MeterLostError
from minaction.measure.joules.rapl import RaplMeter, zones
from minaction.measure.joules.reading import Validity
from minaction.measure.joules.window import Window, read_window


@pytest.fixture
def clock():
    return Clock()


def meter(root, clock, others=None):
    return RaplMeter(root, clock=clock, watch=lambda: lambda: others)


def test_packages_are_added_and_what_is_inside_them_is_not(tmp_path, clock):
    made = PowerZones(tmp_path, clock, packages=2)
    reading = read_window(meter(tmp_path, clock), lambda: made.work(4), clock=clock)
    assert reading.value == 2 * 50 * 4
    assert reading.scope == "cpu package-0 + package-1"
    assert reading.source == "counter"
    assert [zone.name for zone in zones(tmp_path)] == [
        *("package-0", "package-0/core", "package-0/dram"),
        *("package-1", "package-1/core", "package-1/dram", "psys"),
    ]


def test_a_counter_that_starts_again_in_the_window_is_exact(tmp_path, clock):
    made = PowerZones(tmp_path, clock, begin_uj=RANGE_UJ - 70_000_000)
    window = Window(meter(tmp_path, clock), clock=clock, poll=False)
    before = int((made.packages[0] / "energy_uj").read_text())
    made.work(2)
    assert int((made.packages[0] / "energy_uj").read_text()) < before
    assert window.close().value == 100


def test_a_long_window_is_followed_through_many_starts(tmp_path, clock):
    made = PowerZones(tmp_path, clock, watts=1000.0)
    window = Window(meter(tmp_path, clock), clock=clock, poll=False)
    for _ in range(300):
        made.work(1)
        window.sample()
    assert window.close().value == 300_000  # the counter holds 65,533 J


def test_a_meter_that_rested_before_the_window_is_no_problem(tmp_path, clock):
    made = PowerZones(tmp_path, clock, watts=1000.0)
    resting = meter(tmp_path, clock)
    made.work(3600)
    assert read_window(resting, lambda: made.work(2), clock=clock).value == 2000


def test_a_machine_that_slept_in_the_window_is_a_reason(tmp_path, clock):
    made = PowerZones(tmp_path, clock)
    reading = read_window(meter(tmp_path, clock), lambda: made.work(3600), clock=clock)
    assert reading.validity is Validity.LOST
    assert "cannot be told over 3.6e+03 s without a reading" in reading.reason


def test_others_who_compute_make_it_shared(tmp_path, clock):
    made = PowerZones(tmp_path, clock)
    shared = meter(tmp_path, clock, others="other processes used 2 s")
    assert read_window(shared, lambda: made.work(4), clock=clock).validity is Validity.SHARED


def test_a_package_that_disappears_is_lost(tmp_path, clock):
    made = PowerZones(tmp_path, clock)

    def work():
        made.work(4)
        shutil.rmtree(made.packages[0])

    reading = read_window(meter(tmp_path, clock), work, clock=clock)
    assert reading.validity is Validity.LOST
    assert "intel-rapl:0/energy_uj cannot be read" in reading.reason


@pytest.mark.parametrize("content", ["", "many\n", "1 2\n", "-5\n", f"{RANGE_UJ + 1}\n"])
def test_a_counter_that_shows_nonsense_is_lost(tmp_path, clock, content):
    made = PowerZones(tmp_path, clock)
    (made.packages[0] / "energy_uj").write_text(content)
    with pytest.raises(MeterLostError, match="energy_uj"):
        meter(tmp_path, clock)


@pytest.mark.parametrize("only", [[], ["psys"], ["dram", "core"]])
def test_without_a_package_there_is_no_meter(tmp_path, clock, only):
    for i, name in enumerate(only):
        zone = tmp_path / f"intel-rapl:{i}"
        zone.mkdir()
        (zone / "name").write_text(name)
    with pytest.raises(MeterError, match=r"no RAPL package counter under .*a virtual machine"):
        meter(tmp_path, clock)


@contextmanager
def as_an_ordinary_user():
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permission_denied_says_how_to_mend_it(clock):
    root = Path(tempfile.mkdtemp())  # other users may not enter pytest's own folders
    try:
        PowerZones(root, clock)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        counter = root / "intel-rapl:0" / "energy_uj"
        counter.chmod(0o400 if os.geteuid() == 0 else 0)
        with as_an_ordinary_user(), pytest.raises(MeterDeniedError) as denied:
            meter(root, clock)
        assert f"`sudo chmod a+r {counter}`" in str(denied.value)
        assert "root only" in str(denied.value)
    finally:
        shutil.rmtree(root)
