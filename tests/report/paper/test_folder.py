from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from minaction.errors import InputError, StorageError
from minaction.report.paper.folder import MANIFEST, check_place, replace_folder

FILES = {"figures/a.pdf": b"%PDF", "captions.md": b"# hello\n"}


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "paper"
    replace_folder(folder, FILES, {"study": "s"})
    return folder


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_files_and_their_checksums(written):
    assert names(written) == ["captions.md", "figures/a.pdf", MANIFEST]
    manifest = json.loads((written / MANIFEST).read_text())
    assert manifest["study"] == "s"
    assert sorted(manifest["files"]) == ["captions.md", "figures/a.pdf"]
    check_place(written)


def test_what_was_written_is_replaced_whole(written):
    replace_folder(written, {"tables/b.tex": b"x"}, {})
    assert names(written) == [MANIFEST, "tables/b.tex"]
    assert [path.name for path in written.parent.iterdir()] == ["paper"]


def test_the_current_folder_has_a_name_once_it_is_resolved(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    check_place(Path())
    replace_folder(Path().resolve(), FILES, {})
    assert names(folder) == ["captions.md", "figures/a.pdf", MANIFEST]


def test_an_absent_and_an_empty_folder_will_do(tmp_path):
    check_place(tmp_path / "new")
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    check_place(tmp_path / "empty")


@pytest.mark.parametrize("foreign", ["notes.txt", "figures/mine.pdf", ".hidden"])
def test_a_folder_with_a_file_of_the_user_is_refused(written, foreign):
    (written / foreign).write_text("mine")
    with pytest.raises(InputError, match="which this command has not written"):
        check_place(written)


def test_a_file_changed_by_hand_is_not_overwritten(written):
    (written / "captions.md").write_text("better")
    with pytest.raises(InputError, match=r"captions\.md, which was changed since"):
        check_place(written)


@pytest.mark.parametrize("manifest", ["", "[]", '{"files": 3}', '{"files": {"../x": "1"}}'])
def test_a_spoilt_manifest_lists_nothing(written, manifest):
    (written / MANIFEST).write_text(manifest)
    with pytest.raises(InputError, match="has not written"):
        check_place(written)


def test_a_link_among_the_files_is_refused(written, tmp_path):
    (tmp_path / "target").write_bytes(FILES["captions.md"])
    (written / "captions.md").unlink()
    (written / "captions.md").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match="changed since"):
        check_place(written)


def test_places_that_are_no_folders(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(InputError, match="is no folder"):
            check_place(tmp_path / name)
    with pytest.raises(InputError, match="no such folder; make it first"):
        check_place(tmp_path / "no" / "paper")


def test_a_disk_that_refuses_leaves_what_was_there(written, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot be written"):
        replace_folder(written, {"b": b""}, {})
    assert names(written) == ["captions.md", "figures/a.pdf", MANIFEST]
    assert [path.name for path in written.parent.iterdir()] == ["paper"]


def test_a_folder_that_cannot_be_moved_is_put_back(written, monkeypatch):
    rename = type(written).rename

    def refusing(path, target):
        if path.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(type(written), "rename", refusing)
    with pytest.raises(StorageError):
        replace_folder(written, {"b": b""}, {})
    assert names(written) == ["captions.md", "figures/a.pdf", MANIFEST]
    assert [path.name for path in written.parent.iterdir()] == ["paper"]
