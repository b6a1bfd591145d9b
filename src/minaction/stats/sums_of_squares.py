"""Sums of squares of types II and III as squared lengths of the response along a hypothesis."""

from __future__ import annotations

from typing import Literal

import numpy as np

from minaction.errors import InputError
from minaction.stats.linear_model import FactorialModel, Term

SumOfSquares = Literal[2, 3]


def hypothesis(model: FactorialModel, term: Term, ss_type: SumOfSquares) -> np.ndarray:
    """Return orthonormal directions `[m, df]` along which a term's sum of squares is measured.

    They span what the term adds to the terms it is adjusted for. Type III: all others, in
    sum-to-zero contrasts, so that the hypothesis is about unweighted means of cells. Type II: those
    that do not contain it (the principle of marginality). Blocks are adjusted for all effects, and
    all effects for blocks. The sum of squares is the squared length of the fitted response along
    these directions.

    Args:
        model: A fitted model.
        term: One of its terms.
        ss_type: 2 or 3.

    Raises:
        InputError: Another type.

    Reference: Fox (2016), Applied Regression Analysis and Generalized Linear Models, 3rd edition,
        section 8.2; Langsrud (2003), ANOVA for unbalanced data, Statistics and Computing 13.
    """
    if ss_type not in (2, 3):
        raise InputError(f"ss_type: expected 2 or 3, got {ss_type!r}")
    relatives = [other for other in model.terms if term.factors and other.factors > term.factors]
    if ss_type == 3 or not relatives:
        # adjusted for all others: what its own parameters are, as linear forms of the response
        return np.linalg.qr(model.inverse_triangle[term.columns].T)[0]
    given = [0]
    for other in model.terms:
        if other is not term and other not in relatives:
            given.extend(other.columns)
    columns = model.triangle[:, [*given, *term.columns]]
    return np.linalg.qr(columns)[0][:, len(given) :]


def sum_of_squares(model: FactorialModel, directions: np.ndarray) -> float:
    """Return the sum of squares along directions `[m, df]`, in units of `scale` squared."""
    return float(np.sum((directions.T @ model.coordinates) ** 2))
