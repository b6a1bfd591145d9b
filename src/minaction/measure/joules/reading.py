"""What a meter says of a stretch of time: a value with where it comes from, or why there is none.

What was not measured is None with a reason, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from minaction.errors import InputError, MeterDeniedError, MeterError, MeterLostError

Unit = Literal["joules", "instructions"]


class Source(StrEnum):
    """Where a value comes from."""

    COUNTER = "counter"  # the device counts it
    INTEGRATED = "integrated"  # the device tells watts, which were added up over time
    MODEL = "model"  # computed from counted operations: not a measurement


class Validity(StrEnum):
    """Whether a reading holds, and if not, the kind of cause."""

    VALID = "valid"
    NO_METER = "no meter"
    DENIED = "permission denied"
    LOST = "meter lost"
    TOO_SHORT = "window too short"
    NOTHING = "nothing counted"
    SHARED = "device shared"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A quantity in one window of time.

    Attributes:
        value: How much, more than 0; None exactly where it was not measured.
        unit: Of `value` and `idle`.
        source: Where the value comes from; None where there is no meter.
        scope: What took it, such as `"cpu package-0"` or `"gpu 0"`; joules of different scopes
            overlap or leave gaps, so they are never added.
        window_seconds: Length of the window; None where there was none.
        idle: What the idle device would have taken in the same window, which is part of `value`;
            None where it is not known.
        validity: Whether the value holds.
        reason: Why there is no value, and what to do; None for a valid reading.
        attributed: Whether this is a share of a reading of several runs, not a reading of its own.

    Raises:
        InputError: The parts contradict each other.
    """

    value: float | None
    unit: Unit
    source: Source | None
    scope: str
    window_seconds: float | None
    idle: float | None = None
    validity: Validity = Validity.VALID
    reason: str | None = None
    attributed: bool = False

    def __post_init__(self) -> None:
        valid = self.validity is Validity.VALID
        if valid != (self.value is not None) or valid != (self.reason is None):
            raise InputError(
                f"a reading has either a value or a reason; got value {self.value}, validity "
                f"{self.validity.value!r}, reason {self.reason!r}"
            )
        if self.value is not None and not 0 < self.value < math.inf:
            raise InputError(
                f"value is {self.value}, expected a positive number; what was not measured is None"
            )
        if self.idle is not None and not 0 < self.idle < math.inf:
            raise InputError(f"idle is {self.idle}, expected a positive number or None")

    @property
    def above_idle(self) -> float | None:
        """The value less what the idle device would have taken; None where either is unknown.

        It can be 0 or less: then the work cost no more than the device's noise.
        """
        return None if self.value is None or self.idle is None else self.value - self.idle

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            **vars(self),
            "source": None if self.source is None else self.source.value,
            "validity": self.validity.value,
            "above_idle": self.above_idle,
        }


def not_measured(
    error: MeterError,
    *,
    scope: str,
    unit: Unit = "joules",
    source: Source | None = None,
    window_seconds: float | None = None,
) -> Reading:
    """Return the reading that says why there is none.

    Args:
        error: What the meter complained of.
        scope: What was to be measured.
        unit: In what.
        source: Where the value would have come from.
        window_seconds: Length of the window, where there was one.
    """
    validity = Validity.NO_METER
    if isinstance(error, MeterDeniedError):
        validity = Validity.DENIED
    elif isinstance(error, MeterLostError):
        validity = Validity.LOST
    return Reading(
        value=None,
        unit=unit,
        source=source,
        scope=scope,
        window_seconds=window_seconds,
        validity=validity,
        reason=str(error),
    )
