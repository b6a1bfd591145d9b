"""Whole records inside the page: packed, for a run's record to be one click away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minaction.report.markup import packed_block
from minaction.study.journal import Record

RECORDS_CLASS = "records"
"""Class of the blocks that hold packed records, `records-0` the first."""

PACK = 64
"""Records in a block: alike, so they pack well; few, so one is read at once."""


def record_blocks(records: Iterable[Record], order: Sequence[str]) -> str:
    """Return blocks of packed records, lists in JSON, for the page's script and for `verify`.

    Args:
        records: Any records; those of no listed run are left out.
        order: Run ids, all of them among the records'; run i is in block i // 64 at i % 64.
    """
    lines = {record.run_id: record.to_line() for record in records}
    packs = [order[start : start + PACK] for start in range(0, len(order), PACK)]
    return "".join(
        packed_block(
            f"records-{number}", RECORDS_CLASS, f"[{','.join(lines[name] for name in names)}]"
        )
        for number, names in enumerate(packs)
    )
