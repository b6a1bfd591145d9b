"""What the networks of a study were measured to cost: `DIR/measurements.jsonl`. Imports no torch.

Append-only, one line of canonical JSON for each time a network was measured, on the disk before the
next one is. Every line tells where it was measured, and all of a file are from one place.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from io import FileIO
from pathlib import Path
from typing import Any, Self

from minaction.errors import InputError, JournalError
from minaction.study.canonical import canonical_json
from minaction.study.gauge_fields import finite_number
from minaction.study.journal_files import (
    is_torn,
    lock_directory,
    repair_last_line,
    storage_error,
    sync_directory,
)
from minaction.study.toml_text import one_line

MEASUREMENTS_NAME = "measurements.jsonl"
SCHEMA = 1

SETTING = ("device", "seconds")
"""What every setting says: where it was measured, and what its seconds are."""

QUANTITIES = ("inference_seconds", "single_seconds", "training_seconds", "inference_joules")
"""What is measured, per sample: inference of a batch, of one sample alone, a training step."""

COUNTS = ("macs_dense", "macs_effective", "operations_effective", "bytes_moved", "parameters")
"""What is counted of the network beside it, per sample but for the parameters."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one network was found to cost in one round.

    Attributes:
        run_id: The run that trained it.
        round: Which of the rounds through all networks, from 0.
        before: `QUANTITIES` and `COUNTS` of the network as it was trained; None where one is not
            known.
        after: The same of the compacted network; None where there is none, or where nothing could
            be removed and it is the same network.
        units_removed: How many units compaction took out; None where it failed.
        no_compaction: Why there is no compacted network.
        no_joules: Why there are no joules.
        setting: What decides the quantities and is the same in all lines, `SETTING` and more.
        conditions: What they were found under: frequency, how busy the machine was.
        provenance: Versions, time, the whole readings of meters.
        schema: Version of this layout.
    """

    run_id: str
    round: int
    before: Mapping[str, float | None]
    after: Mapping[str, float | None] | None
    units_removed: int | None
    no_compaction: str | None = None
    no_joules: str | None = None
    setting: Mapping[str, Any]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def compacted(self) -> Mapping[str, float | None] | None:
        """What the network costs after compaction; None where there is no compacted network."""
        return self.before if self.after is None and self.units_removed == 0 else self.after


class MeasurementFile:
    """The one writer of a study's measurements, a context manager.

    Entering takes the study's lock, repairs a torn last line and reads what is there; the file is
    made by the first measurement.

    Args:
        directory: The study's directory.
        setting: Where is going to be measured.

    Attributes:
        found: All measurements that were there.

    Raises:
        StudyDirectoryError: On entering, if the directory is missing or in use.
        InputError: On entering, if the measurements there are from elsewhere.
        JournalError: On entering, if a line is unreadable; the message names file and line.
        StorageError: If the disk refuses.
    """

    def __init__(self, directory: str | Path, setting: Mapping[str, Any]) -> None:
        self.path = Path(directory) / MEASUREMENTS_NAME
        self.found: list[Measurement] = []
        self._setting = dict(setting)
        self._lock = lock_directory(self.path.parent)
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            try:
                with contextlib.suppress(FileNotFoundError):
                    repair_last_line(self.path)
            except OSError as error:
                raise storage_error(self.path, error) from error
            self.found = read_measurements(self.path.parent)
            self._require_this_setting()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.__exit__(None, None, None)

    def append(self, measurement: Measurement) -> None:
        """Write one measurement; when this returns it is on the disk.

        Raises:
            StorageError: If the disk refuses.
        """
        line = canonical_json(asdict(measurement)).encode("ascii") + b"\n"
        try:
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)
                sync_directory(self.path.parent)
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from error

    def _require_this_setting(self) -> None:
        for measurement in self.found[:1]:
            there = measurement.setting
            for key in dict.fromkeys([*there, *self._setting]):
                if there.get(key) != self._setting.get(key):
                    raise InputError(
                        one_line(
                            f"{self.path}: was measured with {key} {there.get(key)!r}, here it is "
                            f"{self._setting.get(key)!r}; measure there, or move the file away to "
                            "begin again"
                        )
                    )


def read_measurements(directory: str | Path) -> list[Measurement]:
    """Return a study's measurements in the order of the file; none where there is no file.

    A torn last line is passed over.

    Raises:
        JournalError: A line cannot be read, or is from elsewhere than the first; the message names
            file and line.
        StorageError: The disk refuses the read.
    """
    path = Path(directory) / MEASUREMENTS_NAME
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(path, error) from error
    if lines and not lines[-1].endswith(b"\n") and is_torn(lines[-1]):
        lines.pop()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_parsed(line))
            if found[-1].setting != found[0].setting:
                raise ValueError("from another device or setting than the first line")
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            remedy = "restore the file from a copy, or delete the line and measure again"
            problem = f"not a measurement ({reason}); {remedy}"
            raise JournalError(one_line(f"{path}:{number}: {problem}")) from error
    return found


def _parsed(line: bytes) -> Measurement:
    content = json.loads(line.decode("utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"of a newer minaction, schema {schema}; upgrade to read it")
    names = {f.name for f in fields(Measurement)}
    for name in sorted(names ^ content.keys()):
        raise ValueError(f"{'unknown' if name in content else 'missing'} field {name[:40]!r}")
    for name, types in _TYPES.items():
        if type(content[name]) not in types:
            raise ValueError(f"{name!r} is of a wrong type")
    for name in SETTING:
        if not isinstance(content["setting"].get(name), str):
            raise ValueError(f"'setting' does not say the {name}")
    for stage in ("before", "after"):
        _check_values(stage, content[stage])
    return Measurement(**content)


_TEXT = (str, type(None))
_TYPES: dict[str, Sequence[type]] = {
    "run_id": (str,),
    "round": (int,),
    "before": (dict,),
    "after": (dict, type(None)),
    "units_removed": (int, type(None)),
    "no_compaction": _TEXT,
    "no_joules": _TEXT,
    "setting": (dict,),
    "conditions": (dict,),
    "provenance": (dict,),
    "schema": (int,),
}


def _check_values(stage: str, values: Mapping[str, Any] | None) -> None:
    for name in (*QUANTITIES, *COUNTS):
        value = (values or {}).get(name)
        if value is None:
            continue
        number = finite_number(value)
        if number is None or number < 0 or (number == 0 and name in QUANTITIES):
            raise ValueError(f"{stage} has the {name} {value!r}; what is not known is null")
