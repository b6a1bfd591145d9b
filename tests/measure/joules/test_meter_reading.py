"""Readings: a value or a reason, never both, never a 0 for what was not measured."""

from __future__ import annotations

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import InputError, MeterDeniedError, MeterError, MeterLostError
from minaction.measure.joules.reading import Reading, Source, Validity, not_measured


def reading(**changes):
    fields = {
        "value": 12.5,
        "unit": "joules",
        "source": Source.COUNTER,
        "scope": "cpu package-0",
        "window_seconds": 2.0,
    }
    return Reading(**{**fields, **changes})


@given(
    value=st.none() | st.floats(),
    validity=st.sampled_from(Validity),
    reason=st.none() | st.text(min_size=1),
    idle=st.none() | st.floats(),
)
def test_a_reading_has_a_positive_value_or_a_reason(value, validity, reason, idle):
    try:
        made = reading(value=value, validity=validity, reason=reason, idle=idle)
    except InputError:
        return
    assert made.value is None or 0 < made.value < math.inf
    assert (made.value is None) == (made.validity is not Validity.VALID) == bool(made.reason)
    assert made.idle is None or 0 < made.idle < math.inf


@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1.0, math.nan, math.inf])
def test_what_was_not_measured_is_not_zero(value):
    with pytest.raises(InputError, match="expected a positive number; what was not measured is No"):
        reading(value=value)


def test_what_the_idle_device_takes_is_told_apart():
    assert reading(idle=10.0).above_idle == 2.5
    assert reading(idle=13.0).above_idle == -0.5
    assert reading().above_idle is None
    assert reading(value=None, validity=Validity.LOST, reason="gone", idle=1.0).above_idle is None


@pytest.mark.parametrize(
    ("error", "validity"),
    [
        (MeterError, Validity.NO_METER),
        (MeterDeniedError, Validity.DENIED),
        (MeterLostError, Validity.LOST),
    ],
)
def test_errors_of_meters_are_reasons(error, validity):
    made = not_measured(error("why and what to do"), scope="gpu 0")
    assert (made.value, made.validity, made.reason) == (None, validity, "why and what to do")
    assert (made.source, made.window_seconds) == (None, None)


def test_readings_are_values():
    made = reading(idle=1.0)
    assert pickle.loads(pickle.dumps(made)) == made
    assert json.loads(json.dumps(made.to_dict())) == made.to_dict()
    assert made.to_dict()["source"] == "counter"
    with pytest.raises(AttributeError):
        made.value = 3
