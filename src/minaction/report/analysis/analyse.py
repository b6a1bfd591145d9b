"""A study's analysis as one JSON-able value, computed from its journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from minaction.errors import JournalError
from minaction.report.analysis.architecture import architecture_verdict
from minaction.report.analysis.cautions import cautions
from minaction.report.analysis.crossing import Crossing, find_crossing, levels_of
from minaction.report.analysis.efficiency_gains import efficiency_verdict
from minaction.report.analysis.energy import energy_verdict
from minaction.report.analysis.factorial import BLOCKS, SS_TYPE, factorial_tables
from minaction.report.analysis.gains import training_efficiency
from minaction.report.analysis.posthoc import letter_displays
from minaction.report.frame import outside_design, run_frame
from minaction.report.headlines import progress
from minaction.report.lambda_table import lambda_tables
from minaction.report.provenance import provenance
from minaction.report.tables import counts
from minaction.study.directory import load_study_directory
from minaction.study.journal import JOURNAL_NAME, Record, latest_records
from minaction.study.study_file import Study

SCHEMA = 1
"""Version of the analysis."""

FRACTIONS = ("test_accuracy", "val_accuracy", "zero_fraction", "silent_fraction")

Analysis = dict[str, Any]
"""Strings, numbers, null, lists and dicts only; the keys are those `compute_analysis` names."""


def analyse(directory: str | Path) -> Analysis:
    """Analyse the study of a directory; see `compute_analysis`.

    Raises:
        StudyDirectoryError, StudyFileError, JournalError: The study cannot be read.
    """
    study, records = load_study_directory(directory), latest_records(directory)
    try:
        return compute_analysis(study, records)
    except JournalError as error:
        raise JournalError(f"{Path(directory) / JOURNAL_NAME}: {error}") from None


def compute_analysis(study: Study, records: Sequence[Record]) -> Analysis:
    """Compute the statistics of a study.

    What cannot be computed has a `reason` in its place. The same study and records give the same
    value, whatever the order of the records.

    Args:
        study: The study file, frozen.
        records: The latest record of each run.

    Returns:
        `schema`; `study`, its name, seeds and rule; `progress`, a sentence; `counts`, runs by
        status; `findings`, the verdicts on the reference study's three; `warnings`, sentences;
        `crossing`, which runs the factorial tables are made of; `factorial`, see
        `factorial_tables`; `lambda_tables`, without layers; `efficiency`, see
        `training_efficiency`; `posthoc`, see `letter_displays`; `outside_design`, records of no
        planned run. Fractions are fractions, names ending in `_pp` and `_percent` are percentage
        points and percent.

    Raises:
        JournalError: A run has a share that is no fraction.
    """
    records = sorted(records, key=lambda record: record.run_id)
    frame = run_frame(study, records)
    require_fractions(frame)
    strangers = outside_design(frame, records)
    stray = {record.run_id for record in strangers}
    planned = [record for record in records if record.run_id not in stray]
    crossing = find_crossing(study, frame)
    rule = {name: getattr(study.analysis, name) for name in ("margin", "alpha", "rule")}
    analysis: Analysis = {
        "schema": SCHEMA,
        "study": {"name": study.name, "seeds": study.seeds, **rule},
        "progress": "",
        "counts": counts(frame),
        "findings": [],
        "warnings": [],
        "crossing": crossing_summary(crossing),
        "factorial": factorial_tables(crossing),
        "lambda_tables": lambda_tables(frame, None, **rule),
        "efficiency": training_efficiency(study, frame, planned),
        "posthoc": letter_displays(frame.loc[frame["lam"].isin(list(study.factors.lam)), :]),
        "outside_design": [
            {"run_id": record.run_id, "status": str(record.status)} for record in strangers
        ],
    }
    analysis["progress"] = progress(analysis["counts"])
    verdicts = (
        architecture_verdict(study, analysis["factorial"]),
        energy_verdict(study, analysis["lambda_tables"]),
        efficiency_verdict(study, analysis["efficiency"]),
    )
    analysis["findings"] = [verdict.to_dict() for verdict in verdicts]
    analysis["warnings"] = cautions(analysis, crossing, provenance(planned))
    return json.loads(json.dumps(analysis, allow_nan=False))


def require_fractions(frame: pd.DataFrame) -> None:
    """Refuse a journal that has a share below 0 or above 1: what else it says is in doubt."""
    for name in FRACTIONS:
        beyond = frame.loc[(frame[name] < 0) | (frame[name] > 1), ["run_id", name]]
        for run, value in beyond.itertuples(index=False, name=None):
            raise JournalError(
                f"run {run}: {name} is {value:g}, expected a fraction from 0 to 1; restore "
                "the file from a copy, or delete the run's line and it will be done again"
            )


def crossing_summary(crossing: Crossing) -> dict[str, Any]:
    """Return what the factorial tables are made of."""
    used = crossing.used
    return {
        "runs": len(used),
        "levels": {name: levels_of(used, name) for name in crossing.factors},
        "only": crossing.only,
        "left_out": crossing.left_out,
        "blocks": BLOCKS,
        "ss_type": SS_TYPE,
        "reason": crossing.reason,
    }
