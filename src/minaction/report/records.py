"""Whole records inside the page: packed, for a run's record to be one click away."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from minaction.report.markup import embedded_json
from minaction.study.journal import Record

RECORDS_CLASS = "records"
"""Class of the blocks that hold packed records, `records-0` the first."""

PACK = 64
"""Records in a block: alike, so they pack well; few, so one is read at once."""


def record_blocks(records: Iterable[Record], order: Sequence[str]) -> str:
    """Return blocks of packed records for the page's script and for `verify`.

    A block holds JSON text as a string: base64 of zlib's format, which browsers read as `deflate`.

    Args:
        records: Any records; those of no listed run are left out.
        order: Run ids, all of them among the records'; run i is in block i // 64 at i % 64.
    """
    lines = {record.run_id: record.to_line() for record in records}
    packs = [order[start : start + PACK] for start in range(0, len(order), PACK)]
    return "".join(
        embedded_json(f"records-{number}", RECORDS_CLASS, pack([lines[name] for name in names]))
        for number, names in enumerate(packs)
    )


def pack(lines: Sequence[str]) -> str:
    """Return lines of JSON as the text of one block."""
    return base64.b64encode(zlib.compress(f"[{','.join(lines)}]".encode(), 9)).decode("ascii")


def unpack(text: str) -> list[dict[str, Any]]:
    """Return the records of a block.

    Raises:
        ValueError: The text is no packed list of records.
    """
    try:
        found = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (zlib.error, TypeError) as error:
        raise ValueError(f"not packed records: {error}") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("not packed records: expected a list of objects")
    return found
