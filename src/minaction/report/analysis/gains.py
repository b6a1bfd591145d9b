"""Training efficiency of a study, where its design and its histories allow the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from minaction.data.sources import source_of
from minaction.errors import InputError
from minaction.report.efficiency import CONVENTIONAL, efficiency
from minaction.report.frame import MISSING
from minaction.study.design import RunConfig, run_id, runs
from minaction.study.journal import Record
from minaction.study.study_file import Study

NOTHING: dict[str, Any] = {"targets": [], "costs": [], "gains": []}


def training_efficiency(study: Study, frame: pd.DataFrame, found: Sequence[Record]) -> dict:
    """Return targets, costs and gains as `report.efficiency` has them, or the `reason` why not.

    Runs at lambda 0 of the study's crossing count, budgets' baselines do not.

    Args:
        study: The study file.
        frame: From `run_frame`.
        found: The latest record of each run.
    """
    if reason := why_none(study, frame):
        return {"reason": reason, **NOTHING}
    configs: dict[str, RunConfig] = {run_id(config): config for config in runs(study)}
    planned = [
        replace(record, config=dict(configs[record.run_id]))
        for record in found
        if record.run_id in configs
    ]
    modalities = {name: str(source_of(name).modality) for name in study.factors.dataset}
    try:
        return {"reason": "", **efficiency(planned, modalities)}
    except InputError as error:
        return {"reason": str(error), **NOTHING}


def why_none(study: Study, frame: pd.DataFrame) -> str:
    """Return why no model's costs can be compared with a conventional one's, or an empty string."""
    if 0.0 not in study.factors.lam:
        return "the study has no lambda 0, at which costs are compared"
    models = set(study.factors.model)
    if not models & set(CONVENTIONAL):
        return f"the study has no conventional model ({', '.join(CONVENTIONAL)})"
    if not models - set(CONVENTIONAL):
        return "the study has conventional models only, none to compare with them"
    if set(frame["status"]) == {MISSING}:
        return "no run is done"
    return ""
