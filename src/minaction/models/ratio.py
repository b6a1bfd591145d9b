"""Width ratios between successive layers, as a study file writes them. Imports no torch."""

from __future__ import annotations

import math
from fractions import Fraction

from minaction.errors import ModelError

GOLDEN = (math.sqrt(5) - 1) / 2
"""Each width is to the one before as that one to the sum of both."""

MAX_RATIO = 4.0


def parse_ratio(ratio: float | str) -> float:
    """Return a ratio as a number: `0.5`, `"2/3"`, `"golden"` (0.618...).

    Raises:
        ModelError: It is not a number, a fraction or `"golden"`, or not above 0 and at most 4.
    """
    try:
        value = GOLDEN if ratio == "golden" else float(Fraction(str(ratio)))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = math.nan
    if isinstance(ratio, bool) or not 0 < value <= MAX_RATIO:
        raise ModelError(
            f'ratio is {ratio!r}, expected a number or fraction above 0 and at most 4, or "golden"'
        )
    return value


def narrowed(width: int, ratio: float) -> int:
    """Return the width of the layer after one of `width` units, at least 1."""
    return max(int(width * ratio), 1)
