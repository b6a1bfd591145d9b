"""What a time was measured under: device, threads, frequency, and how busy the machine was."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from minaction.measure.cpu_use import CpuUse
from minaction.measure.environment import cpu_count, cpu_name

CPUS = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What times hold for.

    Attributes:
        device: Name of the processor or GPU.
        threads: Threads that torch computes with on the CPU.
        cpus: CPUs that this process may use.
        governor: How the kernel chooses the frequency; None where it does not say.
        frequency_hz: Median frequency of the device at the end; None where it is not told. In
            virtual machines it is the nominal one.
        others_cpus: CPUs that other processes used meanwhile; None where that is not told.
    """

    device: str
    threads: int
    cpus: int
    governor: str | None
    frequency_hz: float | None
    others_cpus: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)


class ConditionsWatch:
    """Notes the conditions from now on.

    Args:
        device: Where the network runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._use = _cpu_use()

    def close(self, seconds: float) -> Conditions:
        """Return the conditions of a measurement that took `seconds`."""
        others = None if self._use is None else self._use.seconds()[1] / seconds
        on_gpu = self._device.type == "cuda"
        return Conditions(
            device=torch.cuda.get_device_name(self._device) if on_gpu else cpu_name(),
            threads=torch.get_num_threads(),
            cpus=cpu_count(),
            governor=None if on_gpu else governor(),
            frequency_hz=_gpu_frequency(self._device) if on_gpu else cpu_frequency_hz(),
            others_cpus=others,
        )


def governor(cpus: Path = CPUS) -> str | None:
    """Return how the kernel chooses the first CPU's frequency, None where it does not say."""
    try:
        return (cpus / "cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def cpu_frequency_hz(cpus: Path = CPUS, cpuinfo: Path = CPUINFO) -> float | None:
    """Return the median frequency of all CPUs, None where it is not told."""
    files = sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    try:
        khz: Sequence[float] = [float(file.read_text()) for file in files]
        if khz:
            return 1e3 * statistics.median(khz)
        mhz = re.findall(r"^cpu MHz\s*: ([\d.]+)$", cpuinfo.read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return 1e6 * statistics.median(map(float, mhz)) if mhz else None


def _gpu_frequency(device: torch.device) -> float | None:
    try:
        return 1e6 * torch.cuda.clock_rate(device)
    except Exception:  # whatever the driver refuses: a missing fact is no failed measurement
        return None


def _cpu_use() -> CpuUse | None:
    try:
        return CpuUse()
    except (OSError, ValueError, IndexError):
        return None
