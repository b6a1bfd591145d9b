"""The table of a study with one lambda, every cell bound to its finding's path."""

from __future__ import annotations

from minaction.report import formatting as write
from minaction.report.lambda_table import AGAINST_ZERO
from minaction.report.markup import cell, element, row_heading, table
from minaction.report.page_lambda import (
    GAUGE_NOTE,
    HEADINGS,
    MEANS,
    QUANTITIES,
    exactness,
    interval_cell,
    layer_details,
    missing_notes,
    status_cell,
)
from minaction.report.tables import Findings


def group_section(findings: Findings) -> str:
    """Return one row for each group, and its layers folded below."""
    tables = findings["lambda_tables"]
    notes = [f"{MEANS} {QUANTITIES}", GAUGE_NOTE + exactness(findings["gauge"])]
    parts = [
        *(element("p", "lambda_tables", text, "note") for text in notes),
        group_table(findings),
    ]
    for index, one in enumerate(tables):
        missing = missing_notes(
            f"lambda_tables.{index}.gauge_missing", one["gauge_missing"], f"{one['label']}: "
        )
        parts += [*missing, layer_details(index, one)]
    return "\n".join(parts)


def group_table(findings: Findings) -> str:
    """Return the means of every group."""
    tables = findings["lambda_tables"]
    shown = {name for one in tables for name in one["rows"][0]}
    columns = [name for name in HEADINGS if name in shown and name not in AGAINST_ZERO]
    rows = []
    for index, one in enumerate(tables):
        at, (row,) = f"lambda_tables.{index}.rows.0", one["rows"]
        cells = [
            row_heading(f"lambda_tables.{index}.label", one["label"]),
            cell(f"{at}.lam", write.lam(row["lam"])),
            status_cell(at, row),
        ]
        cells += [
            interval_cell(f"{at}.{name}", row[name], name, expected=row["statuses"]["ok"])
            if name in row
            else cell(f"{at}.{name}", write.ABSENT)
            for name in columns
        ]
        rows.append(cells)
    headings = ["group", "\u03bb", "runs", *(HEADINGS[name] for name in columns)]
    return table("Means of each group", headings, rows, path="lambda_tables")
