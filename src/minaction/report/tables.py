"""The findings: every number of the page as one JSON-able value, computed from the records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from minaction.report import formatting as write
from minaction.report.analysis.statistics import statistics
from minaction.report.comparison import in_two_words
from minaction.report.counts import counts
from minaction.report.frame import (
    MEASURED,
    MISSING,
    grouping,
    outside_design,
    run_frame,
)
from minaction.report.fronts import pareto_fronts
from minaction.report.headlines import headlines
from minaction.report.lambda_table import lambda_tables
from minaction.report.provenance import provenance, timing
from minaction.report.target_costs import target_costs
from minaction.report.training import training_curves
from minaction.study.journal import Record
from minaction.study.measurements import Measurement
from minaction.study.study_file import Study

Findings = dict[str, Any]
"""Strings, numbers, null, lists and dicts only; the keys are those `compute_findings` names."""

SCHEMA = 5
"""Version of the findings, and so of what a stored page is compared with."""


def compute_findings(
    study: Study, records: Sequence[Record], measurements: Sequence[Measurement] = ()
) -> Findings:
    """Compute everything the page says.

    The same study and records give the same value, in the same order, whatever the order of the
    records. What differs between two executions of a study is in `timing`, and the seconds of
    costs to target and of training efficiency.

    Args:
        study: The study file, frozen.
        records: The latest record of each run.
        measurements: What networks were measured to cost.

    Returns:
        `schema`; `study` (its name, rule and hashes); `headlines` and `warnings`, sentences;
        `counts`, runs by status, over all and by modality, data set and model; `lambda_tables`, see
        `lambda_tables`; `analysis`, what `statistics` returns but for its warnings;
        `pareto` and `target_costs`, see `pareto_fronts` and `target_costs`; `training`, see
        `training_curves`; `gauge`, how many of the `ok` runs have a gauge-fixed energy and the
        largest relative change of an output that gauge fixing caused; `runs`, one row per recorded
        run; `outside_design`, records of no planned run; `provenance`; `timing`. Fractions are
        fractions, names ending in `_pp` and `_percent` are percentage points and percent.

    Raises:
        JournalError: A run has a share that is no fraction.
    """
    frame = run_frame(study, records)
    strangers = outside_design(frame, records)
    stray_ids = {record.run_id for record in strangers}
    planned = sorted((r for r in records if r.run_id not in stray_ids), key=lambda r: r.run_id)
    analysis = study.analysis
    findings: Findings = {
        "schema": SCHEMA,
        "study": study_summary(study),
        "headlines": [],
        "warnings": [],
        "counts": counts(frame),
        "lambda_tables": lambda_tables(
            frame,
            planned,
            margin=analysis.margin,
            alpha=analysis.alpha,
            rule=analysis.rule,
        ),
        "analysis": {},
        "pareto": pareto_fronts(frame),
        "target_costs": target_costs(frame, planned),
        "training": training_curves(frame, planned),
        "gauge": gauge_summary(frame),
        "runs": run_rows(frame),
        "outside_design": [
            {"run_id": record.run_id, "status": str(record.status)} for record in strangers
        ],
        "provenance": provenance(planned),
        "timing": timing(planned),
    }
    found = statistics(study, frame, planned, findings, measurements)
    findings["warnings"] = found.pop("warnings")
    findings["analysis"] = found
    findings["headlines"] = headlines(findings)
    return json.loads(json.dumps(findings, allow_nan=False))


def study_summary(study: Study) -> dict[str, Any]:
    """Return what the page says about the study file."""
    return {
        "name": study.name,
        "description": study.study.description,
        "seeds": study.seeds,
        "rule": study.analysis.rule,
        "margin": study.analysis.margin,
        "alpha": study.analysis.alpha,
        "study_sha256": study.sha256,
        "analysis_sha256": study.analysis_sha256,
        "file": study.to_toml(),
    }


def gauge_summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Return how many of the `ok` runs have a gauge-fixed energy, and how exact it was."""
    done = frame.loc[frame["status"] == "ok", :]
    difference = done["gauge_output_difference"].max()
    return {
        "runs": int(done["energy_gauge_fixed"].notna().sum()),
        "of": len(done),
        "max_output_difference": None if pd.isna(difference) else float(difference),
    }


def run_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the recorded runs in the order of the design, NaN as null.

    `gauge_missing` says in two words why an `ok` run has no gauge-fixed energy.
    """
    columns = ["run_id", "status", *grouping(frame), "lam", "seed", "energy_value", *MEASURED]
    recorded = frame.loc[frame["status"] != MISSING, [*columns, "gauge_reason", "error"]]
    rows = recorded.astype(object).where(recorded.notna(), None).to_dict("records")
    return [run_row({str(key): value for key, value in row.items()}) for row in rows]


def run_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return one recorded run as the findings keep it."""
    reason = row.pop("gauge_reason")
    missing = in_two_words([reason]) if reason and row["status"] == "ok" else ""
    return row | {"error": write.short(row["error"]), "gauge_missing": missing}
