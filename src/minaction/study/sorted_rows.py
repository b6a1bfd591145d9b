"""Sorting more rows than memory holds."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Self

from minaction.errors import StorageError

ROWS_IN_MEMORY = 20_000


class SortedRows:
    """Rows of JSON values in the order of their keys; a context manager.

    Whenever so many have come that memory would fill, they wait, sorted, in a temporary file; in
    the end these files are merged. Few rows never touch the disk.

    Args:
        in_memory: Rows that are held at once.

    Raises:
        StorageError: If there is no room for temporary files.
    """

    def __init__(self, in_memory: int = ROWS_IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._rows: list[tuple[str, str]] = []
        self._files: list[IO[str]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, key: str, row: Any) -> None:
        """Take in a row."""
        self._rows.append((key, json.dumps(row)))
        if len(self._rows) >= self._in_memory:
            self._set_down()

    def __iter__(self) -> Iterator[Any]:
        self._rows.sort()
        for _, row in heapq.merge(self._rows, *map(_read, self._files)):
            yield json.loads(row)

    def _set_down(self) -> None:
        self._rows.sort()
        try:
            file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115
            self._open.callback(file.close)
            file.writelines(f"{json.dumps(key)}\t{row}\n" for key, row in self._rows)
            file.flush()
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()}: cannot be written ({error.strerror or error}); make "
                "room or name another place for temporary files in TMPDIR"
            ) from error
        self._files.append(file)
        self._rows = []


def _read(file: IO[str]) -> Iterator[tuple[str, str]]:
    file.seek(0)
    for line in file:
        key, _, row = line.rstrip("\n").partition("\t")
        yield json.loads(key), row
