"""Do the assumptions of an analysis of variance hold? Equal variances and normal residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes most of a second to import

from minaction.errors import InputError
from minaction.stats.factorial_data import read_factorial
from minaction.stats.linear_model import fit_factorial
from minaction.stats.normality import SHAPIRO_LIMIT, dagostino_pearson, shapiro_wilk

FEWEST = 3
"""Fewest rows of a cell in a test of equal variances: two have the same deviation always."""


def check_assumptions(
    frame: pd.DataFrame,
    response: str,
    factors: Sequence[str],
    *,
    blocks: str | None = None,
    max_order: int | None = None,
    center: Literal["median", "mean"] = "median",
) -> pd.DataFrame:
    """Test equal variances over cells and normality on the residuals of a factorial model.

    Equal variances: F of a one-way analysis of |e - c| over cells, e the residuals and c their
    median in the cell (Brown and Forsythe) or mean (Levene), on cells of three or more rows. Normal
    residuals: Shapiro and Wilk's W up to 5,000 residuals, D'Agostino and Pearson's K^2 of all of
    them beyond. A large p value shows nothing: with few rows per cell neither test finds much.

    Args:
        frame: One row per observation.
        response: Column of finite numbers.
        factors: Columns of the factors.
        blocks: Column of the blocks, if any.
        max_order: Most factors an interaction may have; all by default.
        center: Which centre the deviations are taken from.

    Returns:
        A table indexed by "equal variances" and "normal residuals" with `test` (its name),
        `statistic`, `p`, and `n`, the rows it used; statistic and p are NaN where fewer than two
        cells, or three rows, can be used. `attrs["sd_ratio"]` is the largest over the smallest
        standard deviation of those cells.

    Raises:
        InputError: As `anova.factorial_anova`, or an unknown centre.

    Reference: Brown and Forsythe (1974), Robust tests for the equality of variances, Journal of the
        American Statistical Association 69(346); Shapiro and Wilk (1965), Biometrika 52; D'Agostino
        and Pearson (1973), Biometrika 60(3).
    """
    if center not in ("median", "mean"):
        raise InputError(f"center: expected 'median' or 'mean', got {center!r}")
    data = read_factorial(frame, response, factors, blocks)
    model = fit_factorial(data, max_order)
    residuals = model.standardized(data.y) - model.fitted[model.pattern]
    usable = np.bincount(data.cell)[data.cell] >= FEWEST
    kept, cells = residuals[usable], data.cell[usable]
    table = pd.DataFrame.from_dict(
        {
            "equal variances": equal_variances(kept, cells, center),
            "normal residuals": normality(residuals),
        },
        orient="index",
        columns=["test", "statistic", "p", "n"],
    )
    table.index.name = "assumption"
    deviations = pd.Series(kept).groupby(cells).std().to_numpy()
    smallest = deviations.min(initial=np.inf)
    ratio = deviations.max(initial=0) / smallest if 0 < smallest < np.inf else np.nan
    table.attrs = {"sd_ratio": float(ratio)}
    return table


def equal_variances(residuals: np.ndarray, cells: np.ndarray, center: str) -> tuple:
    """Return name, F, p and n of the test that all cells have one variance."""
    name = "Brown-Forsythe" if center == "median" else "Levene"
    groups = pd.Series(residuals).groupby(cells)
    n, k = residuals.size, groups.ngroups
    if k < 2:
        return name, np.nan, np.nan, n
    deviations = np.abs(residuals - groups.transform(center).to_numpy())
    groups = pd.Series(deviations).groupby(cells)
    means = groups.transform("mean").to_numpy()
    within = np.sum((deviations - means) ** 2)
    if not within:
        return name, np.nan, np.nan, n
    f = np.sum((means - deviations.mean()) ** 2) / (k - 1) / (within / (n - k))
    return name, float(f), float(special.fdtrc(k - 1, n - k, f)), n


def normality(residuals: np.ndarray) -> tuple:
    """Return name, statistic, p and n of the test that residuals are normal."""
    n = residuals.size
    if n < FEWEST:
        return "Shapiro-Wilk", np.nan, np.nan, n
    if n <= SHAPIRO_LIMIT:
        return "Shapiro-Wilk", *shapiro_wilk(residuals), n
    return "D'Agostino-Pearson", *dagostino_pearson(residuals), n
