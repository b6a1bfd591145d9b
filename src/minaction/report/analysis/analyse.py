"""A study's analysis as one JSON-able value, computed from its journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.report.analysis.statistics import statistics
from minaction.report.counts import counts
from minaction.report.frame import naming_journal, outside_design, run_frame
from minaction.report.headlines import progress
from minaction.report.lambda_table import lambda_tables
from minaction.report.provenance import provenance
from minaction.study.directory import load_study_directory
from minaction.study.journal import Record, latest_records
from minaction.study.measurements import Measurement, read_measurements
from minaction.study.study_file import Study

SCHEMA = 1
"""Version of the analysis."""

ORDER = (
    *("counts", "findings", "warnings", "crossing", "factorial", "lambda_tables", "efficiency"),
    *("posthoc", "proxies", "outside_design"),
)
"""Of an analysis, after what it is about."""

Analysis = dict[str, Any]
"""Strings, numbers, null, lists and dicts only; the keys are those `compute_analysis` names."""


def analyse(directory: str | Path) -> Analysis:
    """Analyse the study of a directory; see `compute_analysis`.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
    """
    study, records = load_study_directory(directory), latest_records(directory)
    measurements = read_measurements(directory)
    with naming_journal(directory):
        return compute_analysis(study, records, measurements)


def compute_analysis(
    study: Study, records: Sequence[Record], measurements: Sequence[Measurement] = ()
) -> Analysis:
    """Compute the statistics of a study.

    What cannot be computed has a `reason` in its place. The same study and records give the same
    value, whatever the order of the records.

    Args:
        study: The study file, frozen.
        records: The latest record of each run.
        measurements: What networks were measured to cost.

    Returns:
        `schema`; `study`, its name, seeds and rule; `progress`, a sentence; `counts`, runs by
        status; `lambda_tables`, without layers; `outside_design`, records of no planned run; and
        what `statistics` returns. Fractions are fractions, names ending in `_pp` and `_percent` are
        percentage points and percent.

    Raises:
        JournalError: A run has a share that is no fraction.
    """
    frame = run_frame(study, records)
    strangers = outside_design(frame, records)
    stray = {record.run_id for record in strangers}
    planned = sorted((r for r in records if r.run_id not in stray), key=lambda r: r.run_id)
    rule = {name: getattr(study.analysis, name) for name in ("margin", "alpha", "rule")}
    known = {
        "counts": counts(frame),
        "lambda_tables": lambda_tables(frame, None, **rule),
        "outside_design": [
            {"run_id": record.run_id, "status": str(record.status)} for record in strangers
        ],
    }
    provenances = {**known, "provenance": provenance(planned)}
    found = known | statistics(study, frame, planned, provenances, measurements)
    analysis: Analysis = {
        "schema": SCHEMA,
        "study": {"name": study.name, "seeds": study.seeds, **rule},
        "progress": progress(known["counts"]),
        **{name: found[name] for name in ORDER if name in found},
    }
    return json.loads(json.dumps(analysis, allow_nan=False))
