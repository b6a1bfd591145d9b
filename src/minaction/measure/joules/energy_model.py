"""Modelled joules: what a 45 nm chip would have taken for the arithmetic alone.

Never a measurement: memory, idling and everything else that a real device spends is left out.

Reference:
    Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014: a 32-bit
    float multiplication takes 3.7 pJ, an addition 0.9 pJ.
"""

from __future__ import annotations

from minaction.errors import InputError
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.reading import Reading, Source, Unit, Validity

MAC_JOULES = 4.6e-12
AC_JOULES = 0.9e-12
SCOPE = "arithmetic on a 45 nm chip"


def modelled_joules(*, macs: float, acs: float = 0.0) -> float:
    """Return 4.6 pJ for each multiply-accumulate and 0.9 pJ for each accumulate.

    Args:
        macs: Multiply-accumulates.
        acs: Accumulates, such as those a spike causes.

    Raises:
        InputError: A count is negative.
    """
    if macs < 0 or acs < 0:
        raise InputError(f"macs is {macs} and acs {acs}; expected counts from 0")
    return MAC_JOULES * macs + AC_JOULES * acs


def modelled_reading(*, macs: float, acs: float = 0.0) -> Reading:
    """Return the modelled joules of counted operations, marked as a model.

    Args:
        macs: Multiply-accumulates.
        acs: Accumulates.
    """
    joules = modelled_joules(macs=macs, acs=acs)
    return Reading(
        value=joules or None,
        unit="joules",
        source=Source.MODEL,
        scope=SCOPE,
        window_seconds=None,
        validity=Validity.VALID if joules else Validity.NOTHING,
        reason=None if joules else "no multiply-accumulate was counted",
    )


class ModelMeter:
    """Joules of the operations it is told of.

    Example:
        >>> meter = ModelMeter()
        >>> window = Window(meter)
        >>> meter.add(macs=1e9)
        >>> window.close().value
    """

    unit: Unit = "joules"
    source = Source.MODEL
    scope = SCOPE
    min_window_seconds = 0.0
    poll_seconds: float | None = None

    def __init__(self) -> None:
        self._joules = 0.0

    def add(self, *, macs: float, acs: float = 0.0) -> None:
        """Take in that so many operations were done.

        Raises:
            InputError: A count is negative.
        """
        self._joules += modelled_joules(macs=macs, acs=acs)

    def open(self) -> Tally:
        """Begin to count."""
        before = self._joules
        return Tally(total=lambda: self._joules - before, others=lambda: None)
