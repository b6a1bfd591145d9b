"""Which meters there are on this machine, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from minaction.errors import MeterError
from minaction.measure.joules.meters import Meter
from minaction.measure.joules.perf import POWER, instructions_meter, perf_joules_meter
from minaction.measure.joules.rapl import POWERCAP, RaplMeter
from minaction.measure.joules.reading import Reading, not_measured

Found = Meter | Reading
"""A meter, or the reading that says why there is none."""


def cpu_joules(powercap: Path = POWERCAP, power: Path = POWER) -> Found:
    """Return a meter of the CPU packages' joules: by powercap, or else by perf.

    Args:
        powercap: The folder of the power zones.
        power: The folder that describes perf's power counters.
    """
    found = _meter("cpu package", lambda: RaplMeter(powercap))
    if not isinstance(found, Reading):
        return found
    by_perf = _meter("cpu package", lambda: perf_joules_meter(power))
    return found if isinstance(by_perf, Reading) else by_perf


def cpu_instructions() -> Found:
    """Return a meter of the instructions of this process."""
    found = _try(instructions_meter)
    if isinstance(found, MeterError):
        return not_measured(found, scope="this process", unit="instructions")
    return found


def gpu_joules(uuid: str) -> Found:
    """Return a meter of a GPU's joules.

    Args:
        uuid: The GPU's.
    """
    from minaction.measure.joules.nvml import NvmlMeter

    return _meter(f"gpu {uuid}", partial(NvmlMeter, uuid))


def _meter(scope: str, make: Callable[[], Meter]) -> Found:
    found = _try(make)
    return not_measured(found, scope=scope) if isinstance(found, MeterError) else found


def _try(make: Callable[[], Meter]) -> Meter | MeterError:
    try:
        return make()
    except MeterError as error:
        return error
