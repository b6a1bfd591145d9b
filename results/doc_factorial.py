"""What docs/findings.md shows of the factorial within a budget, as Markdown."""

from __future__ import annotations

from typing import Any

from doc_sections import RESULTS, bracketed, digits

from minaction.report import formatting as write
from minaction.report.tables import compute_findings
from minaction.study.directory import load_study_directory
from minaction.study.journal import JOURNAL_NAME, latest_records
from minaction.study.study_file import BUDGET

DIRECTORY = RESULTS / "factorial_budget"


def factorial_budget_section() -> str:
    """Return what a budget does to each network on each data set."""
    if not (DIRECTORY / JOURNAL_NAME).exists():
        return (
            "Not measured yet; `minaction study run recipes/factorial_budget.toml --out "
            "results/factorial_budget` measures it.\n"
        )
    study = load_study_directory(DIRECTORY)
    found = compute_findings(study, latest_records(DIRECTORY))
    budgets = [
        (table["factors"], row)
        for table in found["lambda_tables"]
        for row in table["rows"]
        if row["lam"] == BUDGET
    ]
    rows = "".join(budget_row(factors, row) for factors, row in budgets)
    return (
        f"{found['counts']['done']} of {study.run_count} runs, {study.seeds} seeds, activation "
        "energy, lambda found by each run so that validation accuracy falls by no more than "
        f"{write.margin(study.budget_terms['margin'])}. Test split, against the same seeds at "
        "lambda 0; brackets are 95 % intervals over seeds. The whole report is "
        "[results/factorial_budget/report.html](../results/factorial_budget/report.html).\n\n"
        "| data set | network | lambda found | raw energy, fold lower | gauge-fixed, fold lower "
        "| accuracy change, pp | not ok |\n"
        "|---|---|---|---|---|---|---|\n"
        f"{rows}\n{kept([row for _, row in budgets], study.budget_terms['margin'])}\n"
    )


def kept(rows: list[dict[str, Any]], margin: float) -> str:
    """Say how often the accuracy lost stayed within the margin, by the means and the intervals."""
    changes = [row["accuracy_change_pp"] for row in rows]
    known = [change for change in changes if change["estimate"] is not None]
    limit = -100 * margin
    within = sum(change["estimate"] >= limit for change in known)
    surely = sum(change["low"] >= limit for change in known)
    beyond = sum(change["high"] < limit for change in known)
    return (
        f"Of the {len(known)} with runs to measure the mean change is within "
        f"{write.margin(margin)} for {within}; the whole interval is within it for {surely} and "
        f"beyond it for {beyond}."
    )


def budget_row(factors: dict[str, Any], row: dict[str, Any]) -> str:
    """Return what the budget does to one network on one data set, as a Markdown row."""
    bad = {status: n for status, n in row["statuses"].items() if n and status != "ok"}
    lam = row["multiplier"]
    cells = [
        factors["dataset"],
        factors["model"],
        lam["reason"] if lam["estimate"] is None else write.lam_found(lam["estimate"]),
        *(bracketed(row[f], digits(row[f])) for f in ("fold_reduction", "gauge_fixed_fold")),
        bracketed(row["accuracy_change_pp"], "+.2f"),
        ", ".join(f"{n} {status}" for status, n in bad.items()),
    ]
    return f"| {' | '.join(cells)} |\n"
