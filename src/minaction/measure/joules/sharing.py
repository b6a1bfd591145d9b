"""Who else uses a CPU: joules of a shared device are nobody's."""

from __future__ import annotations

import time
from pathlib import Path

from minaction.measure.cpu_use import STAT, CpuUse
from minaction.measure.joules.meters import Watch

TOLERATED = 0.05
"""Share of others in the CPU time that is taken for the system's own noise."""


def watch_cpu(stat: Path = STAT) -> Watch:
    """Begin to look out for other processes that compute.

    They share the CPU where their CPU time is more than 5 % of this process's own, or of one CPU
    where this process is idle.

    Args:
        stat: The kernel's account of CPU time.
    """
    began = time.perf_counter()
    try:
        use = CpuUse(stat)
    except (OSError, ValueError, IndexError):
        return lambda: f"whether others use the CPU cannot be told ({stat} cannot be read)"

    def others() -> str | None:
        window = time.perf_counter() - began
        own, other = use.seconds()
        if other <= TOLERATED * max(own, window):
            return None
        return f"other processes used {other:.2g} s of CPU time in {window:.2g} s"

    return others
