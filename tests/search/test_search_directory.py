"""What a search keeps beside its journal."""

from __future__ import annotations

import pytest
from tiny_search import search_of

from minaction.errors import JournalError, StudyDirectoryError
from minaction.search.directory import (
    LEFT_OUT_NAME,
    open_search_directory,
    read_left_out,
    write_left_out,
)


def test_what_a_file_leaves_out_is_no_setting_of_the_search(tmp_path):
    """Else a new option would make every older search another one."""
    search = search_of(tmp_path / "search.toml")
    assert None not in search.settings.values()
    open_search_directory(tmp_path / "out", search)
    floored = search_of(tmp_path / "other.toml", ("margin = 0.05", "margin = 0.05\nfloor = 0.2"))
    with pytest.raises(StudyDirectoryError, match=r"floor is not given there, 0\.2 here; choose"):
        open_search_directory(tmp_path / "out", floored)


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
