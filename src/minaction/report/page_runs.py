"""The run table of the page: every recorded run, to sort, filter, search and open by its script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import MEASURED
from minaction.report.markup import element, escape
from minaction.report.tables import Findings

RUNS_SHOWN = 100
"""Rows that are laid out at first; the page's script shows the others on demand."""

RUN_NUMBERS: dict[str, tuple[str, write.Formatter]] = {
    "test_accuracy": ("test accuracy", write.accuracy),
    "val_accuracy": ("validation accuracy", write.accuracy),
    "energy_value": ("raw energy", write.number),
    "energy_gauge_fixed": ("gauge-fixed energy", write.number),
    "shadow_price": ("multiplier found", write.lam_found),
    "zero_fraction": ("zero activations", write.fraction),
    "silent_fraction": ("silent units", write.fraction),
}

HELP = (
    "Headings sort the table; a run's name opens its record: configuration, metrics, layers, "
    "history, provenance. Printed are the rows that are shown."
)


def run_section(findings: Findings) -> str:
    """Return the recorded runs; nothing before the first one.

    Row i is `runs.i` of the findings, which the page's script sorts and filters by. A cell is bound
    to the `data-row` of its row and the `data-key` of its heading, for thousands of runs are short.
    """
    runs: Sequence[dict[str, Any]] = findings["runs"]
    if not runs:
        return ""
    columns = run_columns(runs)
    head = "".join(
        f'<th scope="col" data-key="{escape(key)}">{escape(name)}</th>'
        for key, name in columns.items()
    )
    body = "\n".join(
        f'<tr data-row="runs.{index}"{"" if index < RUNS_SHOWN else " hidden"}>'
        f"{run_row(run, columns)}</tr>"
        for index, run in enumerate(runs)
    )
    plural = "" if len(runs) == 1 else "s"
    caption = element("caption", "runs", f"{len(runs):,} recorded run{plural}")
    return (
        f"{element('p', 'runs', HELP, 'note')}\n"
        '<form id="run-filters" class="filters" role="search" aria-label="Runs" hidden></form>\n'
        '<div class="scroll tall" role="region" tabindex="0" aria-label="Recorded runs">\n'
        f'<table id="run-table">\n{caption}\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
        '<p id="run-count" class="note" role="status"></p>\n'
        '<p><button type="button" id="run-more" hidden></button></p>\n'
        '<dialog id="record" aria-labelledby="record-title"></dialog>\n'
    )


def run_columns(runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the headings of the table by the key of what is below them."""
    searched = any(run["shadow_price"] is not None for run in runs)
    numbers = {
        key: name for key, (name, _) in RUN_NUMBERS.items() if searched or key != "shadow_price"
    }
    fixed = {"run_id", "status", "lam", "seed", "error", "gauge_missing", "energy_value", *MEASURED}
    factors = {name: name.replace("_", " ") for name in runs[0] if name not in fixed}
    return {
        "run_id": "run",
        "status": "status",
        **factors,
        "lam": "\u03bb",
        "seed": "seed",
        **numbers,
        "error": "error",
    }


def run_row(run: dict[str, Any], columns: dict[str, str]) -> str:
    """Return the cells of one run."""
    kinds = {"run_id": ' class="hash"', "error": ' class="text"'}
    return "".join(f"<td{kinds.get(key, '')}>{escape(run_text(run, key))}</td>" for key in columns)


def run_text(run: dict[str, Any], key: str) -> str:
    """Return one of a run's values as text, or what there is to say in its place."""
    if key == "lam":
        return write.lam(run[key])
    if key == "error":
        return run[key] or ""
    if key == "energy_gauge_fixed" and run["gauge_missing"]:
        return run["gauge_missing"]
    if key in RUN_NUMBERS:
        return write.optional(run[key], RUN_NUMBERS[key][1])
    return f"{run[key]:g}" if isinstance(run[key], float) else str(run[key])
