from __future__ import annotations

import numpy as np
import pytest

from minaction.data.parsed import file_checksums, parsed


@pytest.fixture
def folder(cache):
    return cache / ".parsed"


class Parser:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([self.calls])}


def test_parses_once_per_contents_and_version(folder):
    parser = Parser()
    first = parsed("toy", 1, {"a": "0"}, parser)
    again = parsed("toy", 1, {"a": "0"}, parser)
    assert parser.calls == 1
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[key], again[key]) for key in first)
    parsed("toy", 2, {"a": "0"}, parser)
    parsed("toy", 1, {"a": "1"}, parser)
    assert parser.calls == 3
    assert not list(folder.glob("*.part"))


def test_damaged_cache_is_parsed_anew(folder):
    parser = Parser()
    parsed("toy", 1, {}, parser)
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-3])
    parsed("toy", 1, {}, parser)
    parsed("toy", 1, {}, parser)
    assert parser.calls == 2


def test_cache_that_cannot_be_written_is_done_without(folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    assert parsed("toy", 1, {}, Parser())["y"] == [1]


def test_an_error_of_the_parser_leaves_nothing(folder):
    def fail():
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        parsed("toy", 1, {}, fail)
    assert not list(folder.glob("*.safetensors"))


def test_checksums_follow_the_contents(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a").write_bytes(b"1")
    (tmp_path / "file").write_bytes(b"2")
    files = {"folder": tmp_path / "set", "file": tmp_path / "file"}
    before = file_checksums(files)
    assert file_checksums(files) == before
    (tmp_path / "set/b").write_bytes(b"1")
    (tmp_path / "file").write_bytes(b"3")
    after = file_checksums(files)
    assert all(after[key] != before[key] for key in files)
