"""The tables of the page on runs and conditions, every cell bound to the path of its finding."""

from __future__ import annotations

from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import STATUSES
from minaction.report.markup import cell, row_heading, table
from minaction.report.tables import Findings


def breakdown_tables(findings: Findings) -> str:
    """Return the number of runs by status: over all, by modality, by data set and by model."""
    counts = findings["counts"]
    columns = ["", "planned", *STATUSES]
    rows = [count_row("counts", {"level": "all", **counts})]
    for part in ("by_modality", "by_dataset", "by_model"):
        rows += [count_row(f"counts.{part}.{i}", one) for i, one in enumerate(counts[part])]
    return table("Runs by status, modality, data set and model", columns, rows, path="counts")


def count_row(at: str, one: dict[str, Any]) -> list[str]:
    """Return one row of the table of counts."""
    return [
        row_heading(f"{at}.level", one["level"]),
        cell(f"{at}.planned", write.count(one["planned"])),
        *(cell(f"{at}.statuses.{s}", write.count(one["statuses"][s])) for s in STATUSES),
    ]


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
