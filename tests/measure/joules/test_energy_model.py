"""Modelled joules, which never pass for measured ones."""

from __future__ import annotations

import pytest

from minaction.errors import InputError
from minaction.measure.joules.energy_model import ModelMeter, modelled_joules, modelled_reading
from minaction.measure.joules.reading import Source, Validity
from minaction.measure.joules.window import Window


def test_figures_of_the_reference():
    assert modelled_joules(macs=1e12) == pytest.approx(3.7 + 0.9)
    assert modelled_joules(macs=0, acs=1e12) == pytest.approx(0.9)
    assert modelled_joules(macs=2e12, acs=1e12) == pytest.approx(10.1)


def test_a_modelled_reading_says_so():
    reading = modelled_reading(macs=1e9)
    assert (reading.source, reading.value) == (Source.MODEL, pytest.approx(4.6e-3))
    assert reading.scope == "arithmetic on a 45 nm chip"


def test_nothing_counted_is_not_zero_joules():
    reading = modelled_reading(macs=0)
    assert (reading.value, reading.validity) == (None, Validity.NOTHING)
    assert reading.source is Source.MODEL


@pytest.mark.parametrize("counts", [{"macs": -1}, {"macs": 1, "acs": -1}])
def test_negative_counts(counts):
    with pytest.raises(InputError, match="expected counts from 0"):
        modelled_joules(**counts)


def test_the_meter_counts_what_it_is_told_in_the_window():
    meter = ModelMeter()
    meter.add(macs=1e12)
    window = Window(meter)
    meter.add(macs=1e12, acs=1e12)
    reading = window.close()
    assert (reading.value, reading.source) == (pytest.approx(5.5), Source.MODEL)
    assert Window(meter).close().value is None
