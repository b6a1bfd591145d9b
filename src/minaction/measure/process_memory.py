"""Memory of this process, as the system counts it."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """What a process took.

    Attributes:
        peak_bytes: The most that was ever resident.
        shared_bytes: What of it now lies in files and shared memory, which processes that use the
            same ones share; 0 where the system does not tell.
    """

    peak_bytes: int
    shared_bytes: int


def process_memory() -> ProcessMemory:
    """Measure this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text("ascii").splitlines())
        shared = sum(int(lines[key].split()[0]) * 1024 for key in ("RssFile", "RssShmem"))
    except (OSError, KeyError):  # not Linux
        shared = 0
    return ProcessMemory(peak_bytes=peak, shared_bytes=shared)
