"""Factorial analysis of variance: one table with tests, robust tests and effect sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes most of a second to import

from minaction.stats.effect_size import (
    CONVENTIONS,
    Convention,
    partial_eta_squared,
    partial_omega_squared,
)
from minaction.stats.factorial_data import RESIDUAL, FactorialData, read_factorial
from minaction.stats.heteroscedastic import hc3_covariance, hc3_statistic
from minaction.stats.linear_model import FactorialModel, fit_factorial
from minaction.stats.permutation import permutation_p
from minaction.stats.sums_of_squares import SumOfSquares, hypothesis, sum_of_squares

COLUMNS = (
    *("sum_sq", "df", "F", "p", "p_hc3"),
    *("partial_eta_sq", "partial_eta_sq_low", "partial_eta_sq_high"),
    *("omega_sq", "omega_sq_low", "omega_sq_high"),
)
"""Columns of `factorial_anova`; `p_permutation` follows where permutations were asked for."""


def factorial_anova(
    frame: pd.DataFrame,
    response: str,
    factors: Sequence[str],
    ss_type: SumOfSquares = 3,
    *,
    blocks: str | None = None,
    max_order: int | None = None,
    confidence: float = 0.95,
    convention: Convention = "effectsize",
    permutations: int = 0,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return the analysis of variance of a factorial design with all its interactions.

    Per effect: its sum of squares; F = (SS / df) / (SS_error / df_error) with p from F(df,
    df_error); `p_hc3`, from the Wald test of the same hypothesis with the HC3 covariance, which
    holds its level when cells differ in variance; partial eta squared and partial omega squared
    with two-sided intervals that invert the noncentral F. Effect sizes are those of the ordinary
    table. The HC3 test of type II keeps the hypothesis of the ordinary one, where R's car weighs
    cells by their estimated variances and rejects too often; those of type III are the same.

    Type III adjusts each effect for all others in sum-to-zero contrasts, whatever the coding of the
    columns; type II for those that do not contain it. In balanced designs they agree. The interval
    of partial eta squared is "effectsize" by default, nc / (nc + df_error), as R's effectsize
    (two-sided) and rstatix; see `effect_size.partial_eta_squared` for the other conventions. That
    of omega squared is nc / (nc + n) always; see `effect_size.partial_omega_squared`.

    Rows that share cell and block are aggregated first, so a million rows take about a second.

    Args:
        frame: One row per observation, balanced or not; every cell needs a row.
        response: Column of finite numbers, not constant.
        factors: One or more columns; every distinct value is a level, numbers too.
        ss_type: 2 or 3.
        blocks: Column that says which rows share a block (seeds shared by the cells): an additive
            term, within which permutations stay.
        max_order: Most factors an interaction may have; all by default. Interactions left out
            belong to the error.
        confidence: Coverage of the intervals, between 0 and 1.
        convention: Of the intervals of partial eta squared, one of `effect_size.CONVENTIONS`.
        permutations: How many for `p_permutation` (Freedman and Lane), 0 for none.
        generator: Source of the permutations; needed where there are any.

    Returns:
        A table indexed by effect ("a", "b", "a:b", …, then the blocks, then "Residual") with
        `COLUMNS`, NaN where they do not apply. Its `attrs` name response, factors, blocks,
        `ss_type`, n, whether it is balanced, confidence, convention and formulas of the intervals,
        permutations, and `notes`: what could not be computed and why.

    Raises:
        InputError: A column is missing or used twice, a response is missing, infinite or constant
            (in all rows or within cells), a factor has one level or missing values, a cell is empty
            (the cells are named), blocks are confounded with factors, no degrees of freedom are
            left for the error, or an option is out of range.

    Reference: Fox (2016), Applied Regression Analysis and Generalized Linear Models, 3rd edition,
        chapter 8; Long and Ervin (2000) on HC3; Steiger (2004) on intervals.
    """
    data = read_factorial(frame, response, factors, blocks)
    model = fit_factorial(data, max_order)
    directions = {term.name: hypothesis(model, term, ss_type) for term in model.terms}
    hc3 = hc3_covariance(model)
    rows = {
        name: effect_row(model, chosen, hc3, confidence, convention)
        for name, chosen in directions.items()
    }
    table = pd.DataFrame.from_dict(
        rows | {RESIDUAL: {"sum_sq": unscaled(model, model.scaled_error), "df": model.df_error}},
        orient="index",
        columns=list(COLUMNS),
    )
    table.index.name = "effect"
    if permutations:
        # within blocks nothing can be said about the blocks themselves
        tested = {name: chosen for name, chosen in directions.items() if name != data.blocks}
        p = permutation_p(model, data, list(tested.values()), permutations, generator)
        table["p_permutation"] = pd.Series(p, index=list(tested))
    table.attrs = {
        "response": data.response,
        "factors": list(data.factors),
        "blocks": data.blocks,
        "ss_type": ss_type,
        "max_order": max(len(term.factors) for term in model.terms),
        "n": data.n,
        "balanced": is_balanced(model, data),
        "confidence": confidence,
        "convention": convention,
        "partial_eta_sq_interval": CONVENTIONS[convention],
        "omega_sq_interval": CONVENTIONS["steiger"],
        "permutations": permutations,
        "notes": notes(table, hc3 is None),
    }
    return table


def effect_row(
    model: FactorialModel,
    directions: np.ndarray,
    hc3: np.ndarray | None,
    confidence: float,
    convention: Convention,
) -> dict[str, float]:
    """Return the row of one effect: its tests and effect sizes."""
    df, df_error, n = directions.shape[1], model.df_error, model.n
    explained = sum_of_squares(model, directions)
    f = explained / df / (model.scaled_error / df_error)
    robust = np.nan if hc3 is None else hc3_statistic(model, directions, hc3)
    eta = partial_eta_squared(f, df, df_error, n, confidence, convention)
    omega = partial_omega_squared(f, df, df_error, n, confidence)
    return {
        "sum_sq": unscaled(model, explained),
        "df": df,
        "F": f,
        "p": float(special.fdtrc(df, df_error, f)),
        "p_hc3": float(special.fdtrc(df, df_error, robust)),
        "partial_eta_sq": eta.estimate,
        "partial_eta_sq_low": eta.low,
        "partial_eta_sq_high": eta.high,
        "omega_sq": omega.estimate,
        "omega_sq_low": omega.low,
        "omega_sq_high": omega.high,
    }


def unscaled(model: FactorialModel, squares: float) -> float:
    """Return a sum of squares in the units of the response, squared."""
    return squares * model.scale * model.scale


def is_balanced(model: FactorialModel, data: FactorialData) -> bool:
    """Return whether every cell has the same number of rows in every block."""
    full = model.count.size == data.n_cells * data.n_blocks
    return bool(full and (model.count == model.count[0]).all())


def notes(table: pd.DataFrame, undefined: bool) -> list[str]:
    """Return a sentence for what could not be computed."""
    if undefined:
        return ["p_hc3: not defined where a row is alone in its cell or block; add replicates"]
    robust = table["p_hc3"].drop(RESIDUAL)
    singular = robust.index[robust.isna().to_numpy()].astype(str)
    if singular.size:
        return [f"p_hc3: not defined for {', '.join(singular)}; some cells show no variation"]
    return []
