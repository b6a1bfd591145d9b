"""The analysis of variance of a study as tables of a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.cautions import p_text
from minaction.report.analysis.factorial import BLOCKS, SS_TYPE
from minaction.report.forest import effect_name
from minaction.report.paper.drawing import Missing
from minaction.report.paper.table import Column, PaperTable, bare
from minaction.stats.effect_size import CONVENTIONS

CONVENTION = "effectsize"
"""Of the intervals of partial eta squared: the one that `factorial_anova` takes by default."""


def anova_tables(tables: Sequence[dict[str, Any]]) -> Iterator[PaperTable | Missing]:
    """Yield the table of each response.

    Args:
        tables: From `factorial_tables`.
    """
    for table in tables:
        name = f"anova-{table['response'].replace('_', '-')}"
        if table["reason"]:
            yield Missing(name=name, reason=table["reason"])
        else:
            yield anova_table(name, table)


def anova_table(name: str, table: dict[str, Any]) -> PaperTable:
    """Return one response's table."""
    return PaperTable(
        name=name,
        caption=f"Analysis of variance of the {table['label']}. {method(table)}",
        columns=(
            Column(key="effect", heading="effect"),
            Column(key="df", heading="df", write=write.count),
            Column(key="sum_sq", heading=None),
            Column(key="F", heading="F", write=write.number),
            Column(key="p", heading="p", write=write.p_value),
            Column(key="p_hc3", heading="p\n(HC3)", write=write.p_value),
            Column(key="partial_eta_sq", heading="partial \u03b7\u00b2\n[95 %]", write=thousandths),
            Column(key="omega_sq", heading="partial \u03c9\u00b2\n[95 %]", write=thousandths),
            Column(
                key="share", heading="of all\n(%)", write=lambda v: bare(write.percent)(100 * v)
            ),
        ),
        rows=[anova_row(row, table["n"]) for row in table["rows"]],
    )


def anova_row(row: dict[str, Any], n: int) -> dict[str, Any]:
    """Return one effect with its effect sizes as intervals."""
    sizes = {
        name: {
            "estimate": row[name],
            "low": row[f"{name}_low"],
            "high": row[f"{name}_high"],
            "n": n,
        }
        for name in ("partial_eta_sq", "omega_sq")
    }
    return {**row, **sizes, "effect": effect_name(row["effect"])}


def thousandths(value: float) -> str:
    """Write an effect size with three decimals."""
    return write.signed(f"{value:.3f}")


def method(table: dict[str, Any]) -> str:
    """Say how the table of a response was made and whether its assumptions hold."""
    balance = "balanced" if table["balanced"] else "unbalanced"
    left = (
        ""
        if table["omitted"] is None
        else f" Interactions of more than {table['max_order']} factors count as error."
    )
    checks = "; ".join(
        f"{check['assumption']}: {check['test']} "
        + ("not testable" if check["p"] is None else f"p {p_text(check['p'])}")
        for check in table["assumptions"]
    )
    return (
        f"n = {table['n']:,} runs that are ok, {balanced_with_seeds(balance)}.{left} "
        f"{convention(table)} p (HC3): Wald tests of the same hypotheses with the HC3 covariance, "
        f"which hold where variances differ. Of all: share of the total sum of squares. "
        f"Assumptions: {checks}."
    )


def balanced_with_seeds(balance: str) -> str:
    """Say what the design is."""
    return f"{balance}, {BLOCKS}s as additive blocks"


def convention(table: dict[str, Any]) -> str:
    """Name the conventions behind sums of squares and intervals of effect sizes."""
    kind = "I" * SS_TYPE
    return (
        f"Type {kind} sums of squares in sum-to-zero contrasts. Intervals invert the noncentral "
        f"F, two-sided; those of partial \u03b7\u00b2 by the convention of R's {CONVENTION}, "
        f"{CONVENTIONS[CONVENTION]}, those of \u03c9\u00b2 as {CONVENTIONS['steiger']}."
    )
