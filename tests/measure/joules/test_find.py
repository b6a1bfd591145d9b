"""Which meters a machine has: one per quantity, or the reason."""

from __future__ import annotations

import pytest
from recorded_meters import Clock, PowerZones

from minaction.measure.joules.find import cpu_instructions, cpu_joules, gpu_joules
from minaction.measure.joules.rapl import RaplMeter
from minaction.measure.joules.reading import Reading, Validity


def test_power_zones_are_found(tmp_path):
    PowerZones(tmp_path, Clock())
    found = cpu_joules(tmp_path, tmp_path / "no-perf")
    assert isinstance(found, RaplMeter)


def test_without_any_counter_the_reason_is_that_of_the_usual_one(tmp_path):
    found = cpu_joules(tmp_path, tmp_path / "no-perf")
    assert (found.value, found.validity, found.scope) == (None, Validity.NO_METER, "cpu package")
    assert "no RAPL package counter" in found.reason


@pytest.mark.parametrize("found", [cpu_joules(), cpu_instructions(), gpu_joules("GPU-none")])
def test_on_this_machine_there_is_a_meter_or_a_reason(found):
    if isinstance(found, Reading):
        assert found.value is None
        assert found.reason
    else:
        assert found.open().total() >= 0
