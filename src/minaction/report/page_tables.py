"""The tables of the page, every cell bound to the path of its finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import STATUSES
from minaction.report.markup import cell, details, element, row_heading, table
from minaction.report.tables import Findings

RUNS_SHOWN = 500
"""Rows of the run table on the page; the embedded findings have all."""

INTERVALS = "Second lines are 95 % t intervals over seeds"
GAUGE_NOTE = (
    "Energy is part of the loss, and rescaling weights alone can lower it without changing the "
    "function; the gauge-fixed energy, which such rescaling cannot lower, was not measured here."
)


def choice_table(findings: Findings) -> str:
    """Return the chosen lambda of every group with its result on the test split."""
    study, tables = findings["study"], findings["lambda_tables"]
    rows = [choice_row(index, one) for index, one in enumerate(tables)]
    note = (
        f"Rule {study['rule']}, fixed before the first run: the largest \u03bb whose mean "
        f"validation accuracy is non-inferior to \u03bb = 0 within {100 * study['margin']:g} "
        f"percentage points, by a one-sided paired t test over seeds at level {study['alpha']:g} "
        "for each \u03bb (not adjusted for their number). A \u03bb with any run that is not ok is "
        f"not eligible. The test split plays no part in the choice. {INTERVALS}."
    )
    columns = ["group", "chosen \u03bb", *CHOICE_COLUMNS.values(), "remark"]
    caption = "Chosen \u03bb and its result on the test split"
    return table(caption, columns, rows, path="study.rule", note=note)


CHOICE_COLUMNS = {
    "energy_percent": "raw energy, % of \u03bb = 0",
    "fold_reduction": "fold reduction",
    "test_accuracy": "test accuracy",
    "accuracy_change_pp": "change against \u03bb = 0",
}

WRITERS: dict[str, write.Formatter] = {
    "energy": write.number,
    "energy_percent": write.percent,
    "fold_reduction": write.fold,
    "energy_gauge_fixed": write.number,
    "gauge_fixed_percent": write.percent,
    "test_accuracy": write.accuracy,
    "accuracy_change_pp": write.points,
    "zero_fraction": write.fraction,
    "silent_fraction": write.fraction,
}

LAMBDA_COLUMNS = {
    "energy": "raw energy",
    "energy_percent": "% of \u03bb = 0",
    "fold_reduction": "fold reduction",
    "energy_gauge_fixed": "gauge-fixed energy",
    "gauge_fixed_percent": "gauge-fixed, % of \u03bb = 0",
    "test_accuracy": "test accuracy",
    "accuracy_change_pp": "change against \u03bb = 0",
    "zero_fraction": "zero activations",
    "silent_fraction": "silent units",
}


def choice_row(index: int, one: dict[str, Any]) -> list[str]:
    """Return one group's row of the table of choices."""
    at, chosen = f"lambda_tables.{index}.choice", one["choice"]
    cells = [row_heading(f"lambda_tables.{index}.label", one["label"])]
    cells.append(cell(f"{at}.lam", write.optional(chosen["lam"], write.lam)))
    if chosen["lam"] is None:
        cells += [cell(f"{at}.{name}", write.ABSENT) for name in CHOICE_COLUMNS]
    else:
        cells += [interval_cell(f"{at}.{name}", chosen[name], name) for name in CHOICE_COLUMNS]
    return [*cells, cell(f"{at}.reason", chosen["reason"], kind="text")]


def lambda_section(findings: Findings) -> str:
    """Return the lambda table of every group, each with its validation test folded below it."""
    tables = findings["lambda_tables"]
    note = (
        "Means over the runs that are ok; the column runs counts every status. "
        f"{INTERVALS}. Percent and fold are geometric mean ratios and changes are mean "
        "differences against \u03bb = 0, both paired by seed. Energy is the mean per sample of "
        "the test split, dimensionless. Zero activations: share of observed activations that are "
        "exactly 0; silent units: share of units that are 0 on the whole split. "
        "The shaded row is the chosen \u03bb."
    )
    parts = [element("p", "lambda_tables", note, "note")]
    if not any("energy_gauge_fixed" in row for one in tables for row in one["rows"]):
        parts.append(element("p", "lambda_tables", GAUGE_NOTE, "note"))
    for index, one in enumerate(tables):
        parts += [lambda_table(index, one), validation_details(index, one)]
    return "\n".join(parts)


