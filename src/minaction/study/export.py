"""Exporting a journal: one row or one record per run, the gauge-fixed energy always among it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minaction.study.gauge_fields import REASON, VALUE, gauge_fixed
from minaction.study.journal import Record, latest_records


def as_json(directory: str | Path) -> str:
    """Return the last record of every run as a JSON array.

    Where a record with metrics has no gauge-fixed energy, null and the reason stand there.
    """
    records = [
        {
            **asdict(record),
            "status": str(record.status),
            "metrics": None if record.metrics is None else stated_metrics(record),
        }
        for record in latest_records(directory)
    ]
    return json.dumps(records, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_csv(directory: str | Path) -> str:
    """Return one row per run: id, status, configuration, metrics, error.

    Columns of configuration and metrics keep their names, metrics in alphabetical order; a missing
    value is an empty cell. Where `energy_gauge_fixed` is empty `energy_gauge_fixed_reason` says
    why.
    """
    records = latest_records(directory)
    measured = [stated_metrics(record) for record in records]
    config = _union(list(r.config) for r in records)
    metrics = sorted(_union(list(values) for values in measured))
    # a metric that shares its name with a setting is told apart
    named = {m: f"measured_{m}" if m in config else m for m in metrics}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run_id", "status", *config, *named.values(), "error"])
    for record, values in zip(records, measured, strict=True):
        writer.writerow(
            [
                record.run_id,
                str(record.status),
                *(record.config.get(key) for key in config),
                *(values.get(key) for key in metrics),
                record.error,
            ]
        )
    return text.getvalue()


def stated_metrics(record: Record) -> dict[str, Any]:
    """Return a run's metrics, its gauge-fixed energy or the reason why it has none among them."""
    value, reason = gauge_fixed(record)
    return {**(record.metrics or {}), VALUE: value, REASON: reason}


def _union(names: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for row in names for name in row))
