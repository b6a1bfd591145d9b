from __future__ import annotations

import re
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import StorageError
from minaction.study.sorted_rows import SortedRows

KEYS = st.text(max_size=3)


@given(
    st.lists(st.tuples(KEYS, st.integers() | st.text(max_size=3) | st.none())), st.integers(1, 9)
)
def test_rows_come_sorted_however_few_are_held(drawn, in_memory):
    with SortedRows(in_memory) as rows:
        for number, (key, value) in enumerate(drawn):
            rows.add(key, [key, number, value])
        found = list(rows)
    assert [row[0] for row in found] == sorted(key for key, _ in drawn)
    expected = [[key, number, value] for number, (key, value) in enumerate(drawn)]
    assert sorted(found, key=lambda row: row[1]) == expected


def test_few_rows_never_touch_the_disk(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with SortedRows() as rows:
        for number in range(1000, 0, -1):
            rows.add(f"{number:04}", number)
        assert list(rows) == list(range(1, 1001))


def test_a_place_without_room_for_temporary_files_is_named(monkeypatch, tmp_path):
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(tempfile, "tempdir", missing)
    named = rf"^{re.escape(missing)}: .* in TMPDIR"
    with SortedRows(1) as rows, pytest.raises(StorageError, match=named):
        rows.add("a", 1)
