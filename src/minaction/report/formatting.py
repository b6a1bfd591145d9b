"""How numbers are written on the page: one function per kind of number, None becomes a dash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

ABSENT = "\u2014"
MINUS = "\u2212"

TEXT_SHOWN = 300
"""Characters of an error or reason that are shown; the journal has all."""

Formatter = Callable[[float], str]


def number(value: float) -> str:
    """Write a number with about four digits: 5,918 · 142.0 · 23.51 · 0.0832 · 1.20e-5."""
    size = abs(value)
    if size < 1e-3:
        return "0" if value == 0 else scientific(value, 2)
    if size < 1:
        return signed(f"{value:#.3g}")
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return signed(f"{value:,.{decimals}f}")


def percent(value: float) -> str:
    """Write a share that is already in percent: 100 % · 14.5 % · 2.41 % · 0.0832 %."""
    size = abs(value)
    if size < 1:
        return f"{number(value)} %"
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return signed(f"{value:,.{decimals}f} %")


def accuracy(value: float) -> str:
    """Write an accuracy, a fraction, in percent with two decimals."""
    return f"{100 * value:.2f} %"


def fraction(value: float) -> str:
    """Write a share, a fraction, in percent with one decimal."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Write a change in percentage points with its sign and two decimals."""
    text = f"{value:+.2f}"
    return signed("0.00" if float(text) == 0 else text) + " pp"


def margin(value: float) -> str:
    """Write a margin of accuracy, a fraction, in percentage points without sign: 0.5 pp."""
    return f"{number(100 * value).rstrip('0').rstrip('.')} pp"


def fold(value: float) -> str:
    """Write a fold reduction: 1,203x · 41.3x · 1.00x."""
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{decimals}f}x" if value >= 0.01 else f"{number(value)}x"


def p_value(value: float) -> str:
    """Write a p value with three decimals, `< 0.001` below that."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def lam(value: float | str) -> str:
    """Write a lambda as short as it is exact, in one style at any size: 0 · 1e-2 · 2.5e-5."""
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def lam_found(value: float) -> str:
    """Write a lambda that a budget found with three digits, in the style of `lam`: 3.16e-3."""
    return "0" if value == 0 else scientific(value, 2)


def count(value: float) -> str:
    """Write a count with thousands separators."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Write a time in its two largest units: 41.2 s · 3 min 20 s · 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def optional(value: float | None, write: Formatter) -> str:
    """Write a number, or a dash where there is none."""
    return ABSENT if value is None else write(value)


def bounds(interval: Mapping[str, Any], write: Formatter) -> str:
    """Write the ends of an interval, their unit once, or why there are none."""
    if interval["low"] is None:
        seeds = interval["n"]
        return f"{seeds} seed{'' if seeds == 1 else 's'}, no interval"
    low, high = write(interval["low"]), write(interval["high"])
    for unit in (" %", " pp", "x"):
        if high.endswith(unit):
            low = low.removesuffix(unit)
    return f"{low} to {high}"


def short(text: str | None) -> str | None:
    """Return the beginning of a text of the journal, with its length where it is cut."""
    if text is None or len(text) <= TEXT_SHOWN:
        return text
    return f"{text[:TEXT_SHOWN]}\u2026 ({len(text):,} characters; the journal has all)"


def scientific(value: float, decimals: int) -> str:
    """Write a number as mantissa and power of ten without padding: 1.20e-5."""
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return signed(f"{mantissa}e{int(exponent)}")


def signed(text: str) -> str:
    """Replace a leading hyphen by a minus sign; an exponent keeps its hyphen."""
    return MINUS + text[1:] if text.startswith("-") else text
