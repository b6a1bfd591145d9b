"""Joules of an NVIDIA GPU, by NVML: its counter where it has one, else its power over time.

The parts of the library that are used are those of nvidia-ml-py's `pynvml`; tests give a recorded
one.

Reference:
    https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pynvml

from minaction.errors import MeterDeniedError, MeterError, MeterLostError
from minaction.measure.joules.meters import MOST_WATTS, Integrated, Tally, Unwrapped, Watch
from minaction.measure.joules.reading import Source, Unit

MILLI = 1e-3
MIN_WINDOW_SECONDS = 5.0  # the counter moves about every 100 ms: 2 % of it
POWER_POLL_SECONDS = 0.02
MAX_POWER_GAP_SECONDS = 1.0


class NotSupportedError(MeterError):
    """A quantity that this GPU does not tell."""


class NvmlMeter:
    """Joules of one whole GPU.

    Args:
        uuid: The GPU's, e.g. from `visible_gpus`: numbers change with the environment.
        library: What answers for the driver.
        clock: Seconds since some moment.
        own: How many processes of ours use it; more are others.

    Raises:
        MeterError: There is no such GPU, it is partitioned (MIG), or tells neither joules nor
            watts.
        MeterDeniedError: This user may not read it.
    """

    unit: Unit = "joules"
    min_window_seconds = MIN_WINDOW_SECONDS

    def __init__(
        self,
        uuid: str,
        *,
        library: Any = pynvml,
        clock: Callable[[], float] = time.perf_counter,
        own: int = 1,
    ) -> None:
        start_nvml(library)
        self._own = own
        self.scope = f"gpu {uuid}"
        self._nvml, self._clock = library, clock
        self._gpu = self._ask("nvmlDeviceGetHandleByUUID", uuid)
        if self._partitioned():
            raise MeterError(
                f"{self.scope} is partitioned (MIG) and counts for all its instances together; "
                "turn MIG off for the measurement (`sudo nvidia-smi -mig 0`)"
            )
        self.source = self._best_source()
        integrated = self.source is Source.INTEGRATED
        self.poll_seconds: float | None = POWER_POLL_SECONDS if integrated else None

    def open(self) -> Tally:
        """Begin to count.

        Raises:
            MeterError: The GPU cannot be read.
        """
        if self.source is Source.COUNTER:
            counter = Unwrapped(f"the energy counter of {self.scope}", most_per_second=MOST_WATTS)
            ask, add = "nvmlDeviceGetTotalEnergyConsumption", counter.add
        else:
            power = Integrated(f"the power sensor of {self.scope}", MAX_POWER_GAP_SECONDS)
            ask, add = "nvmlDeviceGetPowerUsage", power.add

        def joules() -> float:
            return add(MILLI * self._ask(ask, self._gpu), self._clock())

        joules()
        return Tally(total=joules, others=self._watch())

    def _best_source(self) -> Source:
        if self._supports("TotalEnergyConsumption"):
            return Source.COUNTER
        if self._supports("PowerUsage"):
            return Source.INTEGRATED
        raise MeterError(
            f"{self.scope} tells neither joules nor watts (a virtual GPU, or a very old one); "
            "measure on the machine itself"
        )

    def _watch(self) -> Watch:
        """Look at the beginning and at the end: who comes and goes between them is not seen."""
        before = self._processes()

        def others() -> str | None:
            after = self._processes()
            if before is None or after is None:
                return "whether others use the GPU cannot be told (the driver does not say)"
            most = max(before, after)
            if most <= self._own:
                return None
            return f"{most} process{'es' * (most > 1)} use{'s' * (most == 1)} the GPU"

        return others

    def _processes(self) -> int | None:
        try:
            return len(self._ask("nvmlDeviceGetComputeRunningProcesses", self._gpu))
        except NotSupportedError:
            return None

    def _partitioned(self) -> bool:
        try:
            current, _ = self._ask("nvmlDeviceGetMigMode", self._gpu)
        except NotSupportedError:  # most GPUs cannot be partitioned
            return False
        return bool(current)

    def _supports(self, quantity: str) -> bool:
        try:
            self._ask(f"nvmlDeviceGet{quantity}", self._gpu)
        except NotSupportedError:
            return False
        return True

    def _ask(self, function: str, *arguments: Any) -> Any:
        return ask_nvml(self._nvml, self.scope, function, *arguments)


def start_nvml(library: Any = pynvml) -> None:
    """Start NVML; once more does no harm.

    Raises:
        MeterError: There is no NVIDIA driver, or it does not start.
    """
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise MeterError(f"no NVIDIA driver answers ({error})") from error


def ask_nvml(library: Any, scope: str, function: str, *arguments: Any) -> Any:
    """Call one of NVML's functions.

    Args:
        library: What answers for the driver.
        scope: What messages call the device.
        function: The function's name.
        arguments: What it takes.

    Raises:
        MeterError: It failed; of the subclass that fits.
    """
    try:
        return getattr(library, function)(*arguments)
    except library.NVMLError_NotSupported as error:
        raise NotSupportedError(f"{scope} does not tell ({error})") from error
    except library.NVMLError_NoPermission as error:
        raise MeterDeniedError(
            f"{scope} may not be read by this user ({error}); ask for access to it"
        ) from error
    except (library.NVMLError_NotFound, library.NVMLError_InvalidArgument) as error:
        raise MeterError(
            f"there is no {scope} here ({error}); `minaction env` lists the GPUs"
        ) from error
    except library.NVMLError as error:
        raise MeterLostError(f"{scope} does not answer ({error}); measure again") from error
