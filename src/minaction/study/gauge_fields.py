"""What a record says of its gauge-fixed energy, also one made before that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from minaction.study.journal import Record

VALUE = "energy_gauge_fixed"
REASON = "energy_gauge_fixed_reason"
LAYER_REASON = "gauge_reason"

NOT_RECORDED = "not recorded"
"""Reason where a record has neither the energy nor a reason: older ones have not."""


def gauge_fixed(record: Record) -> tuple[float | None, str | None]:
    """Return a run's gauge-fixed energy (dimensionless), or None and why there is none."""
    if record.status in ("failed", "diverged"):
        return None, f"the run {record.status}"
    return value_or_reason(record.metrics or {}, REASON)


def layer_gauge_fixed(record: Record, name: str) -> tuple[float | None, str | None]:
    """Return a layer's share of the gauge-fixed energy, or None and why there is none.

    Where the layer does not say why, the run may: no layer has a share if gauge fixing failed.
    """
    layer = record.layers[name]
    if "energy_activation" not in layer:
        return None, "no activations are observed here"
    value, reason = value_or_reason(layer, LAYER_REASON)
    if reason == NOT_RECORDED:
        reason = gauge_fixed(record)[1] or NOT_RECORDED
    return value, reason


def value_or_reason(measured: Mapping[str, Any], reason: str) -> tuple[float | None, str | None]:
    """Return the energy where it is a finite number, else None and the text stored as `reason`."""
    value = finite_number(measured.get(VALUE))
    if value is None:
        return None, " ".join(str(measured.get(reason) or NOT_RECORDED).split())
    return value, None


def finite_number(value: object) -> float | None:
    """Return a measurement as a float, None where it is missing or no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer no float can hold
        return None
