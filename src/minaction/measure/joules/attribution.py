"""The joules of runs that were trained as one: each run's share, marked as such."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from minaction.errors import InputError
from minaction.measure.joules.reading import Reading


def attribute(reading: Reading, macs: Mapping[str, float]) -> dict[str, Reading]:
    """Split a fused group's reading by each run's share of the multiply-accumulates.

    The shares add up to the group's value exactly, in any order. They are no measurements of single
    runs: a run may cost more or less than its MACs suggest.

    Args:
        reading: Of the whole group; where it has no value, no run has one, for the same reason.
        macs: Each run's multiply-accumulates in the window, positive.

    Raises:
        InputError: There is no run, or a run without multiply-accumulates.
    """
    if not macs:
        raise InputError("macs is empty; give the multiply-accumulates of each run of the group")
    for run, count in macs.items():
        if not 0 < count < math.inf:
            raise InputError(f"run {run!r} has {count} MACs, expected a positive number")
    values = _split(reading.value, macs)
    idles = _split(reading.idle, macs)
    return {
        run: replace(reading, value=values[run], idle=idles[run], attributed=True) for run in macs
    }


def _split(value: float | None, macs: Mapping[str, float]) -> dict[str, float | None]:
    """Deal out the 53 bits of a number: sums of such parts are never rounded."""
    if value is None:
        return dict.fromkeys(macs)
    mantissa, exponent = math.frexp(value)
    parts = int(mantissa * 2**53)
    total = sum(map(Fraction, macs.values()))
    dealt, reached, given = {}, Fraction(0), 0
    for run, count in macs.items():
        reached += Fraction(count)
        until = round(parts * reached / total)
        dealt[run] = math.ldexp(until - given, exponent - 53)
        given = until
    for run, part in dealt.items():
        if part <= 0:
            raise InputError(f"the share of run {run!r} is too small to be told")
    return dealt
