"""What must be known before an analysis is believed: in sentences, none where all is well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.crossing import RESPONSE, Crossing, described
from minaction.report.analysis.factorial import Table
from minaction.report.headlines import partly_gauged, shortened, strangers, tally, unfinished
from minaction.report.provenance import mixed_conditions
from minaction.study.journal import RunStatus

DOUBT = 0.05
"""p of a test of assumptions below which a sentence warns."""
REST = "more of this kind; `minaction analyse --json` has the numbers"


def cautions(analysis: dict[str, Any], crossing: Crossing, conditions: list) -> list[str]:
    """Return the warnings of an analysis.

    Args:
        analysis: See `statistics.statistics`; counts and tables are there.
        crossing: What the factorial tables are made of.
        conditions: From `report.provenance.provenance`.
    """
    groups = (
        left_out(crossing),
        uncounted(analysis),
        unmeasured(crossing),
        unfinished(analysis),
        unbalanced(crossing, analysis["factorial"]),
        *map(assumed, analysis["factorial"]),
        notes(analysis["factorial"]),
        without_letters(analysis["posthoc"]),
        uncovered(analysis["lambda_tables"]),
        partly_gauged(analysis),
        at_the_edge(analysis["efficiency"]),
        strangers({"outside_design": [shortly(one) for one in analysis["outside_design"]]}),
        (
            f"Not all runs were made under the same {name}; the report's Provenance says which."
            for name in mixed_conditions(conditions)
        ),
    )
    return [sentence for group in groups for sentence in shortened(list(group), REST)]


def left_out(crossing: Crossing) -> Iterator[str]:
    """Yield a sentence for each level that is not in the factorial tables."""
    for entry in crossing.left_out:
        runs = f"{entry['runs']} run{'' if entry['runs'] == 1 else 's'}"
        level = described([(entry["factor"], entry["level"])])
        yield f"Factorial tables without {level} ({runs}): {entry['reason']}."


def uncounted(analysis: dict[str, Any]) -> Iterator[str]:
    """Yield what was done with the runs that are not ok."""
    ended = tally(analysis["counts"]["statuses"], leave_out=(RunStatus.OK,))
    if not ended:
        return
    censored = "" if analysis["efficiency"]["reason"] else "; costs have those done as censored"
    yield (
        f"Runs that are not ok ({ended}) are left out of factorial tables, means and letters"
        f"{censored}."
    )
    extras = [table["with_collapsed"] for table in analysis["factorial"]]
    if counted := next((extra for extra in extras if extra and not extra["reason"]), None):
        yield (
            f"With {counted['collapsed']} collapsed runs at the accuracy they had, the factorial "
            "tables change: see `with collapsed` there."
        )


def unmeasured(crossing: Crossing) -> Iterator[str]:
    """Yield a sentence where runs are ok and have no test accuracy."""
    done = crossing.runs.loc[crossing.runs["status"] == RunStatus.OK, :]
    if missing := int(done[RESPONSE].isna().sum()):
        yield (
            f"{missing:,} of {len(done):,} ok runs have no test accuracy and are in nothing that "
            "is about it."
        )


def shortly(stranger: dict[str, Any]) -> dict[str, Any]:
    """Return a record outside the design with an id short enough to print."""
    return stranger | {"run_id": write.short(stranger["run_id"])}


def unbalanced(crossing: Crossing, tables: list[Table]) -> Iterator[str]:
    """Yield a sentence where cells have different numbers of runs."""
    if any(table["balanced"] is False for table in tables):
        sizes = crossing.used.groupby(list(crossing.factors)).size()
        yield (
            f"The design is unbalanced: {sizes.min()} to {sizes.max()} ok runs in a cell; type III "
            "tests compare unweighted means of cells."
        )


def assumed(table: Table) -> Iterator[str]:
    """Yield a sentence for each assumption of a factorial table that does not hold."""
    for check in table["assumptions"]:
        if check["p"] is None or check["p"] >= DOUBT:
            continue
        if check["assumption"] == "equal variances":
            ratio = table["sd_ratio"]
            spread = "" if ratio is None else f", the largest standard deviation {ratio:.3g} times"
            spread += "" if ratio is None else " the smallest"
            yield (
                f"The {table['label']} is heteroscedastic: variances differ between cells "
                f"({check['test']} p {p_text(check['p'])}{spread}); read the HC3 p values."
            )
        else:
            yield (
                f"Residuals of the {table['label']} are not normal ({check['test']} p "
                f"{p_text(check['p'])}); the intervals of its effect sizes are approximate."
            )


def p_text(p: float) -> str:
    """Write a p value with its relation: `= 0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def notes(tables: list[Table]) -> Iterator[str]:
    """Yield what the factorial tables could not say, or left to the error."""
    for table in tables:
        yield from (f"The {table['label']}: {note}." for note in table["notes"])
        if table["omitted"]:
            yield (
                f"The {table['label']}: interactions of more than {table['max_order']} factors "
                f"count as error; with all of them the model has {table['omitted']:,} cells."
            )


def without_letters(displays: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each comparison of models that is not there, or not of all."""
    for display in displays:
        if display["reason"]:
            yield f"{display['label']}: models are not compared: {display['reason']}."
        elif display["left_out"]:
            names = ", ".join(f"{entry['model']} ({entry['n']})" for entry in display["left_out"])
            yield f"{display['label']}: no letter for models with fewer than two ok runs: {names}."


def uncovered(tables: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each model whose networks gauge fixing does not cover, and why."""
    reasons: dict[str, list[str]] = {}
    for table in tables:
        done = sum(row["statuses"][RunStatus.OK] for row in table["rows"])
        missing = table["gauge_missing"]
        if missing and sum(entry["runs"] for entry in missing) == done:
            reasons.setdefault(table["factors"]["model"], []).append(missing[0]["reason"])
    for model, given in reasons.items():
        where = f"{len(given)} lambda table{'' if len(given) == 1 else 's'}"
        others = "" if len(set(given)) == 1 else "; others: `minaction analyse --json`"
        yield (
            f"{model}: no gauge-fixed energy in {where}, so a fall of the raw one may be mere "
            f"rescaling ({min(given, key=len)}{others})."
        )


def at_the_edge(efficiency: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence where a model's best learning rate is the smallest or largest tried."""
    edges = dict.fromkeys(
        f"{row['dataset']} \u00b7 {row['model']}"
        for row in efficiency["costs"]
        if row["lr_at_edge"]
    )
    if edges:
        yield (
            "The best learning rate is at the edge of those tried, so a better one may lie beyond: "
            f"{', '.join(edges)}."
        )
