"""The tables of the page on runs and conditions, every cell bound to the path of its finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import MEASURED, STATUSES
from minaction.report.markup import cell, details, row_heading, table
from minaction.report.tables import Findings

RUNS_SHOWN = 500
"""Rows of the run table on the page; the embedded findings have all."""


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
    "shadow_price": ("multiplier found", write.lam_found),
    "zero_fraction": ("zero activations", write.fraction),
    "silent_fraction": ("silent units", write.fraction),
}


def run_table(findings: Findings) -> str:
    """Return the recorded runs, folded; the first ones only where there are many."""
    runs: Sequence[dict[str, Any]] = findings["runs"]
    if not runs:
        return ""
    searched = any(run["shadow_price"] is not None for run in runs)
    numbers = [name for name in RUN_NUMBERS if searched or name != "shadow_price"]
    fixed = {"run_id", "status", "lam", "seed", "error", "gauge_missing", "energy_value", *MEASURED}
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
        *(cell(f"{at}.{name}", run_number(run, name)) for name in numbers),
        cell(f"{at}.error", run["error"] or "", kind="text"),
    ]


def run_number(run: dict[str, Any], name: str) -> str:
    """Return one of a run's numbers as text, or what there is to say in its place."""
    if name == "energy_gauge_fixed" and run["gauge_missing"]:
        return run["gauge_missing"]
    return write.optional(run[name], RUN_NUMBERS[name][1])


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
