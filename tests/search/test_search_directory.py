"""What a search keeps beside its journal."""

from __future__ import annotations

import pytest

from minaction.errors import JournalError
from minaction.search.directory import LEFT_OUT_NAME, read_left_out, write_left_out


def test_what_was_left_out_is_read_as_it_was_written(tmp_path):
    assert read_left_out(tmp_path) is None
    problems = [{"model": "gru", "reason": "not covered"}]
    write_left_out(tmp_path, problems)
    assert read_left_out(tmp_path) == problems


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"model": "gru"}]', "[" * 100_000, "\xff"])
def test_a_damaged_list_of_what_was_left_out_is_named(tmp_path, text):
    (tmp_path / LEFT_OUT_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(JournalError, match=r"left_out\.json: .*; delete it"):
        read_left_out(tmp_path)
