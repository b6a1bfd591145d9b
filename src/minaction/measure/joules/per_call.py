"""What one call of a program takes: cool-down, idling, warm-up, windows until it is known well."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from minaction.errors import InputError
from minaction.measure.intervals import median_interval
from minaction.measure.joules.meters import Meter
from minaction.measure.joules.reading import Reading, Validity
from minaction.measure.joules.window import read_window

MIN_REPEATS = 5
LONGER = 1.2  # than the shortest window: calls are not equally long
LENGTHENED = 5


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """How a program is measured.

    Attributes:
        cool_down_seconds: How long the device rests first, so that what ran before is not in it.
        warm_up_seconds: How long the program runs before anything counts, at least one call.
        min_window_seconds: The shortest window; the meter's own shortest where that is longer.
        min_repeats: Windows at least, 5 or more.
        max_repeats: Windows at most.
        width: Windows are repeated until the 95 % interval of the median is narrower than this
            share of it.

    Raises:
        InputError: A value makes no sense.
    """

    cool_down_seconds: float = 5.0
    warm_up_seconds: float = 1.0
    min_window_seconds: float = 0.0
    min_repeats: int = MIN_REPEATS
    max_repeats: int = 30
    width: float = 0.05

    def __post_init__(self) -> None:
        for name in ("cool_down_seconds", "warm_up_seconds", "min_window_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not MIN_REPEATS <= self.min_repeats <= self.max_repeats:
            raise InputError(
                f"min_repeats is {self.min_repeats} and max_repeats {self.max_repeats}; expected "
                f"{MIN_REPEATS} or more, or there is no interval"
            )
        if not self.width > 0:
            raise InputError(f"width is {self.width}, expected a positive share")

    def least_seconds(self, meter: Meter) -> float:
        """Return how long reading a meter takes if everything goes well.

        Args:
            meter: What to read.
        """
        window = LONGER * self.shortest_window_seconds(meter)
        idle = self.cool_down_seconds + window if has_idle_part(meter) else 0.0
        return idle + self.warm_up_seconds + self.min_repeats * window

    def shortest_window_seconds(self, meter: Meter) -> float:
        """Return how long a window must be to hold.

        Args:
            meter: What to read.
        """
        return max(self.min_window_seconds, meter.min_window_seconds)


@dataclass(frozen=True, kw_only=True)
class PerCall:
    """What one call takes.

    Attributes:
        reading: Per call: the median over the windows; `window_seconds` is a call's share of one.
        low: Lower end of the 95 % percentile bootstrap interval of the median; None without value.
        high: Upper end.
        repeats: Windows that were read.
        calls: Calls of the program in each.
        narrow: Whether the interval became as narrow as was asked for.
    """

    reading: Reading
    low: float | None = None
    high: float | None = None
    repeats: int = 0
    calls: int = 0
    narrow: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {**vars(self), "reading": self.reading.to_dict()}


def measure_per_call(
    program: Callable[[], object],
    meter: Meter,
    procedure: Procedure | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> PerCall:
    """Measure what one call of a program takes.

    A reading that does not hold, of the idle device or of the program, ends the measurement and is
    its result, with its reason.

    Args:
        program: What to run; its work must be over when it returns.
        meter: What to read.
        procedure: How; default: 5 s of cool-down, 1 s of warm-up, 5 to 30 windows, until the
            interval is narrower than 5 %.
        clock: Seconds since some moment.
        sleep: Waits for some seconds.
    """
    how = procedure or Procedure()
    shortest = how.shortest_window_seconds(meter)
    per_second = None
    if has_idle_part(meter):
        sleep(how.cool_down_seconds)
        idle = read_window(meter, lambda: sleep(LONGER * max(shortest, 1e-3)), clock=clock)
        if idle.value is not None and idle.window_seconds:
            per_second = idle.value / idle.window_seconds
        elif idle.validity is not Validity.NOTHING:
            return PerCall(reading=idle)
    calls = _calls(program, LONGER * shortest, how.warm_up_seconds, clock)
    windows: list[Reading] = []
    lengthened = 0
    while len(windows) < how.max_repeats:
        work = partial(_repeat, program, calls)
        window = read_window(meter, work, idle_per_second=per_second, clock=clock)
        if window.validity is Validity.TOO_SHORT and lengthened < LENGTHENED:
            lengthened += 1
            windows.clear()  # all windows have as many calls
            calls *= 2
            continue
        if window.value is None:
            return PerCall(reading=window, repeats=len(windows), calls=calls)
        windows.append(window)
        if len(windows) >= how.min_repeats and _width(windows) <= how.width:
            break
    return _summary(windows, calls, per_second, how.width)


def has_idle_part(meter: Meter) -> bool:
    """Whether the meter counts while nothing runs: a process has no idle instructions."""
    return meter.unit == "joules"


def _calls(
    program: Callable[[], object],
    window_seconds: float,
    warm_up_seconds: float,
    clock: Callable[[], float],
) -> int:
    """Warm up, and return how many calls last as long as a window must."""
    program()
    began, calls = clock(), 0
    while not calls or clock() - began < warm_up_seconds:
        program()
        calls += 1
    seconds = (clock() - began) / calls
    return max(1, math.ceil(window_seconds / max(seconds, 1e-9)))


def _repeat(program: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        program()


def _values(windows: list[Reading]) -> list[float]:
    return [window.value for window in windows if window.value is not None]


def _width(windows: list[Reading]) -> float:
    low, high = median_interval(_values(windows))
    return (high - low) / statistics.median(_values(windows))


def _summary(
    windows: list[Reading], calls: int, idle_per_second: float | None, width: float
) -> PerCall:
    low, high = median_interval(_values(windows))
    seconds = statistics.median(window.window_seconds or 0.0 for window in windows) / calls
    reading = replace(
        windows[0],
        value=statistics.median(_values(windows)) / calls,
        window_seconds=seconds,
        idle=None if idle_per_second is None else idle_per_second * seconds,
    )
    return PerCall(
        reading=reading,
        low=low / calls,
        high=high / calls,
        repeats=len(windows),
        calls=calls,
        narrow=_width(windows) <= width,
    )
