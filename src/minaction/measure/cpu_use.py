"""How much others use the CPUs while this process runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
BUSY = (1, 2, 3, 6, 7)  # user, nice, system, irq, softirq; waiting and stolen time is not use


class CpuUse:
    """CPU seconds from now on, of this process and of all others.

    Children count as this process once they were waited for.

    Args:
        stat: The kernel's account of CPU time.

    Raises:
        OSError: There is no such account, as on systems other than Linux.
    """

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._busy, self._own = self._busy_seconds(), _own_seconds()

    def seconds(self) -> tuple[float, float]:
        """Return the CPU seconds of this process and of the others since the start."""
        own = _own_seconds() - self._own
        return own, max(0.0, self._busy_seconds() - self._busy - own)

    def _busy_seconds(self) -> float:
        fields = self._stat.read_text().splitlines()[0].split()
        return sum(float(fields[i]) for i in BUSY) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
