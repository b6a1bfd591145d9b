"""The findings in plain words, made from the numbers; and what a reader must be warned of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import MISSING
from minaction.report.provenance import mixed_conditions
from minaction.study.journal import RunStatus

SHOWN = 12
"""Sentences of one kind that are spelled out; the tables have the rest."""


def headlines(findings: dict[str, Any]) -> list[str]:
    """Return the sentences that open the page: progress first, then one per lambda table."""
    sentences = [progress(findings["counts"])]
    if not findings["counts"]["recorded"]:
        return sentences
    outcomes = [outcome(table, findings["study"]) for table in findings["lambda_tables"]]
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


def outcome(table: dict[str, Any], study: dict[str, Any]) -> str:
    """Say what the chosen lambda of one table does on the test split."""
    chosen, label = table["choice"], table["label"]
    if chosen["lam"] is None:
        return f"{label}: no \u03bb can be chosen ({chosen['reason']})."
    margin = f"{write.number(100 * study['margin']).rstrip('0').rstrip('.')} pp"
    if chosen["lam"] == 0:
        if len(table["rows"]) == 1:
            return f"{label}: only \u03bb = 0 was run, so there is nothing to choose from."
        return (
            f"{label}: no \u03bb > 0 is shown to keep validation accuracy within {margin} of "
            "\u03bb = 0."
        )
    reduction, percent = chosen["fold_reduction"], chosen["energy_percent"]
    if reduction["estimate"] is None:
        energy = f"its raw energy cannot be compared ({reduction['reason']})"
    elif reduction["estimate"] >= 1:
        energy = (
            f"its raw energy is {write.fold(reduction['estimate'])} lower "
            f"({write.percent(percent['estimate'])} of \u03bb = 0)"
        )
    else:
        energy = f"its raw energy is {write.percent(percent['estimate'])} of that at \u03bb = 0"
    return (
        f"{label}: \u03bb = {write.lam(chosen['lam'])} is the largest that keeps validation "
        f"accuracy within {margin}; on the test split {energy} and accuracy changes by "
        f"{change(chosen['accuracy_change_pp'])}."
    )


def change(interval: dict[str, Any]) -> str:
    """Write a change in percentage points with its interval."""
    if interval["estimate"] is None:
        return f"an unknown amount ({interval['reason']})"
    return (
        f"{write.points(interval['estimate'])} "
        f"(95 % interval {write.bounds(interval, write.points)})"
    )


def warnings(findings: dict[str, Any]) -> list[str]:
    """Return what a reader must know before trusting the numbers; empty if nothing."""
    return [
        *shortened(list(unfinished(findings)), "more in the tables below"),
        *shortened(list(strangers(findings)), "more records outside the design"),
        *(
            f"Not all runs were made under the same {condition}; see Provenance."
            for condition in mixed_conditions(findings["provenance"])
        ),
    ]


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
