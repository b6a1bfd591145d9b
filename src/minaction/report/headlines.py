"""The findings in plain words, made from the numbers; and what a reader must be warned of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from minaction.report import formatting as write
from minaction.report.comparison import NOT_COVERED
from minaction.report.frame import MISSING
from minaction.report.lambda_table import has_grid
from minaction.study.gauge_fields import NOT_RECORDED
from minaction.study.journal import RunStatus
from minaction.study.study_file import BUDGET

SHOWN = 12
"""Sentences of one kind that are spelled out; the tables have the rest."""


def headlines(findings: dict[str, Any]) -> list[str]:
    """Return the sentences that open the page: progress first, then one or two per lambda table."""
    sentences = [progress(findings["counts"])]
    if not findings["counts"]["recorded"]:
        return sentences
    tables = findings["lambda_tables"]
    if all([row["lam"] for row in table["rows"]] == [0] for table in tables):
        return [*sentences, "Only \u03bb = 0 was run, so there is no \u03bb to choose."]
    outcomes = [
        sentence for table in tables for sentence in table_outcomes(table, findings["study"])
    ]
    return sentences + shortened(outcomes, "more in the table of chosen \u03bb below")


def progress(counts: dict[str, Any]) -> str:
    """Say how many of the planned runs are done, and how they ended."""
    planned, done, statuses = counts["planned"], counts["done"], counts["statuses"]
    if not counts["recorded"]:
        return f"No runs yet: 0 of {planned:,} are done."
    ended = tally(statuses, leave_out=(MISSING, RunStatus.FAILED))
    if done == planned:
        return (
            f"{f'All {planned:,} runs are' if planned > 1 else 'The only run is'} done ({ended})."
        )
    parts = [f"{done:,} of {planned:,} runs are done{f' ({ended})' if ended else ''}"]
    if statuses[RunStatus.FAILED]:
        parts.append(f"{statuses[RunStatus.FAILED]:,} failed")
    if statuses[MISSING]:
        parts.append(f"{statuses[MISSING]:,} not run yet")
    return f"{', '.join(parts)}: every number below is provisional."


def tally(statuses: dict[str, int], leave_out: Collection[str]) -> str:
    """Write how many runs have each status, such as `198 ok, 2 collapsed`."""
    return ", ".join(
        f"{number:,} {status}"
        for status, number in statuses.items()
        if number and status not in leave_out
    )


def table_outcomes(table: dict[str, Any], study: dict[str, Any]) -> Iterator[str]:
    """Yield what the chosen lambda of one table does, and what its budget does."""
    if has_grid(table):
        yield grid_outcome(table, study)
    yield from (budget_outcome(table, row) for row in table["rows"] if row["lam"] == BUDGET)


def grid_outcome(table: dict[str, Any], study: dict[str, Any]) -> str:
    """Say what the chosen lambda of one table does on the test split."""
    chosen, label = table["choice"], table["label"]
    if chosen["lam"] is None:
        return f"{label}: no \u03bb can be chosen ({chosen['reason']})."
    if chosen["lam"] == 0:
        return (
            f"{label}: no \u03bb > 0 is shown to keep validation accuracy within "
            f"{write.margin(study['margin'])} of \u03bb = 0."
        )
    (row,) = (row for row in table["rows"] if row["lam"] == chosen["lam"])
    return (
        f"{label}: \u03bb = {write.lam(chosen['lam'])} is the largest that keeps validation "
        f"accuracy within {write.margin(study['margin'])}; on the test split "
        f"{energy_change(row)}, and accuracy changes by {change(row['accuracy_change_pp'])}."
    )


def budget_outcome(table: dict[str, Any], row: dict[str, Any]) -> str:
    """Say what the budget of one table found and does on the test split."""
    found = row["multiplier"]
    if found["estimate"] is None:
        return f"{table['label']}: the budget has found no \u03bb ({found['reason']})."
    seeds = "1 seed" if found["n"] == 1 else f"median of {found['n']} seeds"
    extent = "" if found["n"] == 1 else f", {write.bounds(found, write.lam_found)}"
    return (
        f"{table['label']}: a budget of {write.margin(table['budget']['margin'])} finds "
        f"\u03bb = {write.lam_found(found['estimate'])} ({seeds}{extent}); on the test split "
        f"{energy_change(row)}, and accuracy changes by {change(row['accuracy_change_pp'])}."
    )


def energy_change(row: dict[str, Any]) -> str:
    """Say how the energy compares with that at lambda = 0: raw, and with rescaling taken out."""
    raw = row["fold_reduction"]
    if raw["estimate"] is None:
        return f"energy cannot be compared with \u03bb = 0 ({raw['reason']})"
    texts = [f"raw energy is {lower(row, 'fold_reduction', 'energy_percent')}"]
    if "activation_fold" in row and row["activation_fold"]["estimate"] is not None:
        texts.append(f"activation energy {lower(row, 'activation_fold', 'activation_percent')}")
    if (missing := row["gauge_fixed_fold"]["reason"]) in (NOT_RECORDED, NOT_COVERED):
        texts.append(f"gauge-fixed energy is {missing}")
    elif missing:
        texts.append(f"gauge-fixed energy cannot be compared ({missing})")
    else:
        left = lower(row, "gauge_fixed_fold", "gauge_fixed_percent")
        texts.append(f"{left} with rescaling taken out{mere_rescaling(row['rescaling_percent'])}")
    return ", ".join(texts)


def lower(row: dict[str, Any], fold: str, percent: str) -> str:
    """Write a fall as `41.3x lower (2.42 % of lambda = 0)`, a rise as a percentage."""
    share = write.percent(row[percent]["estimate"])
    if row[fold]["estimate"] >= 1:
        return f"{write.fold(row[fold]['estimate'])} lower ({share} of \u03bb = 0)"
    return f"{share} of that at \u03bb = 0"


def mere_rescaling(interval: dict[str, Any]) -> str:
    """Say how much of a fall was rescaling; nothing where there was no fall to share out."""
    percent = interval["estimate"]
    if percent is None:
        return ""
    share = "none" if percent <= 0 else write.percent(percent)
    return f" ({share} of the fall, on a log scale, was mere rescaling)"


def change(interval: dict[str, Any]) -> str:
    """Write a change in percentage points with its interval."""
    if interval["estimate"] is None:
        return f"an unknown amount ({interval['reason']})"
    bounds = write.bounds(interval, write.points)
    return (
        f"{write.points(interval['estimate'])} "
        f"({bounds if interval['low'] is None else f'95 % interval {bounds}'})"
    )


def unfinished(findings: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for every cell with runs that ended otherwise than `ok`."""
    for table in findings["lambda_tables"]:
        for row in table["rows"]:
            ended = tally(row["statuses"], leave_out=(RunStatus.OK, MISSING))
            if ended:
                yield (
                    f"{table['label']} \u00b7 \u03bb = {write.lam(row['lam'])}: "
                    f"{ended} of {row['planned']:,} runs; they are counted and left "
                    "out of the means."
                )


def partly_gauged(findings: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for every table where only some runs have a gauge-fixed energy."""
    for table in findings["lambda_tables"]:
        missing = sum(entry["runs"] for entry in table["gauge_missing"])
        done = sum(row["statuses"][RunStatus.OK] for row in table["rows"])
        if 0 < missing < done:
            yield (
                f"{table['label']}: {missing:,} of {done:,} ok runs have no gauge-fixed energy; "
                "its means and ratios are over the others."
            )


def strangers(findings: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for every record that belongs to no planned run."""
    for record in findings["outside_design"]:
        yield (
            f"The journal's run {record['run_id']} ({record['status']}) is not in the study's "
            "design; it is in no number."
        )


def shortened(sentences: list[str], rest: str) -> list[str]:
    """Return the first sentences and, for the others, their number."""
    if len(sentences) <= SHOWN:
        return sentences
    return [*sentences[:SHOWN], f"\u2026 and {len(sentences) - SHOWN:,} {rest}."]
