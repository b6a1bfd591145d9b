"""The record of one run, and the line of canonical JSON that holds it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from minaction.errors import JournalError
from minaction.study.canonical import canonical_json
from minaction.study.toml_text import one_line

SCHEMA = 1


class RunStatus(StrEnum):
    """How a run ended."""

    OK = "ok"
    DIVERGED = "diverged"
    """The loss became NaN or infinite."""
    COLLAPSED = "collapsed"
    """Lambda killed the network: it predicts no better than chance."""
    FAILED = "failed"
    """An error stopped the run; it is tried again on resume."""
    STOPPED = "stopped"
    """A search gave the candidate up before the end of its training; no run of a study ends so."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run: what was asked, what came out, and under which conditions.

    Attributes:
        run_id: The id of `config`, see `design.run_id`.
        status: How the run ended.
        config: The run's configuration, JSON scalars.
        metrics: Final measurements by name; None where the run has none.
        layers: Measurements of each observed layer.
        history: One entry a validation.
        provenance: Versions, device, data and study hashes: what makes the run repeatable.
        error: Why the run failed, else None.
        schema: Version of this layout.
    """

    run_id: str
    status: RunStatus
    config: dict[str, Any]
    metrics: dict[str, Any] | None = None
    layers: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    schema: int = SCHEMA

    def to_line(self) -> str:
        """Return the record as one line of canonical JSON, without the newline.

        NaN and infinities, which JSON does not have, become null.
        """
        return canonical_json(_portable({f.name: getattr(self, f.name) for f in fields(self)}))

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read what `to_line` wrote.

        Raises:
            JournalError: If the line is no JSON, no record, or of a newer schema.
        """
        try:
            content = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise JournalError(f"not a record ({_reason(error)}); {_REMEDY}") from error
        return cls(**_checked(content))


def parse_line(path: Path, number: int, line: bytes) -> Record:
    """Read a line of a file.

    Raises:
        JournalError: If it is no record; the message names file and line.
    """
    try:
        return Record.from_line(line.decode("utf-8"))
    except UnicodeDecodeError:
        problem = f"not a record (not UTF-8); {_REMEDY}"
    except JournalError as error:
        problem = str(error)
    raise JournalError(one_line(f"{path}:{number}: {problem}"))


_REMEDY = "restore the file from a copy, or delete this line and its run will be done again"
_TYPES: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "status": (str,),
    "config": (dict,),
    "metrics": (dict, type(None)),
    "layers": (dict,),
    "history": (list,),
    "provenance": (dict,),
    "error": (str, type(None)),
    "schema": (int,),
}


def _checked(content: object) -> dict[str, Any]:
    """Return the fields of a record read from JSON, or raise a JournalError that names one."""
    if not isinstance(content, dict):
        raise JournalError(f"not a record (no JSON object); {_REMEDY}")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise JournalError(
            f"written by a newer minaction (schema {schema}, this one reads up to {SCHEMA}); "
            "upgrade minaction to read it"
        )
    for name, types in _TYPES.items():
        if name not in content or type(content[name]) not in types:
            raise JournalError(f"not a record ({name!r} is missing or of a wrong type); {_REMEDY}")
    for name in sorted(content.keys() - _TYPES.keys()):
        raise JournalError(f"not a record (unknown field {name[:40]!r}); {_REMEDY}")
    try:
        return {**content, "status": RunStatus(content["status"])}
    except ValueError:
        status = content["status"][:40]
        raise JournalError(f"not a record (unknown status {status!r}); {_REMEDY}") from None


def _portable(value: Any) -> Any:
    """Return a value any JSON reader takes: no NaN or infinity, no half of a surrogate pair."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_portable(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    return value


def _refuse_constant(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
