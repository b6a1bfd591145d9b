"""Permutation tests of the effects of a factorial design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minaction.errors import InputError
from minaction.stats.factorial_data import FactorialData
from minaction.stats.linear_model import FactorialModel

BATCH_VALUES = 4_000_000
"""Most values permuted at a time; with their sort keys about 100 MB."""
TIE = 1e-10


def permutation_p(
    model: FactorialModel,
    data: FactorialData,
    directions: Sequence[np.ndarray],
    permutations: int,
    generator: np.random.Generator | None,
) -> list[float]:
    """Return, per hypothesis, the permutation p value of its F statistic.

    Freedman and Lane: the residuals of the model without the hypothesis are permuted, and F of the
    full model is computed anew; p = (1 + number of F not below the observed one) / (1 +
    permutations), so the smallest is 1 / (1 + permutations). With blocks, residuals are permuted
    within blocks. Takes time in proportion to hypotheses, permutations and rows.

    Args:
        model: A fitted model.
        data: What it was fitted to.
        directions: The hypotheses, each `[m, df]`; see `sums_of_squares.hypothesis`.
        permutations: How many, 1 or more.
        generator: Source of all randomness; the same state gives the same p values.

    Raises:
        InputError: The number is below 1, or the generator is not a numpy Generator.

    Reference: Freedman and Lane (1983), A nonstochastic interpretation of reported significance
        levels, Journal of Business & Economic Statistics 1(4); Anderson and Legendre (1999),
        Journal of Statistical Computation and Simulation 62(3); Phipson and Smyth (2010),
        Permutation p-values should never be zero, Statistical Applications in Genetics and
        Molecular Biology 9(1).
    """
    if not isinstance(permutations, int | np.integer) or permutations < 1:
        raise InputError(f"permutations: expected a whole number, 1 or more, got {permutations}")
    if not isinstance(generator, np.random.Generator):
        raise InputError("generator: expected a numpy Generator, such as np.random.default_rng(0)")
    residuals = model.standardized(data.y) - model.fitted[model.pattern]
    return [
        freedman_lane(model, data, chosen, residuals, permutations, generator)
        for chosen in directions
    ]


def freedman_lane(
    model: FactorialModel,
    data: FactorialData,
    directions: np.ndarray,
    residuals: np.ndarray,
    permutations: int,
    generator: np.random.Generator,
) -> float:
    """Return the permutation p value of one hypothesis; see `permutation_p`."""
    effect = directions @ (directions.T @ model.coordinates)
    removed = model.basis @ effect / np.sqrt(model.count)
    reduced = residuals + removed[model.pattern]
    total = float(np.sum(reduced**2))
    observed = float(np.sum(effect**2)) / model.scaled_error

    by_pattern = np.argsort(model.pattern, kind="stable")
    starts = np.flatnonzero(np.diff(model.pattern[by_pattern], prepend=-1))
    basis = model.basis / np.sqrt(model.count)[:, None]
    reached, left = 0, permutations
    while left:
        size = min(left, max(1, BATCH_VALUES // data.n))
        shuffled = shuffle(reduced, data, size, generator)[:, by_pattern]
        coordinates = np.add.reduceat(shuffled, starts, axis=1) @ basis
        explained = np.sum((coordinates @ directions) ** 2, axis=1)
        error = total - np.sum(coordinates**2, axis=1)
        reached += int(np.sum(explained >= (1 - TIE) * observed * error))
        left -= size
    return (1 + reached) / (1 + permutations)


def shuffle(
    values: np.ndarray, data: FactorialData, size: int, generator: np.random.Generator
) -> np.ndarray:
    """Return `size` random permutations of values within blocks, float64 `[size, n]`."""
    if data.blocks is None:
        return generator.permuted(np.broadcast_to(values, (size, data.n)), axis=1)
    rows = np.argsort(data.block, kind="stable")
    order = np.argsort(data.block[rows] + generator.random((size, data.n)), axis=1)
    shuffled = np.empty((size, data.n))
    shuffled[:, rows] = values[rows][order]
    return shuffled
