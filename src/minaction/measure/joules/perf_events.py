"""Counters of the Linux kernel, opened by the system call `perf_event_open`.

Reference:
    https://man7.org/linux/man-pages/man2/perf_event_open.2.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

from minaction.errors import MeterDeniedError, MeterError, MeterLostError

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
ATTRIBUTES_BYTES = 112
TIMES_ENABLED_AND_RUNNING = 3
INHERIT, EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
NUMBERS = {"x86_64": 298, "aarch64": 241}
HARDWARE, SOFTWARE = 0, 1
INSTRUCTIONS = 1
TASK_CLOCK = 1


class PerfEvent:
    """One counter, running from now on.

    Args:
        name: What messages call it.
        kind: The kernel's number for who counts (`perf_event_attr.type`).
        config: Which event of that.
        task: The thread to count in, outside the kernel, with the threads it starts; 0 for this
            one, -1 for everything on `cpu`.
        cpu: The CPU to count on; -1 for wherever `task` runs.

    Raises:
        MeterDeniedError: This user may not open it.
        MeterLostError: The thread has ended.
        MeterError: There is no such counter here.
    """

    def __init__(self, name: str, kind: int, config: int, *, task: int = 0, cpu: int = -1) -> None:
        self.name = name
        number = NUMBERS.get(platform.machine())
        if number is None or platform.system() != "Linux":
            raise MeterError(f"{name}: perf is known here on Linux for {', '.join(NUMBERS)} only")
        attributes = struct.pack(
            "IIQQQQQ",
            kind,
            ATTRIBUTES_BYTES,
            config,
            0,
            0,
            TIMES_ENABLED_AND_RUNNING,
            0 if task < 0 else INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR,
        )
        buffer = ctypes.create_string_buffer(attributes, ATTRIBUTES_BYTES)
        library = ctypes.CDLL(None, use_errno=True)
        self._file = library.syscall(number, buffer, task, cpu, -1, 0)
        if self._file < 0:
            raise _refused(name, ctypes.get_errno())

    def count(self) -> int:
        """Return how often the event happened.

        Raises:
            MeterLostError: The counter is gone, or had to be shared and only saw a part.
        """
        try:
            value, enabled, running = struct.unpack("QQQ", os.read(self._file, 24))
        except (OSError, struct.error) as error:
            raise MeterLostError(f"{self.name} cannot be read ({error}); measure again") from error
        if running < enabled:
            raise MeterLostError(
                f"{self.name} counted {running / enabled:.0%} of the time: others use the "
                "processor's counters; end them (perf, profilers) and measure again"
            )
        return value

    def close(self) -> None:
        """Give the counter back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()


def _refused(name: str, number: int) -> MeterError:
    if number in (errno.EACCES, errno.EPERM):
        try:
            level = PARANOID.read_text().strip()
        except OSError:
            level = "not known"
        return MeterDeniedError(
            f"{name} may not be counted by this user (perf_event_paranoid is {level}); "
            "`sudo sysctl kernel.perf_event_paranoid=0` allows it until the next start; containers "
            "need --cap-add=PERFMON as well"
        )
    if number == errno.ESRCH:
        return MeterLostError(f"{name} cannot be counted in a thread that has ended")
    return MeterError(
        f"{name} cannot be counted here ({os.strerror(number)}): virtual machines hide the "
        "processor's counters; measure on the machine itself"
    )