def lambda_table(index: int, one: dict[str, Any]) -> str:
    """Return one group's lambda table."""
    columns = [name for name in LAMBDA_COLUMNS if name in one["rows"][0]]
    rows = []
    for number, row in enumerate(one["rows"]):
        at = f"lambda_tables.{index}.rows.{number}"
        cells = [row_heading(f"{at}.lam", write.lam(row["lam"])), status_cell(at, row)]
        cells += [interval_cell(f"{at}.{name}", row[name], name) for name in columns]
        rows.append(cells)
    shaded = [row["validation"]["selected"] for row in one["rows"]]
    headings = ["\u03bb", "runs", *(LAMBDA_COLUMNS[name] for name in columns)]
    return table(one["label"], headings, rows, path=f"lambda_tables.{index}.label", shaded=shaded)


def validation_details(index: int, one: dict[str, Any]) -> str:
    """Return the validation test behind one group's choice, folded."""
    rows = []
    for number, row in enumerate(one["rows"]):
        at, test = f"lambda_tables.{index}.rows.{number}.validation", row["validation"]
        verdict = "eligible" if test["eligible"] else f"not eligible: {test['reason']}"
        rows.append(
            [
                row_heading(f"lambda_tables.{index}.rows.{number}.lam", write.lam(row["lam"])),
                cell(f"{at}.n", write.count(test["n"])),
                cell(f"{at}.difference_pp", write.optional(test["difference_pp"], write.points)),
                cell(f"{at}.lower_pp", write.optional(test["lower_pp"], write.points)),
                cell(f"{at}.p", write.optional(test["p"], write.p_value)),
                cell(f"{at}.eligible", verdict, kind="text"),
            ]
        )
    columns = ["\u03bb", "seeds", "mean validation difference", "lower bound", "p", "verdict"]
    summary = f"Validation test: {one['label']}"
    path = f"lambda_tables.{index}.label"
    return details(summary, path, table(summary, columns, rows, path=path))


def interval_cell(path: str, interval: dict[str, Any], name: str) -> str:
    """Return the cell of an estimate with its interval, or of the reason why there is none."""
    formatter = WRITERS[name]
    if interval["estimate"] is None:
        return cell(path, write.ABSENT, interval["reason"])
    estimate = formatter(interval["estimate"])
    if name in ("zero_fraction", "silent_fraction"):
        return cell(path, estimate)
    return cell(path, estimate, write.bounds(interval, formatter))


def status_cell(at: str, row: dict[str, Any]) -> str:
    """Return the cell that counts a row's runs: `10 ok`, and every other status there is."""
    counts = row["statuses"]
    others = ", ".join(f"{counts[s]:,} {s}" for s in STATUSES if counts[s] and s != "ok")
    return cell(f"{at}.statuses", f"{counts['ok']:,} ok", others, kind="status")


def breakdown_tables(findings: Findings) -> str:
    """Return the number of runs by status: over all, by data set and by model."""
    counts = findings["counts"]
    columns = ["", "planned", *STATUSES]
    rows = [count_row("counts", {"level": "all", **counts})]
    for part in ("by_dataset", "by_model"):
        rows += [count_row(f"counts.{part}.{i}", one) for i, one in enumerate(counts[part])]
    return table("Runs by status, data set and model", columns, rows, path="counts")


def count_row(at: str, one: dict[str, Any]) -> list[str]:
    """Return one row of the table of counts."""
    return [
        row_heading(f"{at}.level", one["level"]),
        cell(f"{at}.planned", write.count(one["planned"])),
        *(cell(f"{at}.statuses.{s}", write.count(one["statuses"][s])) for s in STATUSES),
    ]


RUN_NUMBERS: dict[str, tuple[str, write.Formatter]] = {
    "test_accuracy": ("test accuracy", write.accuracy),
    "val_accuracy": ("validation accuracy", write.accuracy),
    "energy_value": ("raw energy", write.number),
    "energy_gauge_fixed": ("gauge-fixed energy", write.number),
    "zero_fraction": ("zero activations", write.fraction),
    "silent_fraction": ("silent units", write.fraction),
}


