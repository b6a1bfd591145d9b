"""The run table of the page: every recorded run, to sort, filter, search and open by its script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


Numbers = Mapping[str, tuple[str, write.Formatter]]
"""Columns that show numbers: heading and writer by the key of a row."""


def run_section(findings: Findings, numbers: Numbers = RUN_NUMBERS) -> str:
    """Return the recorded runs; nothing before the first one.

    Row i is `runs.i` of the findings, which the page's script sorts and filters by. A cell is bound
    to the `data-row` of its row and the `data-key` of its heading, for thousands of runs are short.
    """
    runs: Sequence[dict[str, Any]] = findings["runs"]
    if not runs:
        return ""
    columns = run_columns(runs, numbers)
    head = "".join(
        f'<th scope="col" data-key="{escape(key)}">{escape(name)}</th>'
        for key, name in columns.items()
    )
    body = "\n".join(
        f'<tr data-row="runs.{index}"{"" if index < RUNS_SHOWN else " hidden"}>'
        f"{run_row(run, columns, numbers)}</tr>"
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


def run_columns(runs: Sequence[dict[str, Any]], numbers: Numbers) -> dict[str, str]:
    """Return the headings of the table by the key of what is below them."""
    searched = any(run.get("shadow_price") is not None for run in runs)
    shown = {key: name for key, (name, _) in numbers.items() if searched or key != "shadow_price"}
    fixed = {"run_id", "status", "lam", "seed", "error", "gauge_missing", "energy_value", *MEASURED}
    fixed |= set(numbers)
    factors = {name: name.replace("_", " ") for name in runs[0] if name not in fixed}
    return {
        "run_id": "run",
        "status": "status",
        **factors,
        "lam": "\u03bb",
        "seed": "seed",
        **shown,
        "error": "error",
    }


def run_row(run: dict[str, Any], columns: dict[str, str], numbers: Numbers) -> str:
    """Return the cells of one run."""
    kinds = {"run_id": ' class="hash"', "error": ' class="text"'}
    return "".join(
        f"<td{kinds.get(key, '')}>{escape(run_text(run, key, numbers))}</td>" for key in columns
    )


def run_text(run: dict[str, Any], key: str, numbers: Numbers) -> str:
    """Return one of a run's values as text, or what there is to say in its place."""
    if key == "lam":
        return write.lam(run[key])
    if key == "error":
        return run[key] or ""
    if key == "energy_gauge_fixed" and run["gauge_missing"]:
        return run["gauge_missing"]
    if key in numbers:
        return write.optional(run[key], numbers[key][1])
    if run[key] is None:
        return write.ABSENT
    return f"{run[key]:g}" if isinstance(run[key], float) else str(run[key])
