"""Axes that figures have in common: logarithmic ones, that of lambda, and error bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    LogFormatterMathtext,
    LogLocator,
    NullLocator,
)

from minaction.report.paper.style import GREY_LOOK
from minaction.study.study_file import BUDGET

FEW_DECADES = 1.6
"""Span of a logarithmic axis below which there are ticks besides powers of ten."""


def arms(intervals: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return the lengths of error bars, `[2, n]`; NaN where there is none."""
    return np.array(
        [
            [np.nan if one[end] is None else abs(one[end] - one["estimate"]) for one in intervals]
            for end in ("low", "high")
        ]
    )


def log_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return ends of a logarithmic axis that holds all values above 0 with room around them."""
    logs = [math.log10(value) for value in values if value > 0]
    room = max(0.07 * (max(logs) - min(logs)), 0.04)
    return 10 ** (min(logs) - room), 10 ** (max(logs) + room)


def log_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    """Put ticks on a logarithmic axis: powers of ten, on a short one others between them."""
    axis.set_minor_locator(NullLocator())
    if math.log10(limits[1] / limits[0]) > FEW_DECADES:
        axis.set_major_locator(LogLocator(numticks=7))
        axis.set_major_formatter(LogFormatterMathtext())
    else:
        ticks = short_ticks(limits)
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FixedFormatter(list(map(short_number, ticks))))


def short_ticks(limits: tuple[float, float]) -> list[float]:
    """Return two to `MOST_TICKS` round numbers between two that are few decades apart."""
    for steps in STEPS:
        first, last = (math.floor(math.log10(end)) for end in limits)
        ticks = [
            step * 10.0**decade
            for decade in range(first, last + 1)
            for step in steps
            if limits[0] <= step * 10.0**decade <= limits[1]
        ]
        if len(ticks) >= 2:
            return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]
    return list(limits)


STEPS = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(number / 10 for number in range(10, 100)))
"""What powers of ten are multiplied by for ticks, the next ones where these give too few."""
MOST_TICKS = 4


def short_number(value: float) -> str:
    """Write a round number: 0.2, 50, 13,000; far from 1 as mathematics."""
    return f"{value:,.5g}" if 1e-3 <= value < 1e5 else power(float(f"{value:.1e}"))


def linear_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return ends of an axis that holds all values with room around them."""
    room = 0.08 * (max(values) - min(values)) or 0.5
    return min(values) - room, max(values) + room


def lambda_ticks(axes: Axes, places: dict[float | str, float]) -> None:
    """Write every lambda of the design on the axis; part 0 and the budget by a dotted line."""
    axes.set_xticks(list(places.values()), [power(lam) for lam in places])
    low, high = min(places.values()), max(places.values())
    axes.set_xlim(low - 0.35, high + 0.35)
    gaps = {places[0.0] + 0.5} if 0.0 in places and len(places) > 1 else set()
    if BUDGET in places and len(places) > 1:
        gaps.add(places[BUDGET] - 0.5)
    for gap in sorted(gaps):
        axes.axvline(gap, color=GREY_LOOK.colour, linestyle=":", linewidth=0.7)


def power(value: float | str) -> str:
    """Write a number as mathematics: 0, 10^-3, 2.5 x 10^-5; a budget as it is."""
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    times = "" if digits == "1" else rf"{digits}\times"
    return rf"${times}10^{{{int(exponent)}}}$"