def run_table(findings: Findings) -> str:
    """Return the recorded runs, folded; the first ones only where there are many."""
    runs: Sequence[dict[str, Any]] = findings["runs"]
    if not runs:
        return ""
    gauged = any(run["energy_gauge_fixed"] is not None for run in runs)
    numbers = [name for name in RUN_NUMBERS if gauged or name != "energy_gauge_fixed"]
    fixed = {"run_id", "status", "lam", "seed", "error", *RUN_NUMBERS}
    factors = [name for name in runs[0] if name not in fixed]
    rows = [
        run_row(f"runs.{index}", run, factors, numbers)
        for index, run in enumerate(runs[:RUNS_SHOWN])
    ]
    headings = ["run", "status", *factors, "\u03bb", "seed"]
    headings += [*(RUN_NUMBERS[name][0] for name in numbers), "error"]
    shown = min(len(runs), RUNS_SHOWN)
    note = (
        f"The first {shown:,} of {len(runs):,} runs; the journal has all."
        if shown < len(runs)
        else ""
    )
    plural = "" if len(runs) == 1 else "s"
    summary = f"{len(runs):,} recorded run{plural}"
    return details(summary, "runs", table(summary, headings, rows, path="runs", note=note))


def run_row(
    at: str, run: dict[str, Any], factors: Sequence[str], numbers: Sequence[str]
) -> list[str]:
    """Return one run's row."""
    return [
        cell(f"{at}.run_id", run["run_id"], kind="hash"),
        cell(f"{at}.status", run["status"]),
        *(cell(f"{at}.{name}", plain(run[name])) for name in factors),
        cell(f"{at}.lam", write.lam(run["lam"])),
        cell(f"{at}.seed", str(run["seed"])),
        *(
            cell(f"{at}.{name}", write.optional(run[name], RUN_NUMBERS[name][1]))
            for name in numbers
        ),
        cell(f"{at}.error", run["error"] or "", kind="text"),
    ]


def plain(level: object) -> str:
    """Return a factor level as text."""
    return f"{level:g}" if isinstance(level, float) else str(level)


def provenance_table(findings: Findings) -> str:
    """Return the conditions the runs were made under; nothing before the first run."""
    rows = [
        [
            row_heading(f"provenance.{index}.condition", entry["condition"]),
            cell(f"provenance.{index}.value", entry["value"], kind="hash"),
            cell(f"provenance.{index}.runs", write.count(entry["runs"])),
        ]
        for index, entry in enumerate(findings["provenance"])
    ]
    columns = ["condition", "value", "runs"]
    return table("Conditions", columns, rows, path="provenance") if rows else ""


def timing_content(findings: Findings) -> str:
    """Return the time taken, which alone differs between two executions of a study."""
    timing = findings["timing"]
    if not timing["by_group"]:
        return ""
    totals = [
        [row_heading(f"timing.{key}", name), cell(f"timing.{key}", text)]
        for key, name, text in (
            (
                "train_seconds",
                "training, all runs together",
                write.duration(timing["train_seconds"]),
            ),
            ("workers", "workers", write.count(timing["workers"])),
            ("first_started", "first run started", timing["first_started"] or write.ABSENT),
            ("last_started", "last run started", timing["last_started"] or write.ABSENT),
        )
    ]
    groups = [
        [
            row_heading(f"timing.by_group.{index}.dataset", one["dataset"]),
            cell(f"timing.by_group.{index}.model", one["model"], kind="text"),
            cell(f"timing.by_group.{index}.runs", write.count(one["runs"])),
            cell(f"timing.by_group.{index}.mean_seconds", write.duration(one["mean_seconds"])),
        ]
        for index, one in enumerate(timing["by_group"])
    ]
    columns = ["data set", "model", "runs", "mean"]
    return table("Time taken", ["", ""], totals, path="timing") + table(
        "Mean training time of a run", columns, groups, path="timing.by_group"
    )
