"""Exporting a journal as a parquet file, in bounded memory; needs the extra `parquet`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from minaction.errors import InputError
from minaction.study.directory import atomic_file
from minaction.study.export import RunTable

ROWS_PER_GROUP = 10_000


def write_parquet(directory: str | Path, path: str | Path) -> None:
    """Write the table that `RunTable` describes; the file appears whole or not at all.

    Columns of whole numbers are int64, of numbers double, of texts string. Where a column has texts
    as well as others, as lambda has with budgets, or values that are no scalars or fill more than
    64 bits, all of it is text, the others as JSON spells them.

    Raises:
        InputError: pyarrow is not installed.
        JournalError: The journal cannot be read.
        StorageError: The disk refused the file.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise InputError(
            "parquet needs pyarrow; install with: pip install 'minaction[parquet]'"
        ) from None
    with RunTable(directory) as table, atomic_file(path) as file:
        kinds = {name: _kind(types) for name, types in table.types.items()}
        schema = pyarrow.schema(list(kinds.items()))
        remaining = iter(table)
        with ParquetWriter(file, schema, compression="zstd") as writer:
            while rows := list(itertools.islice(remaining, ROWS_PER_GROUP)):
                columns = [
                    [_fit(row.get(name), kind) for row in rows] for name, kind in kinds.items()
                ]
                writer.write_table(pyarrow.table(columns, schema=schema))


def _kind(types: Set[type]) -> str:
    """Return the name of the parquet type that holds values of all these types."""
    if types == {bool}:
        return "bool"
    if types == {int}:
        return "int64"
    return "double" if types and types <= {int, float} else "string"


def _fit(value: Any, kind: str) -> Any:
    if value is None or kind != "string" or isinstance(value, str):
        return value
    return json.dumps(value)
