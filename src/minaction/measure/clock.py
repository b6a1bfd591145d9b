"""Wall-clock time of programs: how long one takes, or which of two is faster, and how surely.

A shared machine has slow and fast phases, so two programs are timed in turns and compared pair by
pair: a phase falls on both alike.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from minaction.errors import DeviceError, InputError
from minaction.measure.intervals import median_interval

MAX_CALLS = 1 << 16
MIN_MEASUREMENTS = 5

Timer = Callable[[Callable[[], object], int], float]
"""Calls a program so many times and returns the seconds that took."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Times of one program.

    Attributes:
        seconds: Median time of one call.
        seconds_low: Lower end of its 95 % percentile bootstrap interval.
        seconds_high: Upper end.
        seconds_p05: What 5 % of the measurements were faster than, per call.
        seconds_p95: What 5 % of them were slower than.
        measurements: Number of measurements.
        calls: Calls in one measurement.
    """

    seconds: float
    seconds_low: float
    seconds_high: float
    seconds_p05: float
    seconds_p95: float
    measurements: int
    calls: int


@dataclass(frozen=True, kw_only=True)
class PairedTimes:
    """Times of two programs, taken in turns.

    Attributes:
        before_seconds: Median time of one call of the first.
        after_seconds: Median time of one call of the second.
        speedup: Median over the pairs of the first's time divided by the second's.
        speedup_low: Lower end of its 95 % percentile bootstrap interval over the pairs.
        speedup_high: Upper end.
        pairs: Number of pairs.
        calls: Calls of each program in one measurement.
    """

    before_seconds: float
    after_seconds: float
    speedup: float
    speedup_low: float
    speedup_high: float
    pairs: int
    calls: int


def wall_seconds(
    program: Callable[[], object], calls: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how long so many calls of a program take: the timer for a CPU.

    Args:
        program: The program.
        calls: How often it is called.
        clock: Seconds since some moment.
    """
    started = clock()
    for _ in range(calls):
        program()
    return clock() - started


def cuda_seconds(program: Callable[[], object], calls: int, *, device: torch.device) -> float:
    """Return how long a CUDA device works on so many calls, by events in its own queue.

    Args:
        program: The program, whose work goes to the device's current stream.
        calls: How often it is called.
        device: The device.
    """
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            program()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def timer_for(device: torch.device) -> Timer:
    """Return the timer for what runs on a device.

    Raises:
        DeviceError: It is neither a CPU nor a CUDA GPU, so when its work is over is not known.
    """
    if device.type == "cuda":
        return partial(cuda_seconds, device=device)
    if device.type != "cpu":
        raise DeviceError(
            f"how long something takes on {device} is not known; measure on cpu or a cuda device"
        )
    return wall_seconds


def cpu_timer_for(device: torch.device) -> Timer:
    """Return the timer for what runs on a device, of CPU time where that is the CPU.

    Waiting for a core that others use does not count then.
    """
    if device.type == "cpu":
        return partial(wall_seconds, clock=time.process_time)
    return timer_for(device)


def time_program(
    program: Callable[[], object],
    *,
    measurements: int = 41,
    warm_up: int = 3,
    min_seconds: float = 0.01,
    timer: Timer = wall_seconds,
) -> Times:
    """Time one program.

    Args:
        program: The program.
        measurements: Number of measurements, at least 5.
        warm_up: Calls that are not timed.
        min_seconds: A measurement repeats the program until it takes about this long.
        timer: What times it; `timer_for` gives that for a device.

    Raises:
        InputError: Fewer than 5 measurements are asked for, or `min_seconds` is not positive.
    """
    _check("measurements", measurements, min_seconds)
    timer(program, warm_up)
    calls = _calls_in(min_seconds, timer(program, 1))
    times = [timer(program, calls) / calls for _ in range(measurements)]
    low, high = median_interval(times)
    p05, p95 = np.percentile(times, [5, 95])
    return Times(
        seconds=statistics.median(times),
        seconds_low=low,
        seconds_high=high,
        seconds_p05=float(p05),
        seconds_p95=float(p95),
        measurements=measurements,
        calls=calls,
    )


def time_pairs(
    before: Callable[[], object],
    after: Callable[[], object],
    *,
    pairs: int = 41,
    warm_up: int = 3,
    min_seconds: float = 0.01,
    timer: Timer = wall_seconds,
) -> PairedTimes:
    """Time two programs in turns (before, after, after, before, ...).

    Args:
        before: The first program.
        after: The second one.
        pairs: Number of pairs of measurements, at least 5.
        warm_up: Calls of each that are not timed.
        min_seconds: A measurement repeats its program until it takes about this long.
        timer: What times them; `timer_for` gives that for a device.

    Raises:
        InputError: Fewer than 5 pairs are asked for, or `min_seconds` is not positive.
    """
    _check("pairs", pairs, min_seconds)
    programs = (before, after)
    for program in programs:
        timer(program, warm_up)
    # as many calls of both: what a call costs may depend on how often it is repeated
    calls = _calls_in(min_seconds, max(timer(program, 1) for program in programs))
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append(timer(programs[which], calls) / calls)
    ratios = [one / max(other, 1e-12) for one, other in zip(*times, strict=True)]
    low, high = median_interval(ratios)
    return PairedTimes(
        before_seconds=statistics.median(times[0]),
        after_seconds=statistics.median(times[1]),
        speedup=statistics.median(ratios),
        speedup_low=low,
        speedup_high=high,
        pairs=pairs,
        calls=calls,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check(name: str, count: int, min_seconds: float) -> None:
    if count < MIN_MEASUREMENTS:
        raise InputError(
            f"{name} is {count}; expected {MIN_MEASUREMENTS} or more, or there is no interval"
        )
    if not 0 < min_seconds < math.inf:
        raise InputError(f"min_seconds is {min_seconds}; expected a positive number")


def _calls_in(min_seconds: float, call_seconds: float) -> int:
    return min(max(1, round(min_seconds / max(call_seconds, 1e-9))), MAX_CALLS)
