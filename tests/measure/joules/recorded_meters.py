# ruff: noqa: N802  (the driver's functions have names of their own)
"""Meters without their hardware: a clock that is told the time, power zones, a recorded driver."""

from __future__ import annotations

import time
from pathlib import Path

import pynvml

WATTS = 50.0
RANGE_UJ = 65_532_610_987  # of a real package


class Clock:
    """Seconds that pass only when somebody sleeps or works."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class PowerZones:
    """A folder like /sys/class/powercap, whose packages count as the clock goes on."""

    def __init__(self, root: Path, clock: Clock, *, begin_uj=0, watts=WATTS, packages=1):
        self.root, self.clock, self.begin_uj, self.watts = root, clock, begin_uj, watts
        self.packages = [self.add(f"intel-rapl:{i}", f"package-{i}") for i in range(packages)]
        self.add(f"intel-rapl:{packages}", "psys")
        for i in range(packages):
            self.add(f"intel-rapl:{i}:0", "core")
            self.add(f"intel-rapl:{i}:1", "dram")
        self.add("intel-rapl-mmio:0", "package-0")
        (root / "intel-rapl").mkdir()  # the control type, which is no zone
        self.write()

    def add(self, zone, name):
        folder = self.root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text("123456789\n")
        return folder

    def write(self):
        """Show what the packages have counted by now; nested zones jump about."""
        count = (self.begin_uj + round(1e6 * self.watts * self.clock.now)) % RANGE_UJ
        for package in self.packages:
            (package / "energy_uj").write_text(f"{count}\n")

    def work(self, seconds):
        """Let time pass, and show it."""
        self.clock.sleep(seconds)
        self.write()


class RecordedNvml:
    """Answers as a driver did, for the functions that are used; errors are nvidia-ml-py's own."""

    NVMLError = pynvml.NVMLError
    NVMLError_NotSupported = pynvml.NVMLError_NotSupported
    NVMLError_NoPermission = pynvml.NVMLError_NoPermission
    NVMLError_NotFound = pynvml.NVMLError_NotFound
    NVMLError_InvalidArgument = pynvml.NVMLError_InvalidArgument

    def __init__(self, gpus, clock=time.perf_counter):
        self.gpus = gpus  # by PCI bus: dictionaries of what each one answers
        self.clock = clock
        self.refused = {}

    def _answer(self, function, gpu, name):
        problem = self.refused.get(function)
        if problem is not None:
            raise pynvml.NVMLError(problem)
        if name not in gpu:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        value = gpu[name]
        return value(self.clock()) if callable(value) else value

    def nvmlInit(self):
        if "nvmlInit" in self.refused:
            raise pynvml.NVMLError(self.refused["nvmlInit"])

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, i):
        return self.gpus[i]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        for gpu in self.gpus:
            if gpu["uuid"] == uuid:
                return gpu
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, gpu):
        return gpu["uuid"]

    def nvmlDeviceGetName(self, gpu):
        return gpu.get("name", "NVIDIA H100 80GB HBM3")

    def nvmlDeviceGetMigMode(self, gpu):
        return self._answer("nvmlDeviceGetMigMode", gpu, "mig")

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return self._answer("nvmlDeviceGetTotalEnergyConsumption", gpu, "energy_mj")

    def nvmlDeviceGetPowerUsage(self, gpu):
        return self._answer("nvmlDeviceGetPowerUsage", gpu, "power_mw")

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        gpu = {"processes": [1], **gpu}
        return self._answer("nvmlDeviceGetComputeRunningProcesses", gpu, "processes")
