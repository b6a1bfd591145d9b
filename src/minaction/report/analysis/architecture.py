"""Finding 1: architecture alone explains almost no accuracy variance, with the data set much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report.analysis.factorial import Table, row_of
from minaction.report.analysis.verdict import Finding, Verdict, Word
from minaction.study.study_file import Study

SMALL, LARGE = 0.01, 0.14
"""Eta squared of a small and of a large effect, as Cohen has them."""
ALONE, TOGETHER = "model", "dataset:model"

FINDING = Finding(
    number=1,
    claim="architecture alone explains almost no accuracy variance, architecture x data set much",
    published="partial eta squared 0.001 (architecture), 0.44 (architecture x data set)",
    rule=(
        f"of the test accuracy's table: supported where the 95 % intervals of partial eta squared "
        f"put architecture below {SMALL} (a small effect) and architecture x data set above "
        f"{LARGE} (a large one); contradicted where they put architecture above {SMALL} or the "
        f"interaction below {LARGE}; else not decided, as by an interval from 0 to 0, which only "
        "says that F is smaller than chance leaves it"
    ),
)


def architecture_verdict(study: Study, tables: Sequence[Table]) -> Verdict:
    """Return what a study says of finding 1.

    Args:
        study: The study file.
        tables: From `factorial_tables`, the test accuracy's first.

    Reference: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 8.
    """
    if len(study.factors.model) < 2 or len(study.factors.dataset) < 2:
        missing = "it does not cross two or more models with two or more data sets"
        return Verdict(finding=FINDING, word=Word.NOT_TESTED, because=[missing])
    first, *others = tables
    if first["reason"]:
        because = [f"no analysis of variance: {first['reason']}"]
        return Verdict(finding=FINDING, word=Word.NOT_DECIDED, because=because)
    alone, together = effects(first)
    if alone is None or together is None:
        because = ["the runs that are there cross fewer than two models and two data sets"]
        return Verdict(finding=FINDING, word=Word.NOT_DECIDED, because=because)
    because = [
        f"{name}: partial eta squared {numbers(row)}, {100 * row['share']:.3g} % of all variance"
        for name, row in (("architecture", alone), ("architecture x data set", together))
    ]
    because += [
        f"on the {table['label']}, {numbers(own)} and {numbers(common)}: "
        f"{judged(own, common)} by the same rule"
        for table in others
        if not table["reason"]
        for own, common in [effects(table)]
        if own is not None and common is not None
    ]
    return Verdict(
        finding=FINDING,
        word=judged(alone, together),
        because=because,
        numbers={"architecture": alone, "architecture_x_dataset": together, "n": first["n"]},
    )


def effects(table: Table) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the rows of architecture alone and with the data set."""
    return row_of(table, ALONE), row_of(table, TOGETHER)


def judged(alone: dict[str, Any], together: dict[str, Any]) -> Word:
    """Return the verdict by the rule."""
    if alone["partial_eta_sq_low"] > SMALL or below(together, LARGE):
        return Word.CONTRADICTED
    if below(alone, SMALL) and together["partial_eta_sq_low"] > LARGE:
        return Word.SUPPORTED
    return Word.NOT_DECIDED


def below(row: dict[str, Any], limit: float) -> bool:
    """Return whether an effect is shown to lie below a limit."""
    return 0 < row["partial_eta_sq_high"] < limit


def numbers(row: dict[str, Any]) -> str:
    """Write an effect size with its interval."""
    return (
        f"{row['partial_eta_sq']:.3f} [{row['partial_eta_sq_low']:.3f}, "
        f"{row['partial_eta_sq_high']:.3f}]"
    )
