"""The rows of a factorial design, checked: responses, cells and blocks, before any model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from minaction.errors import InputError, UnknownNameError

NAMED = 5
"""How many empty cells or bad rows a message names before it counts the rest."""
LARGEST = 1e150
RESIDUAL = "Residual"
"""Name of the error row of an analysis of variance table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorialData:
    """Responses and the cell, and block, of each; no cell of the crossing is empty.

    Attributes:
        response: Name of the response.
        factors: Names of the k factors.
        levels: Per factor its levels, in order of first appearance.
        y: Responses, float64 `[n]`, finite and not all equal.
        cell: Index of the cell of each row, int64 `[n]`, row-major in the levels.
        blocks: Name of the blocking column, if any.
        block: Index of the block of each row, int64 `[n]`; all 0 without blocks.
    """

    response: str
    factors: tuple[str, ...]
    levels: tuple[tuple[Hashable, ...], ...]
    y: np.ndarray
    cell: np.ndarray
    blocks: str | None
    block: np.ndarray

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        return tuple(len(levels) for levels in self.levels)

    @property
    def n_cells(self) -> int:
        """Number of cells of the crossing."""
        return math.prod(self.shape)

    @property
    def n_blocks(self) -> int:
        """Number of blocks, 1 without a blocking column."""
        return int(self.block.max()) + 1

    def indices(self, cell: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the level indices of cells, one array per factor."""
        return np.unravel_index(cell, self.shape)


def read_factorial(
    frame: pd.DataFrame, response: str, factors: Sequence[str], blocks: str | None = None
) -> FactorialData:
    """Return the rows of a table as a complete factorial design.

    Args:
        frame: One row per observation.
        response: A numeric column.
        factors: One or more columns; each distinct value is a level, numbers included.
        blocks: A column that says which rows share a block, such as the seed.

    Raises:
        InputError: A column is missing, named twice or used twice; a response is not a finite
            number or all are equal; a factor has a missing value or a single level; a cell of the
            crossing has no row.
    """
    factors = listed(factors)
    check_names(frame, response, factors, blocks)
    y = read_response(column(frame, response), response)
    coded = [read_levels(column(frame, name), name, "factors") for name in factors]
    codes, levels = [code for code, _ in coded], tuple(level for _, level in coded)
    check_cells(factors, levels, codes)
    block = np.zeros(y.size, np.int64)
    if blocks is not None:
        block, _ = read_levels(column(frame, blocks), blocks, "blocks")
    return FactorialData(
        response=response,
        factors=factors,
        levels=levels,
        y=y,
        cell=np.ravel_multi_index(codes, tuple(map(len, levels))),
        blocks=blocks,
        block=block,
    )


def listed(factors: Sequence[str]) -> tuple[str, ...]:
    """Return names of factors as a tuple; a single name is one factor."""
    return (factors,) if isinstance(factors, str) else tuple(factors or ())


def check_names(
    frame: pd.DataFrame, response: str, factors: tuple[str, ...], blocks: str | None
) -> None:
    """Refuse columns that are not there, or that are named or used twice."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame: expected a pandas DataFrame, got {type(frame).__name__}")
    if not factors:
        raise InputError("factors: expected one or more column names")
    used = [response, *factors, *([] if blocks is None else [blocks])]
    for name in used:
        if not isinstance(name, str):
            raise InputError(f"{name!r}: expected column names that are text; rename the column")
        if name not in frame.columns:
            raise UnknownNameError("column", name, map(str, frame.columns))
        if used.count(name) > 1:
            raise InputError(f"{name!r}: expected each column in one role only")
        if name == RESIDUAL:
            raise InputError(f"{name!r}: is the error's name in the table; rename the column")
    if not len(frame):
        raise InputError("frame: has no rows")


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of a table, refusing a name that stands for several."""
    found = frame[name]
    if not isinstance(found, pd.Series):
        raise InputError(f"frame: has more than one column named {name!r}")
    return found


def read_response(values: pd.Series, name: str) -> np.ndarray:
    """Return the responses as float64, refusing what is not finite and what does not vary."""
    values = values.infer_objects()
    if getattr(values.dtype, "kind", "O") not in "iuf":
        raise InputError(f"{name}: expected numbers, got a column of type {values.dtype}")
    y = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        rows = ", ".join(str(values.index[i]) for i in bad[:NAMED]) + ", …" * (bad.size > NAMED)
        raise InputError(
            f"{name}: {bad.size} of {y.size} values are missing or infinite (rows {rows}); "
            "leave those rows out and say so"
        )
    if y.min() == y.max():
        raise InputError(f"{name}: is constant, {y[0]:g} in every row; there is nothing to explain")
    if np.abs(y).max() > LARGEST or y.max() - y.min() < 1 / LARGEST:
        raise InputError(f"{name}: squares of its values leave the range of float64; rescale it")
    return y


def read_levels(values: pd.Series, name: str, role: str) -> tuple[np.ndarray, tuple]:
    """Return the level index of each row and the levels in order of first appearance."""
    try:
        codes, levels = pd.factorize(values)
    except TypeError:
        raise InputError(f"{name}: expected levels such as words or numbers") from None
    if missing := int((codes < 0).sum()):
        raise InputError(f"{name}: {missing} of {codes.size} rows have no value")
    if len(levels) < 2:
        raise InputError(
            f"{name}: has the one level {levels[0]}; expected two or more, "
            f"so leave it out of the {role}"
        )
    return codes.astype(np.int64), tuple(levels)


def check_cells(
    factors: tuple[str, ...], levels: tuple[tuple, ...], codes: list[np.ndarray]
) -> None:
    """Refuse a crossing with cells that have no row, and name them."""
    rows = pd.DataFrame(dict(enumerate(codes))).drop_duplicates()
    seen = set(rows.itertuples(index=False, name=None))
    cells = math.prod(map(len, levels))
    if len(seen) == cells:
        return
    empty = (cell for cell in itertools.product(*map(range, map(len, levels))) if cell not in seen)
    shown = [
        f"({label(factors, [v[i] for v, i in zip(levels, cell, strict=True)])})"
        for cell in itertools.islice(empty, NAMED)
    ]
    rest = ", …" * (cells - len(seen) > NAMED)
    raise InputError(
        f"factors: {cells - len(seen)} of {cells} cells have no row: {', '.join(shown)}{rest}; "
        "add the missing runs or leave a level out"
    )


def label(factors: Sequence[str], levels: Sequence[Hashable]) -> str:
    """Return `factor=level, factor=level`."""
    return ", ".join(f"{name}={level}" for name, level in zip(factors, levels, strict=True))
