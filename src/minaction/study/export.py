"""Exporting a journal: one row or one record per run, the gauge-fixed energy always among it.

Runs come sorted by their ids, and none of it takes more memory where there are more of them.
"""

from __future__ import annotations

import contextlib
import csv
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from minaction.study.gauge_fields import REASON, VALUE, gauge_fixed
from minaction.study.journal import last_records
from minaction.study.record import Record
from minaction.study.sorted_rows import SortedRows

_BITS = 63


def write_json(directory: str | Path, file: TextIO) -> None:
    """Write the last record of every run as a JSON array.

    Where a record with metrics has no gauge-fixed energy, null and the reason stand there.

    Raises:
        JournalError: The journal cannot be read.
        StorageError: There is no room for temporary files.
    """
    with SortedRows() as rows:
        for record in last_records(directory):
            metrics = None if record.metrics is None else stated_metrics(record)
            rows.add(record.run_id, {**vars(record), "metrics": metrics})
        before = "["
        for row in rows:
            text = json.dumps(row, indent=1, sort_keys=True, allow_nan=False)
            file.write(f"{before}\n{textwrap.indent(text, ' ')}")
            before = ","
        file.write("[]\n" if before == "[" else "\n]\n")


def write_csv(directory: str | Path, file: TextIO) -> None:
    """Write one row per run: id, status, configuration, metrics, error.

    Columns of configuration and metrics keep their names, in alphabetical order; a missing value
    is an empty cell. Where `energy_gauge_fixed` is empty `energy_gauge_fixed_reason` says why.

    Raises:
        JournalError: The journal cannot be read.
        StorageError: There is no room for temporary files.
    """
    with RunTable(directory) as table:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        for row in table:
            writer.writerow([row.get(name) for name in table.columns])


class RunTable:
    """One row per run, sorted by id; a context manager.

    Attributes:
        columns: `run_id`, `status`, configuration, metrics, `error`. A metric that shares its name
            with a setting is called `measured_...`.
        types: Types of the values of each column, None aside; `object` for whole numbers that 64
            bits do not hold.

    Raises:
        JournalError: On entering, if the journal cannot be read.
        StorageError: On entering, if there is no room for temporary files.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = directory
        self._config: dict[str, set[type]] = {}
        self._metrics: dict[str, set[type]] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entering:
            self._rows = entering.enter_context(SortedRows())
            for record in last_records(self._directory):
                metrics = stated_metrics(record)
                _note_types(self._config, record.config)
                _note_types(self._metrics, metrics)
                fixed = {"run_id": record.run_id, "status": record.status, "error": record.error}
                self._rows.add(record.run_id, [fixed, record.config, metrics])
            self._open = entering.pop_all()
        self.types = {"run_id": {str}, "status": {str}}
        self.types |= {name: self._config[name] for name in sorted(self._config)}
        self.types |= {self._named(name): self._metrics[name] for name in sorted(self._metrics)}
        self.types["error"] = {str}
        self.columns = list(self.types)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for fixed, config, metrics in self._rows:
            named = {self._named(name): value for name, value in metrics.items()}
            yield {**config, **named, **fixed}

    def _named(self, metric: str) -> str:
        return f"measured_{metric}" if metric in self._config else metric


def stated_metrics(record: Record) -> dict[str, Any]:
    """Return a run's metrics, its gauge-fixed energy or the reason why it has none among them."""
    value, reason = gauge_fixed(record)
    return {**(record.metrics or {}), VALUE: value, REASON: reason}


def _note_types(types: dict[str, set[type]], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        found = types.setdefault(name, set())
        if isinstance(value, int) and value.bit_length() > _BITS:
            found.add(object)
        elif value is not None:
            found.add(type(value))
