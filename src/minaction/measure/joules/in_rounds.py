"""One window of a program at a time: for programs that are measured in turns, in several rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from minaction.measure.joules.find import Found
from minaction.measure.joules.meters import Meter
from minaction.measure.joules.per_call import LONGER, has_idle_part
from minaction.measure.joules.reading import Reading, Validity
from minaction.measure.joules.window import read_window

DOUBLINGS = 8
"""How often a window that was too short is tried again with twice as many calls."""


@dataclass(frozen=True, kw_only=True)
class RoundMeter:
    """Reads one window of each program.

    Attributes:
        found: The meter, or why there is none.
        idle_per_second: What the resting device takes; None where that is not known.
        clock: Seconds since some moment.
    """

    found: Found
    idle_per_second: float | None = None
    clock: Callable[[], float] = time.perf_counter

    @classmethod
    def rested(
        cls,
        found: Found,
        *,
        cool_down_seconds: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> RoundMeter:
        """Let the device cool down, and see what it takes while it rests.

        Args:
            found: The meter, or why there is none.
            cool_down_seconds: How long it rests first.
            clock: Seconds since some moment.
            sleep: Waits for some seconds.
        """
        per_second = None
        if not isinstance(found, Reading) and has_idle_part(found):
            sleep(cool_down_seconds)
            shortest = LONGER * max(found.min_window_seconds, 1e-3)
            idle = read_window(found, lambda: sleep(shortest), clock=clock)
            if idle.value is not None and idle.window_seconds:
                per_second = idle.value / idle.window_seconds
        return cls(found=found, idle_per_second=per_second, clock=clock)

    def per_call(
        self,
        program: Callable[[], object],
        seconds: float,
        *,
        finish: Callable[[], object] = lambda: None,
    ) -> Reading:
        """Return what one call of a warm program takes.

        Args:
            program: What is repeated until the window is long enough.
            seconds: About how long a call takes.
            finish: Waits for the work of all calls.
        """
        if isinstance(self.found, Reading):
            return self.found
        calls = max(1, math.ceil(LONGER * self.found.min_window_seconds / max(seconds, 1e-9)))
        reading = self._window(self.found, program, calls, finish)
        for _ in range(DOUBLINGS):
            if reading.validity is not Validity.TOO_SHORT:
                break
            calls *= 2  # a call took less than it was said to
            reading = self._window(self.found, program, calls, finish)
        if reading.value is None:
            return reading
        return replace(
            reading,
            value=reading.value / calls,
            idle=None if reading.idle is None else reading.idle / calls,
            window_seconds=None
            if reading.window_seconds is None
            else reading.window_seconds / calls,
        )

    def _window(
        self,
        meter: Meter,
        program: Callable[[], object],
        calls: int,
        finish: Callable[[], object],
    ) -> Reading:
        def work() -> None:
            for _ in range(calls):
                program()
            finish()

        return read_window(meter, work, idle_per_second=self.idle_per_second, clock=self.clock)
