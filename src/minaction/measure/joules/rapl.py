"""Joules of CPU packages: the RAPL counters that Linux shows under /sys/class/powercap.

Reference:
    https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minaction.errors import MeterDeniedError, MeterError, MeterLostError
from minaction.measure.joules.meters import MOST_WATTS, Tally, Unwrapped, Watch, not_nested
from minaction.measure.joules.reading import Source, Unit
from minaction.measure.joules.sharing import watch_cpu

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6
MIN_WINDOW_SECONDS = 1.0  # a thousand updates of the counter, a hundred of others' CPU time


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One counter.

    Attributes:
        name: Its domain, after that of the zone it is inside of, e.g. `"package-0/core"`.
        path: Its folder.
    """

    name: str
    path: Path

    def microjoules(self, file: str = "energy_uj") -> int:
        """Return a number from one of its files.

        Raises:
            MeterDeniedError: This user may not read it.
            MeterLostError: It is not there, or holds no number.
        """
        path = self.path / file
        try:
            return int(path.read_text())
        except PermissionError:
            raise MeterDeniedError(
                f"{path} is readable by root only; until the next start of the machine, "
                f"`sudo chmod a+r {path}` lets all users read it"
            ) from None
        except (OSError, ValueError) as error:
            raise MeterLostError(f"{path} cannot be read ({error}); measure again") from error


def zones(root: Path = POWERCAP) -> list[Zone]:
    """Return all RAPL zones, nested ones under the names of those that hold them."""
    # intel-rapl-mmio shows the same packages a second time
    names = {}
    for path in sorted(root.glob("intel-rapl:*")):
        try:
            names[path.name] = (path / "name").read_text().strip()
        except OSError:
            continue  # a zone without a name cannot be told from one that is nested
    found = []
    for zone in names:
        parts = zone.split(":")
        ids = [":".join(parts[:length]) for length in range(2, len(parts) + 1)]
        found.append(Zone(name="/".join(names.get(i, i) for i in ids), path=root / zone))
    return found


class RaplMeter:
    """Joules of all CPU packages, counted by the processor.

    Only packages are added: the cores and uncore inside them are part of them, memory and the
    platform are not the CPU.

    Args:
        root: The folder of the power zones.
        clock: Seconds since some moment.
        watch: Begins to look out for others who compute.

    Raises:
        MeterError: There is no such counter here.
        MeterDeniedError: This user may not read it.

    Example:
        >>> read_window(RaplMeter(), program).value
    """

    unit: Unit = "joules"
    source = Source.COUNTER
    min_window_seconds = MIN_WINDOW_SECONDS
    poll_seconds: float | None = 1.0

    def __init__(
        self,
        root: Path = POWERCAP,
        *,
        clock: Callable[[], float] = time.perf_counter,
        watch: Callable[[], Watch] = watch_cpu,
    ) -> None:
        found = {zone.name: zone for zone in zones(root)}
        packages = [name for name in not_nested(found) if name.startswith("package")]
        if not packages:
            raise MeterError(
                f"no RAPL package counter under {root}: a virtual machine, a container without "
                "/sys, or a processor without one; measure on the machine itself, where "
                "`sudo modprobe intel_rapl_msr` may show it"
            )
        self.scope = f"cpu {' + '.join(packages)}"
        self._zones = [found[name] for name in packages]
        self._ranges = [zone.microjoules("max_energy_range_uj") for zone in self._zones]
        self._clock = clock
        self._watch = watch
        self.open()

    def open(self) -> Tally:
        """Begin to count.

        Raises:
            MeterError: A counter cannot be read.
        """
        counters = [
            Unwrapped(
                str(zone.path / "energy_uj"),
                wraps_at=most,
                most_per_second=MOST_WATTS / MICRO,
            )
            for zone, most in zip(self._zones, self._ranges, strict=True)
        ]

        def joules() -> float:
            pairs = zip(self._zones, counters, strict=True)
            return MICRO * sum(c.add(zone.microjoules(), self._clock()) for zone, c in pairs)

        joules()
        return Tally(total=joules, others=self._watch())
