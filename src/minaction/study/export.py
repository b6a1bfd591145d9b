"""Exporting a journal: one row or one record per run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from minaction.study.journal import latest_records


def as_json(directory: str | Path) -> str:
    """Return the last record of every run as a JSON array."""
    records = [{**asdict(r), "status": str(r.status)} for r in latest_records(directory)]
    return json.dumps(records, indent=1, sort_keys=True, allow_nan=False) + "\n"


def as_csv(directory: str | Path) -> str:
    """Return one row per run: id, status, configuration, metrics, error.

    Columns of configuration and metrics keep their names; a missing value is an empty cell.
    """
    records = latest_records(directory)
    config = _union(list(r.config) for r in records)
    metrics = _union(list(r.metrics or {}) for r in records)
    # a metric that shares its name with a setting is told apart
    named = {m: f"measured_{m}" if m in config else m for m in metrics}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run_id", "status", *config, *named.values(), "error"])
    for record in records:
        values = record.metrics or {}
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


def _union(names: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for row in names for name in row))
