"""Checks of what the statistics are given: one clear line where it cannot be used."""

from __future__ import annotations

from typing import Any

import numpy as np

from minaction.errors import InputError


def finite_array(name: str, values: Any, dimensions: int) -> np.ndarray:
    """Return values as float64 of the given number of dimensions, none of them empty.

    Raises:
        InputError: They are not numbers, not finite, of another number of dimensions, or none.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected an array of numbers") from None
    if array.ndim != dimensions or not array.size:
        raise InputError(
            f"{name}: expected {dimensions} dimension{'s' * (dimensions > 1)} and at least one "
            f"value, got shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite numbers; leave missing ones out and say so")
    return array


def finite_sample(name: str, values: Any, least: int) -> np.ndarray:
    """Return a sample of shape [n] as float64, n no less than `least`.

    Raises:
        InputError: As `finite_array`, or there are fewer values.
    """
    sample = finite_array(name, values, 1)
    if sample.size < least:
        raise InputError(f"{name}: expected {least} or more values, got {sample.size}")
    return sample


def check_confidence(confidence: float) -> None:
    """Raise InputError unless the confidence lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, got {confidence}")


def check_level(alpha: float) -> None:
    """Raise InputError unless the level of a one-sided test lies between 0 and 0.5."""
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha: expected a level between 0 and 0.5, got {alpha}")
