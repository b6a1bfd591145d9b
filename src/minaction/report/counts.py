"""How many runs of a study have each status, over all and by its factors."""

from __future__ import annotations

from typing import Any

import pandas as pd

from minaction.report.frame import MISSING, modalities, status_counts
from minaction.study.journal import RunStatus


def counts(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the number of runs by status, and the same by modality, data set and model."""
    statuses = status_counts(frame)
    return {
        "planned": len(frame),
        "done": len(frame) - statuses[MISSING] - statuses[RunStatus.FAILED],
        "recorded": len(frame) - statuses[MISSING],
        "statuses": statuses,
        "by_modality": breakdown(frame.assign(modality=modalities(frame)), "modality"),
        "by_dataset": breakdown(frame, "dataset"),
        "by_model": breakdown(frame, "model"),
    }


def breakdown(frame: pd.DataFrame, factor: str) -> list[dict[str, Any]]:
    """Return the number of runs by status for each level of a factor."""
    return [
        {"level": str(level), "planned": len(group), "statuses": status_counts(group)}
        for level, group in frame.groupby(factor, sort=False)
    ]
