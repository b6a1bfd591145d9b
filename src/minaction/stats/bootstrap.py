"""The stratified bootstrap: runs are resampled within each task, from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minaction.errors import InputError
from minaction.stats.validation import check_confidence, finite_array

RESAMPLES = 10_000

CHUNK = 1 << 20
"""Values drawn at a time; bounds memory and stays in the processor's cache."""


def score_matrix(name: str, scores: np.ndarray) -> np.ndarray:
    """Return scores of shape [runs, tasks] as float64, 2 or more runs.

    Raises:
        InputError: They have another number of dimensions, a value that is not finite, or one run.
    """
    matrix = finite_array(name, scores, 2)
    if len(matrix) < 2:
        raise InputError(f"{name}: expected 2 or more runs per task; one has nothing to resample")
    return matrix


def counts(picks: np.ndarray) -> np.ndarray:
    """Return how often each run was drawn, float64 of the shape of the picks, [some, runs, ...].

    With it a sum over resampled runs is one over all runs, in whatever order suits.
    """
    some, runs = picks.shape[:2]
    strata = math.prod(picks.shape[2:])
    place = picks.reshape(some, runs, strata) * strata + np.arange(strata)
    place += runs * strata * np.arange(some)[:, None, None]
    return np.bincount(place.ravel(), minlength=picks.size).reshape(picks.shape).astype(np.float64)


def resample(
    statistic: Callable[..., np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    generator: np.random.Generator,
    resamples: int,
) -> np.ndarray:
    """Return a statistic of every resample, float64 `[resamples, ...]`.

    Args:
        statistic: From one array of indices per shape, each `[some, *shape]`, to `[some, ...]`.
        shapes: Of the samples, runs first: every run is replaced by one drawn among them,
            independently along the other axes.
        generator: Source of the draws.
        resamples: Number of resamples.

    Raises:
        InputError: There is no generator, or not one resample.
    """
    check_draws(generator, resamples)
    step = max(1, CHUNK // sum(math.prod(shape) for shape in shapes))
    found = []
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        found.append(
            statistic(*(generator.integers(0, shape[0], (some, *shape)) for shape in shapes))
        )
    return np.concatenate(found)


def check_draws(generator: np.random.Generator, resamples: int) -> None:
    """Raise InputError unless there is a generator to draw from, and one resample or more."""
    if not isinstance(generator, np.random.Generator):
        raise InputError(
            f"generator: expected a numpy Generator, got {type(generator).__name__}; "
            "numpy.random.default_rng(seed) makes one"
        )
    if resamples < 1:
        raise InputError(f"resamples: expected 1 or more, got {resamples}")


def percentiles(drawn: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval's ends along the first axis of what resamples gave.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 13.
    """
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high
