"""The reference study's findings beside what the committed studies say of them, as Markdown."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.report.analysis import architecture, efficiency_gains, energy
from minaction.report.analysis.analyse import analyse
from minaction.report.analysis.verdict import Finding
from minaction.study.journal import JOURNAL_NAME
from minaction.study.status import study_status

RESULTS = Path(__file__).parent

Row = tuple[Finding, str, dict[str, Any] | None]
"""A finding, the folder that tests it, and the verdict; None: not measured yet."""

DECIDING = {1: 2, 2: 1, 3: 1}
"""How many of a verdict's sentences say it in short; finding 3 has a table for the others."""


@functools.cache
def verdicts() -> Sequence[Row]:
    """Return the verdict on each finding by the study that was made to test it."""
    return (
        (architecture.FINDING, "factorial", analysed("factorial", architecture.FINDING)),
        (energy.FINDING, "lambda_sweep", analysed("lambda_sweep", energy.FINDING)),
        (efficiency_gains.FINDING, "efficiency", summarised()),
    )


def analysed(folder: str, finding: Finding) -> dict[str, Any] | None:
    """Return what the analysis of a study says of a finding, None before all its runs are done."""
    if not (RESULTS / folder / JOURNAL_NAME).exists():
        return None
    status = study_status(RESULTS / folder)
    if status.done < status.total:
        return None
    found = analyse(RESULTS / folder)["findings"]
    return next(verdict for verdict in found if verdict["finding"] == finding.number)


def summarised() -> dict[str, Any] | None:
    """Return what the two studies of training efficiency say together."""
    path = RESULTS / "efficiency" / "efficiency.json"
    return json.loads(path.read_text(encoding="utf-8"))["verdict"] if path.exists() else None


def findings_table() -> str:
    """Return the findings in a table of three rows."""
    rows = "".join(f"| {' | '.join(cells)} |\n" for cells in map(short, verdicts()))
    return f"| the reference study says | its figures | here | verdict |\n|---|---|---|---|\n{rows}"


def short(row: Row) -> list[str]:
    """Return the cells of a finding's row."""
    finding, folder, verdict = row
    said = [finding.claim, finding.published]
    if verdict is None:
        return [*said, f"not measured yet ([recipe](recipes/{folder}.toml))", ""]
    here = "; ".join(verdict["because"][: DECIDING[finding.number]])
    return [*said, f"{here} ([results/{folder}](results/{folder}))", f"**{verdict['verdict']}**"]


def findings_in_full() -> str:
    """Return a section for each finding: claim, verdict, the numbers that decide it, the rule."""
    return "\n".join(map(in_full, verdicts()))


def in_full(row: Row) -> str:
    """Return a finding's section."""
    finding, folder, verdict = row
    head = f"### {finding.number}. {finding.claim[0].upper()}{finding.claim[1:]}\n\n"
    if verdict is None:
        return (
            f"{head}Published: {finding.published}. Not measured yet; `minaction study run "
            f"recipes/{folder}.toml --out results/{folder}` measures it.\n"
        )
    sentences = verdict["because"][:1] if finding.number == 3 else verdict["because"]
    because = "".join(f"- {sentence}\n" for sentence in sentences)
    return (
        f"{head}Published: {finding.published}. Here, in [results/{folder}](../results/{folder}): "
        f"**{verdict['verdict']}**.\n\n{because}\nRule: {verdict['rule']}.\n"
    )
