"""The linear model of a factorial design, fitted from the counts, means and spreads of its cells.

Rows that share a cell and a block have one row of the design matrix between them, so a million rows
cost what their cells cost. Everything is kept in the coordinates of an orthonormal basis of the
model: a hypothesis is a few orthonormal directions in it.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from minaction.errors import InputError
from minaction.stats.factorial_data import FactorialData

MAX_PARAMETERS = 5_000
MAX_ENTRIES = 50_000_000
"""Limits of the dense design matrix: 400 MB, and a minute or so for its decomposition."""
RANK_TOLERANCE = 1e-9
ROUNDING = 1e-13
"""A residual below this share of the largest deviation of the response is rounding error."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A main effect, an interaction or the blocks.

    Attributes:
        name: The names of its factors, joined by ":".
        factors: Indices of its factors; empty for the blocks.
        columns: Its columns in the model.
    """

    name: str
    factors: frozenset[int]
    columns: range

    @property
    def df(self) -> int:
        """Degrees of freedom."""
        return len(self.columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorialModel:
    """A fitted factorial model; m parameters, p patterns (cells by blocks that have rows).

    Attributes:
        terms: Effects by order, then the blocks if there are any.
        pattern: Index of the pattern of each row, int64 `[n]`.
        cell: Cell of each pattern, int64 `[p]`.
        count: Rows of each pattern, float64 `[p]`.
        spread: Sum of squared residuals of each pattern's rows, in units of `scale` squared,
            float64 `[p]`.
        fitted: Fitted value of each pattern in units of `scale` about `centre`, float64 `[p]`.
        basis: Orthonormal basis of the model over patterns weighted by sqrt(count), `[p, m]`.
        triangle: The weighted design matrix in that basis, upper triangular, `[m, m]`.
        coordinates: The fitted response in that basis, `[m]`.
        centre: Mean response.
        scale: Largest absolute deviation from it.
    """

    terms: tuple[Term, ...]
    pattern: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    spread: np.ndarray
    fitted: np.ndarray
    basis: np.ndarray
    triangle: np.ndarray
    coordinates: np.ndarray
    centre: float
    scale: float

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.pattern.size)

    @property
    def df_error(self) -> int:
        """Degrees of freedom of the error."""
        return self.n - self.triangle.shape[0]

    @functools.cached_property
    def inverse_triangle(self) -> np.ndarray:
        """The inverse of `triangle`: its rows are the parameters as linear forms, `[m, m]`."""
        return np.linalg.inv(self.triangle)

    @property
    def scaled_error(self) -> float:
        """Sum of squared residuals in units of `scale` squared."""
        return float(self.spread.sum())

    def standardized(self, y: np.ndarray) -> np.ndarray:
        """Return responses `[n]` in the units of the fit."""
        return (y - self.centre) / self.scale


def fit_factorial(data: FactorialData, max_order: int | None = None) -> FactorialModel:
    """Fit all main effects and interactions up to an order, and additive blocks.

    Args:
        data: The design.
        max_order: Largest number of factors of an interaction; all by default.

    Raises:
        InputError: The order is out of range, the model is too large, the blocks are confounded
            with the factors, no degrees of freedom or no variation is left for the error.
    """
    order = len(data.factors) if max_order is None else max_order
    if not isinstance(order, int | np.integer) or not 1 <= order <= len(data.factors):
        raise InputError(
            f"max_order: expected a number from 1 to {len(data.factors)}, got {max_order}"
        )
    codes, pattern = np.unique(data.cell * data.n_blocks + data.block, return_inverse=True)
    cell, block = np.divmod(codes, data.n_blocks)
    terms = list_terms(data, order)
    check_size(data, terms, codes.size)
    weighted = design_matrix(data, terms, cell, block)
    count = np.bincount(pattern).astype(np.float64)
    weighted *= np.sqrt(count)[:, None]
    basis, triangle = np.linalg.qr(weighted)
    pivots = np.abs(np.diagonal(triangle))
    if pivots.min() <= RANK_TOLERANCE * pivots.max():
        raise InputError(
            f"blocks: {data.blocks!r} is confounded with the factors; expected blocks that "
            "each have rows in several cells"
        )
    centre = float(data.y.mean())
    scale = float(np.abs(data.y - centre).max())
    y = (data.y - centre) / scale
    mean = np.bincount(pattern, y) / count
    coordinates = basis.T @ (np.sqrt(count) * mean)
    fitted = basis @ coordinates / np.sqrt(count)
    model = FactorialModel(
        terms=terms,
        pattern=pattern,
        cell=cell,
        count=count,
        spread=np.bincount(pattern, (y - fitted[pattern]) ** 2),
        fitted=fitted,
        basis=basis,
        triangle=triangle,
        coordinates=coordinates,
        centre=centre,
        scale=scale,
    )
    check_error(model, data)
    return model


def list_terms(data: FactorialData, order: int) -> tuple[Term, ...]:
    """Return the effects by order and the blocks, with their columns; column 0 is the mean.

    Raises:
        InputError: Two effects would have one name.
    """
    terms, start = [], 1
    for size in range(1, order + 1):
        for chosen in itertools.combinations(range(len(data.factors)), size):
            df = int(np.prod([data.shape[i] - 1 for i in chosen], dtype=object))
            name = ":".join(data.factors[i] for i in chosen)
            terms.append(
                Term(name=name, factors=frozenset(chosen), columns=range(start, start + df))
            )
            start += df
    if data.blocks is not None:
        columns = range(start, start + data.n_blocks - 1)
        terms.append(Term(name=data.blocks, factors=frozenset(), columns=columns))
    names = [term.name for term in terms]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"factors: two effects would be named {twice!r}; rename a column")
    return tuple(terms)


def check_size(data: FactorialData, terms: tuple[Term, ...], patterns: int) -> None:
    """Refuse a model whose design matrix would not fit, or that leaves nothing for the error."""
    parameters = terms[-1].columns.stop
    if parameters > MAX_PARAMETERS or parameters * patterns > MAX_ENTRIES:
        sizes = ", ".join(f"{f} {s}" for f, s in zip(data.factors, data.shape, strict=True))
        blocks = "" if data.blocks is None else f", {data.blocks} {data.n_blocks}"
        raise InputError(
            f"factors: a model of {parameters} parameters over {patterns} cells and blocks is too "
            f"large (levels: {sizes}{blocks}); expected categories, not measurements"
        )
    if parameters >= data.n:
        raise InputError(
            f"{data.response}: {data.n} rows for {parameters} parameters leave no degrees of "
            "freedom for the error; add replicates or lower max_order"
        )


def check_error(model: FactorialModel, data: FactorialData) -> None:
    """Refuse a response that does not vary within cells: there is no error to test against."""
    if np.sqrt(model.spread.sum() / model.n) <= ROUNDING:
        raise InputError(
            f"{data.response}: does not vary within the cells; there is no error to test against"
        )


def design_matrix(
    data: FactorialData, terms: tuple[Term, ...], cell: np.ndarray, block: np.ndarray
) -> np.ndarray:
    """Return mean, effects and blocks in sum-to-zero contrasts, float64 `[p, m]`."""
    coded = [
        contrasts(levels)[index]
        for levels, index in zip(data.shape, data.indices(cell), strict=True)
    ]
    parts = [np.ones((cell.size, 1))]
    for term in terms:
        if term.factors:
            parts.append(functools.reduce(row_products, (coded[i] for i in sorted(term.factors))))
        else:
            parts.append(contrasts(data.n_blocks)[block])
    return np.hstack(parts)


def contrasts(levels: int) -> np.ndarray:
    """Return orthonormal contrasts that each sum to zero, `[levels, levels - 1]`.

    They are Helmert's: they span what R's contr.sum spans, so type III tests are the same, and are
    better conditioned.
    """
    columns = np.triu(-np.ones((levels, levels - 1)))
    columns[np.arange(1, levels), np.arange(levels - 1)] = np.arange(1, levels)
    return columns / np.linalg.norm(columns, axis=0)


def row_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return all products of a column of each, `[p, a]` and `[p, b]` to `[p, a · b]`."""
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
