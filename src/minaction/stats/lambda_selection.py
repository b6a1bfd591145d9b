"""The choice of lambda on the validation split, by a rule fixed before the first run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from minaction.errors import InputError
from minaction.stats.intervals import paired_values
from minaction.stats.mean_difference import MeanDifference
from minaction.stats.validation import check_level

NEEDED = ("lam", "seed", "status", "val_accuracy")
"""Columns `select_lambda` reads beside the grouping columns."""

COLUMNS = ("lam", "n", "difference", "lower", "p", "eligible", "selected", "reason")
"""Columns `select_lambda` adds behind the grouping columns, one row per lambda of a group."""


def select_lambda(
    frame: pd.DataFrame,
    *,
    by: Sequence[str],
    margin: float,
    alpha: float = 0.05,
    rule: str = "largest-non-inferior",
) -> pd.DataFrame:
    """Choose, per group, the largest lambda whose validation accuracy is non-inferior to 0's.

    For each lambda > 0 with d_s = accuracy(lambda, seed s) - accuracy(0, seed s), n seeds:
    H0: mean(d) <= -margin, tested by the one-sided paired t test. lambda is non-inferior when the
    lower confidence bound mean(d) - t(1 - alpha; n - 1) · sd(d) / sqrt(n) lies above -margin, which
    is the same as p < alpha. The level holds for each lambda; it is not adjusted for their number.

    A lambda with any run that is not `ok`, or without a validation accuracy, is not eligible: a
    mean over the survivors would hide the loss. The same defect at lambda = 0, or a single seed,
    makes the choice impossible: nothing is selected and every row says why. lambda = 0 itself is
    always eligible, so it is the choice where no other lambda is.

    Args:
        frame: One row per planned run: the columns of `by`, `lam`, `seed`, `status` and
            `val_accuracy` (fraction in [0, 1], NaN where missing). A planned run without a record
            has any status other than `ok`.
        by: Grouping columns, such as data set, model and energy.
        margin: Largest loss of accuracy still called non-inferior, as a fraction (0.005 = 0.5 pp).
        alpha: Level of the one-sided test.
        rule: Only "largest-non-inferior" is known.

    Returns:
        A table in the order of first appearance of the groups, lambda ascending: the columns of
        `by` and `COLUMNS`. `difference` and `lower` are fractions; `reason` is empty where the
        lambda is eligible. Where a choice was impossible no row of the group is `selected`.

    Raises:
        InputError: An unknown rule, margin or alpha out of range, or a missing column.

    Reference: Blackwelder (1982), "Proving the null hypothesis" in clinical trials, Controlled
        Clinical Trials 3(4); Walker and Nowacki (2011), J Gen Intern Med 26(2).
    """
    if rule != "largest-non-inferior":
        raise InputError(f"rule: expected 'largest-non-inferior', got {rule!r}")
    if not 0 < margin < 1:
        raise InputError(f"margin: expected a fraction between 0 and 1, got {margin}")
    check_level(alpha)
    if not by:
        raise InputError("by: expected one or more columns that tell groups apart")
    if missing := [name for name in (*by, *NEEDED) if name not in frame]:
        raise InputError(f"frame: there is no column {', '.join(map(repr, missing))}")
    rows = [
        dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)) | row
        for key, group in frame.groupby(list(by), sort=False, dropna=False)
        for row in choose(group, margin, alpha)
    ]
    return pd.DataFrame(rows, columns=[*by, *COLUMNS])


def choose(group: pd.DataFrame, margin: float, alpha: float) -> list[dict[str, object]]:
    """Return the rows of one group, lambda ascending; see `select_lambda`."""
    lams = sorted(group["lam"].unique().tolist())
    cells = {lam: group.loc[group["lam"] == lam, :] for lam in lams}
    impossible = no_choice(cells)
    rows = []
    for lam, cell in cells.items():
        row = compare(lam, cell, cells.get(0.0), margin, alpha)
        if impossible:
            row |= {"eligible": False, "reason": impossible}
        rows.append(row)
    best = max((row["lam"] for row in rows if row["eligible"]), default=None)
    return [row | {"selected": row["lam"] == best} for row in rows]


def no_choice(cells: dict[float, pd.DataFrame]) -> str:
    """Return why no lambda of a group can be chosen, or an empty string."""
    if 0.0 not in cells:
        return "the design has no \u03bb = 0 to compare with"
    if defect := cell_defect(cells[0.0]):
        return f"\u03bb = 0: {defect}"
    if len(cells[0.0]) < 2:
        return "1 seed: no test is possible"
    return ""


def cell_defect(cell: pd.DataFrame) -> str:
    """Return what keeps a cell from being compared, or an empty string."""
    others = Counter(str(status) for status in cell["status"] if status != "ok")
    if others:
        return ", ".join(
            f"{count} run{'s' * (count > 1)} {status}" for status, count in sorted(others.items())
        )
    if missing := int((~np.isfinite(cell["val_accuracy"].astype(float))).sum()):
        return f"{missing} without a validation accuracy"
    return ""


def compare(
    lam: float, cell: pd.DataFrame, reference: pd.DataFrame | None, margin: float, alpha: float
) -> dict[str, object]:
    """Return the comparison of one lambda with lambda = 0 on the seeds that are `ok` in both."""
    row = {"lam": lam, "n": 0, "difference": np.nan, "lower": np.nan, "p": np.nan}
    differences = np.empty(0)
    if reference is not None:
        differences = paired_values(finished(cell), finished(reference))
    row["n"] = n = differences.size
    if n:
        row["difference"] = float(differences.mean())
    if lam == 0:
        return row | {"eligible": True, "reason": ""}
    if n >= 2:
        difference = MeanDifference.paired(differences)
        row["lower"], row["p"] = difference.lower(alpha), difference.p_above(-margin)
    if defect := cell_defect(cell):
        return row | {"eligible": False, "reason": defect}
    if n < 2:
        return row | {"eligible": False, "reason": "fewer than 2 seeds shared with \u03bb = 0"}
    eligible = row["lower"] > -margin
    return row | {"eligible": eligible, "reason": "" if eligible else "not shown non-inferior"}


def finished(cell: pd.DataFrame) -> pd.Series:
    """Return the finite validation accuracies of a cell's `ok` runs, indexed by seed."""
    accuracy = cell.loc[cell["status"] == "ok"].set_index("seed")["val_accuracy"].astype(float)
    return accuracy[np.isfinite(accuracy)]
