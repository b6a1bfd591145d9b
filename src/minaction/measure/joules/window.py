"""A window of time over a meter, and whether its reading holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from minaction.errors import MeterError
from minaction.measure.joules.meters import Meter, Tally
from minaction.measure.joules.reading import Reading, Validity, not_measured


class Window:
    """Reads a meter from now on until it is closed; a meter that fails is a reason, not an error.

    A thread keeps in step with counters that start again and with sensors of power.

    Args:
        meter: What to read.
        clock: Seconds since some moment.
        poll: Whether to start the thread; without it whoever opened the window calls `sample`.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        clock: Callable[[], float] = time.perf_counter,
        poll: bool = True,
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._error: Exception | None = None
        self._value = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._tally = _opened(meter)
        self._began = clock()
        if poll and meter.poll_seconds is not None:
            self._thread = threading.Thread(
                target=self._poll, args=(meter.poll_seconds,), daemon=True
            )
            self._thread.start()

    def sample(self) -> None:
        """Read the meter once."""
        with self._lock:
            if self._error is None:
                try:
                    self._value = self._tally.total()
                except Exception as error:  # told by `close`: a thread has nobody to tell
                    self._error = error

    def close(self, idle_per_second: float | None = None) -> Reading:
        """End the window and return its reading.

        Args:
            idle_per_second: What the idle device takes, e.g. in watts; None where unknown.
        """
        seconds = self._clock() - self._began
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.sample()
        others = self._others()
        meter = self._meter
        if isinstance(self._error, MeterError):
            return not_measured(
                self._error,
                scope=meter.scope,
                unit=meter.unit,
                source=meter.source,
                window_seconds=seconds,
            )
        if self._error is not None:
            raise self._error
        value = self._value
        invalid = self._invalid(value, seconds, others)
        idle = None if idle_per_second is None else idle_per_second * seconds
        return Reading(
            value=None if invalid else value,
            unit=meter.unit,
            source=meter.source,
            scope=meter.scope,
            window_seconds=seconds,
            idle=idle,
            validity=invalid[0] if invalid else Validity.VALID,
            reason=invalid[1] if invalid else None,
        )

    def _others(self) -> str | None:
        try:
            return self._tally.others()
        except MeterError as error:
            self._error = self._error or error
            return None

    def _invalid(
        self, value: float, seconds: float, others: str | None
    ) -> tuple[Validity, str] | None:
        meter = self._meter
        if seconds < meter.min_window_seconds:
            return Validity.TOO_SHORT, (
                f"the window of {seconds:.3g} s is too short for {meter.scope}, whose resolution "
                f"asks for {meter.min_window_seconds:g} s; repeat the work in it"
            )
        if others is not None:
            return Validity.SHARED, (
                f"{others}, so the {meter.unit} of {meter.scope} are not this run's alone; "
                "measure again while nothing else runs there"
            )
        if value <= 0:
            return Validity.NOTHING, (
                f"{meter.scope} counted nothing in {seconds:.3g} s; a counter that stands still "
                "does not work here (as in many virtual machines)"
            )
        return None

    def _poll(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            self.sample()


def _opened(meter: Meter) -> Tally:
    try:
        return meter.open()
    except MeterError as error:
        problem = error

    def fail() -> float:
        raise problem

    return Tally(total=fail, others=lambda: None)


def read_window(
    meter: Meter,
    program: Callable[[], object],
    *,
    idle_per_second: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Reading:
    """Run a program in a window and return the reading; the program's errors pass through.

    Args:
        meter: What to read.
        program: What to run; its work must be over when it returns.
        idle_per_second: What the idle device takes, e.g. in watts; None where unknown.
        clock: Seconds since some moment.
    """
    window = Window(meter, clock=clock)
    try:
        program()
    finally:
        reading = window.close(idle_per_second)
    return reading
