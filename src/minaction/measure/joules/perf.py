"""What Linux perf counts: instructions of this process, and joules where it knows the package's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from minaction.errors import MeterError, MeterLostError
from minaction.measure.joules.meters import Tally, Watch
from minaction.measure.joules.perf_events import HARDWARE, INSTRUCTIONS, PerfEvent
from minaction.measure.joules.rapl import MIN_WINDOW_SECONDS
from minaction.measure.joules.reading import Source, Unit
from minaction.measure.joules.sharing import watch_cpu

POWER = Path("/sys/bus/event_source/devices/power")
TASKS = Path("/proc/self/task")
MIN_INSTRUCTIONS_SECONDS = 0.1  # opening and closing a window takes instructions too


class PerfMeter:
    """The sum of events that the kernel counts.

    Args:
        open_events: Starts the counters.
        unit: Of what they count, times `scale`.
        scope: What it meters.
        scale: What one count is worth.
        min_window_seconds: Shorter windows tell more of the counter's resolution than of the work.
        watch: Begins to look out for others who use what is counted.

    Raises:
        MeterError: A counter cannot be opened.
    """

    source = Source.COUNTER
    poll_seconds: float | None = None

    def __init__(
        self,
        open_events: Callable[[], Sequence[PerfEvent]],
        *,
        unit: Unit,
        scope: str,
        scale: float = 1.0,
        min_window_seconds: float = 0.0,
        watch: Callable[[], Watch] | None = None,
    ) -> None:
        self.unit: Unit = unit
        self.scope = scope
        self.min_window_seconds = min_window_seconds
        self._open_events, self._scale, self._watch = open_events, scale, watch
        for event in open_events():
            event.count()
            event.close()

    def open(self) -> Tally:
        """Begin to count.

        Raises:
            MeterError: A counter cannot be opened or read.
        """
        events = self._open_events()
        before = [event.count() for event in events]

        def total() -> float:
            counts = zip(events, before, strict=True)
            return self._scale * sum(event.count() - first for event, first in counts)

        return Tally(total=total, others=self._watch() if self._watch else lambda: None)


def instructions_meter() -> PerfMeter:
    """Return the meter of the instructions of this process, with the threads it starts.

    Raises:
        MeterError: There is no such counter, as in most virtual machines.
    """
    return PerfMeter(
        lambda: process_events("instructions", HARDWARE, INSTRUCTIONS),
        unit="instructions",
        scope="this process, outside the kernel",
        min_window_seconds=MIN_INSTRUCTIONS_SECONDS,
    )


def process_events(name: str, kind: int, config: int) -> list[PerfEvent]:
    """Open a counter in every thread of this process: those that run do not inherit one.

    Args:
        name: What messages call the event.
        kind: The kernel's number for who counts.
        config: Which event of that.

    Raises:
        MeterError: The counters cannot be opened.
    """
    events = []
    for task in sorted(int(path.name) for path in TASKS.iterdir()):
        with contextlib.suppress(MeterLostError):  # a thread that has just ended
            events.append(PerfEvent(name, kind, config, task=task))
    return events


def perf_joules_meter(root: Path = POWER) -> PerfMeter:
    """Return the meter of all CPU packages' joules by perf, the way to them without powercap.

    Args:
        root: The folder that describes the kernel's power counters.

    Raises:
        MeterError: There is no such counter, or it may not be opened.
    """
    try:
        kind = int((root / "type").read_text())
        config = int((root / "events/energy-pkg").read_text().strip().removeprefix("event="), 0)
        scale = float((root / "events/energy-pkg.scale").read_text())
        unit = (root / "events/energy-pkg.unit").read_text().strip()
        cpus = _cpus((root / "cpumask").read_text())
    except (OSError, ValueError) as error:
        raise MeterError(
            f"perf knows no joules of the CPU package here ({error}); measure on the machine itself"
        ) from error
    if unit != "Joules":
        raise MeterError(f"{root}/events/energy-pkg counts {unit}, expected Joules")
    return PerfMeter(
        lambda: [PerfEvent("energy-pkg", kind, config, task=-1, cpu=cpu) for cpu in cpus],
        unit="joules",
        scope=f"cpu packages by perf ({len(cpus)})",
        scale=scale,
        min_window_seconds=MIN_WINDOW_SECONDS,
        watch=watch_cpu,
    )


def _cpus(mask: str) -> list[int]:
    """Return the CPUs of a list such as `0,18` or `0-1`: one for each package."""
    cpus = []
    for part in mask.strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus
