"""Wall-clock time of two programs side by side: which is faster, by how much, how surely.

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

import numpy as np
import torch

from minaction.errors import InputError

DRAWS = 4000
MAX_CALLS = 1 << 16


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


def time_pairs(
    before: Callable[[], object],
    after: Callable[[], object],
    *,
    pairs: int = 41,
    warm_up: int = 3,
    min_seconds: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> PairedTimes:
    """Time two programs in turns (before, after, after, before, ...).

    Args:
        before: The first program.
        after: The second one.
        pairs: Number of pairs of measurements, at least 5.
        warm_up: Calls of each that are not timed.
        min_seconds: A measurement repeats its program until it takes about this long.
        clock: Seconds since some moment.

    Raises:
        InputError: Fewer than 5 pairs are asked for, or `min_seconds` is not positive.
    """
    if pairs < 5:
        raise InputError(f"pairs is {pairs}; expected 5 or more, or there is no interval")
    if not 0 < min_seconds < math.inf:
        raise InputError(f"min_seconds is {min_seconds}; expected a positive number")
    programs = (before, after)
    for program in programs:
        _seconds(program, warm_up, clock)
    # as many calls of both: what a call costs may depend on how often it is repeated
    slowest = max(_seconds(program, 1, clock) for program in programs)
    calls = min(max(1, round(min_seconds / max(slowest, 1e-9))), MAX_CALLS)
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append(_seconds(programs[which], calls, clock) / calls)
    ratios = [one / max(other, 1e-12) for one, other in zip(*times, strict=True)]
    low, high = _median_interval(ratios)
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


def _seconds(program: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(calls):
        program()
    return clock() - started


def _median_interval(values: list[float]) -> tuple[float, float]:
    draws = np.random.default_rng(0).choice(values, size=(DRAWS, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)
