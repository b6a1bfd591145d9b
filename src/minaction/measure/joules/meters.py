"""What a meter is, and how counts and watts become a total that never falls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from minaction.errors import MeterLostError
from minaction.measure.joules.reading import Source, Unit

Watch = Callable[[], str | None]
"""Says who else used the device since the watch began; None if nobody did."""

MOST_WATTS = 2000.0
"""More than any one processor or GPU takes: a counter that runs faster is not to be believed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What a meter counts from one moment on.

    Attributes:
        total: Returns the quantity since that moment; raises MeterError where it cannot be read.
        others: Says who else used the device since then; raises MeterError as well.
    """

    total: Callable[[], float]
    others: Watch


class Meter(Protocol):
    """Counts a physical quantity of one device.

    Attributes:
        scope: What it meters.
        unit: In what.
        source: Where its values come from.
        min_window_seconds: Shorter windows tell more of the counter's resolution than of the work.
        poll_seconds: A tally's total must be read at least this often; None where it need not.
    """

    scope: str
    unit: Unit
    source: Source
    min_window_seconds: float
    poll_seconds: float | None

    def open(self) -> Tally:
        """Begin to count.

        Raises:
            MeterError: It cannot be read.
        """
        ...


class Unwrapped:
    """The total of a counter that starts again at 0 when it is full.

    Args:
        name: What messages call the counter.
        wraps_at: The count at which it starts again; None if it never does.
        most_per_second: A counter that runs faster was reset, or was not read for too long.
    """

    def __init__(
        self, name: str, wraps_at: float | None = None, most_per_second: float | None = None
    ) -> None:
        self.name = name
        self.wraps_at = wraps_at
        self.most_per_second = most_per_second
        self.total = 0.0
        self._last: tuple[float, float] | None = None

    def add(self, count: float, seconds: float) -> float:
        """Take in the count at a moment, and return the total since the first one.

        Raises:
            MeterLostError: The counter was reset, is out of its range, or may have started again
                more than once.
        """
        if self.wraps_at is not None and not 0 <= count <= self.wraps_at:
            raise MeterLostError(
                f"{self.name} is at {count:g}, beyond its range of {self.wraps_at:g}; the counter "
                "is not to be believed"
            )
        if self._last is not None:
            last, before = self._last
            self.total += self._step(last, count, seconds - before)
        self._last = count, seconds
        return self.total

    def _step(self, last: float, count: float, gap: float) -> float:
        step = count - last
        if step < 0:
            if self.wraps_at is None:
                raise MeterLostError(
                    f"{self.name} fell from {last:g} to {count:g}: it was reset; measure again"
                )
            step += self.wraps_at
        if self.most_per_second is None:
            return step
        most = self.most_per_second * (gap + 1)  # a second, for counters that are late
        if step > most or (self.wraps_at is not None and most > self.wraps_at):
            raise MeterLostError(
                f"{self.name} cannot be told over {gap:.3g} s without a reading: it may have "
                "started again more than once, or been reset; measure again"
            )
        return step


class Integrated:
    """Joules from watts told now and then: trapezoids between them.

    Args:
        name: What messages call the sensor.
        max_gap_seconds: The longest time between two values that still says something.
    """

    def __init__(self, name: str, max_gap_seconds: float) -> None:
        self.name = name
        self.max_gap_seconds = max_gap_seconds
        self.total = 0.0
        self._last: tuple[float, float] | None = None

    def add(self, watts: float, seconds: float) -> float:
        """Take in the power at a moment, and return the joules since the first one.

        Raises:
            MeterLostError: The power was not read for too long.
        """
        if self._last is not None:
            last, before = self._last
            gap = seconds - before
            if gap > self.max_gap_seconds:
                raise MeterLostError(
                    f"{self.name} was not read for {gap:.3g} s, so its joules are not known; "
                    "measure again while the machine is less busy"
                )
            self.total += (last + watts) / 2 * gap
        self._last = watts, seconds
        return self.total


def not_nested(names: Iterable[str]) -> list[str]:
    """Return the domains that may be added, of names such as `"package-0"`, `"package-0/core"`.

    A domain's joules hold those of the domains inside it, and `psys`, the whole platform, holds all
    packages although it stands beside them.
    """
    return [name for name in names if "/" not in name and name != "psys"]
