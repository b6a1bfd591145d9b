"""From records to one table: a row for every run the study plans, done or not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from minaction.study.design import RunConfig, run_id, runs
from minaction.study.journal import Record, RunStatus
from minaction.study.study_file import Study

MISSING = "missing"
"""Status of a planned run that has no record yet."""
STATUSES = (*(str(status) for status in RunStatus), MISSING)

GROUP = ("dataset", "model", "energy")
"""Factors that always name a lambda curve."""

MEASURED = (
    "test_accuracy",
    "val_accuracy",
    "zero_fraction",
    "silent_fraction",
    "energy_gauge_fixed",
)
"""Metrics that become columns under their own names; `energy_value` stands beside them."""


def run_frame(study: Study, records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per planned run, in the order of the design.

    Columns: `run_id`, the run's configuration, `status` (`missing` without a record), `error`,
    the metrics of `MEASURED` and `energy_value`, the internal energy (dimensionless) that the run
    was trained with, as float64, NaN where a run has none.
    """
    found = {record.run_id: record for record in records}
    planned = [(run_id(config), config) for config in runs(study)]
    rows = [run_row(name, config, found.get(name)) for name, config in planned]
    return pd.DataFrame(rows)


def run_row(name: str, config: RunConfig, record: Record | None) -> dict[str, Any]:
    """Return one planned run's row; see `run_frame`."""
    metrics = (record.metrics if record else None) or {}
    row: dict[str, Any] = {"run_id": name, **config}
    row["status"] = str(record.status) if record else MISSING
    row["error"] = record.error if record else None
    row |= {metric: finite(metrics.get(metric)) for metric in MEASURED}
    row["energy_value"] = finite(metrics.get(energy_metric(config["energy"])))
    return row


def energy_metric(energy: str) -> str:
    """Return the name of the metric that holds an energy of the catalogue."""
    return "energy_" + energy.replace("-", "_")


def finite(value: object) -> float:
    """Return a metric as a float, NaN where it is missing or no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


def outside_design(frame: pd.DataFrame, records: Sequence[Record]) -> list[Record]:
    """Return the records that belong to no planned run, sorted by run id."""
    planned = set(frame["run_id"])
    return sorted((r for r in records if r.run_id not in planned), key=lambda r: r.run_id)


def grouping(frame: pd.DataFrame) -> list[str]:
    """Return the columns that name a lambda curve: `GROUP` and every other factor that varies."""
    fixed = {*GROUP, "lam", "seed"}
    settings = [name for name in RunConfig.__annotations__ if name not in fixed]
    return [*GROUP, *(name for name in settings if len(set(frame[name])) > 1)]


def status_counts(runs_of: pd.DataFrame) -> dict[str, int]:
    """Return how many runs of a table have each status, every status named."""
    counted = Counter(runs_of["status"])
    return {status: counted[status] for status in STATUSES}
