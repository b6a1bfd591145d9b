"""Runs of one lambda against those at lambda = 0, paired by seed: energies and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from minaction.report.estimates import (
    NO_RUN,
    Estimate,
    absent,
    change_pp,
    fold_reduction,
    mean,
    percent_of,
    proportion,
    rescaling_percent,
)
from minaction.study.gauge_fields import NOT_RECORDED

REFERENCE = "reference"
NO_REFERENCE = "no \u03bb = 0 to compare with"
NOT_COVERED = "not covered"
"""Stands where gauge fixing gave reasons of its own; they are listed once."""

TRAINED, ACTIVATION, GAUGE_FIXED = "energy_value", "energy_activation", "energy_gauge_fixed"
"""The energy the runs were trained with, the activation energy, and that in the canonical gauge."""


def energies(
    lam: float | str, cell: pd.DataFrame, reference: pd.DataFrame | None, trained: str
) -> dict[str, Estimate]:
    """Return the energy of a cell, raw and gauge-fixed, and what both are of those at lambda = 0.

    The gauge-fixed energy is an activation energy. Where the runs were trained with another one,
    the raw activation energy stands between the two, for only like can be compared with like.

    Args:
        lam: Level of lambda; at 0 there is nothing to compare.
        cell: From `finished`, with `gauge_reason` and the energies.
        reference: The same at lambda = 0, None if there is none.
        trained: Name of the energy the runs were trained with.
    """
    missing = missing_gauge(cell)

    def against(column: str, compare: Callable[[pd.Series, pd.Series], Estimate]) -> Estimate:
        return compared(lam, cell, reference, column, compare)

    twin = {}
    if trained != "activation":
        twin = {
            "activation_energy": mean(measured(cell, ACTIVATION)),
            "activation_percent": against(ACTIVATION, percent_of),
            "activation_fold": against(ACTIVATION, fold_reduction),
        }
    return {
        "energy": mean(measured(cell, TRAINED)),
        "energy_gauge_fixed": absent(missing) if missing else mean(measured(cell, GAUGE_FIXED)),
        "energy_percent": against(TRAINED, percent_of),
        "gauge_fixed_percent": against(GAUGE_FIXED, percent_of),
        "fold_reduction": against(TRAINED, fold_reduction),
        "gauge_fixed_fold": against(GAUGE_FIXED, fold_reduction),
        **twin,
        "rescaling_percent": rescaling(lam, cell, reference),
    }


def accuracy(
    lam: float | str, cell: pd.DataFrame, reference: pd.DataFrame | None
) -> dict[str, Estimate]:
    """Return the test accuracy of a cell, a fraction, and its change against lambda = 0."""
    return {
        "test_accuracy": proportion(measured(cell, "test_accuracy")),
        "accuracy_change_pp": compared(lam, cell, reference, "test_accuracy", change_pp),
    }


def compared(
    lam: float | str,
    cell: pd.DataFrame,
    reference: pd.DataFrame | None,
    column: str,
    compare: Callable[[pd.Series, pd.Series], Estimate],
) -> Estimate:
    """Return a metric of a cell compared with lambda = 0, or why it cannot be."""
    if reason := no_comparison(lam, cell, reference, column):
        return absent(reason)
    assert reference is not None
    return compare(measured(cell, column), measured(reference, column))


def rescaling(lam: float | str, cell: pd.DataFrame, reference: pd.DataFrame | None) -> Estimate:
    """Return how much of the fall of the activation energy is mere rescaling, in percent."""
    if reason := no_comparison(lam, cell, reference, GAUGE_FIXED):
        return absent(reason)
    assert reference is not None
    raw, gauge_fixed = (
        (measured(cell, column), measured(reference, column))
        for column in (ACTIVATION, GAUGE_FIXED)
    )
    return rescaling_percent(raw, gauge_fixed)


def no_comparison(
    lam: float | str, cell: pd.DataFrame, reference: pd.DataFrame | None, column: str
) -> str:
    """Return why a metric of a cell cannot be compared with lambda = 0, or an empty string."""
    if lam == 0:
        return REFERENCE
    if reference is None:
        return NO_REFERENCE
    if column != GAUGE_FIXED:
        return ""
    at_zero = missing_gauge(reference)
    return missing_gauge(cell) or (f"\u03bb = 0: {at_zero}" if at_zero else "")


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are `ok`, indexed by seed, in seed order; of one seed as they were."""
    return runs.loc[runs["status"] == "ok", :].set_index("seed").sort_index(kind="stable")


def measured(cell: pd.DataFrame, column: str) -> pd.Series:
    """Return a metric of the runs that have it."""
    values = cell[column]
    assert isinstance(values, pd.Series)
    return values.dropna() if values.hasnans else values


def missing_gauge(cell: pd.DataFrame) -> str:
    """Return why no run of a cell has a gauge-fixed energy, or an empty string if one has."""
    reasons = cell["gauge_reason"].tolist()
    if not reasons:
        return NO_RUN
    given = [reason for reason in reasons if isinstance(reason, str)]
    return in_two_words(given) if len(given) == len(reasons) else ""


def in_two_words(reasons: Sequence[str]) -> str:
    """Return what stands in a cell of a table where these are the reasons for its emptiness."""
    return NOT_RECORDED if set(reasons) == {NOT_RECORDED} else NOT_COVERED
