from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from minaction.errors import StorageError
from minaction.study.scratch import OWNER, PREFIX, scratch_folder

KILLED = """
import os, signal
from minaction.study.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "digits.safetensors").write_bytes(b"data")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, for this process and those it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def made_long_ago(folder):
    os.utime(folder, (0, 0))
    return folder


def abandoned(temporary):
    """What a killed driver leaves behind."""
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    (folder,) = temporary.iterdir()
    return folder


def test_the_folder_is_private_and_removed_in_the_end(temporary):
    with scratch_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "data").write_text("x")
    assert list(temporary.iterdir()) == []


def test_it_is_removed_after_an_error_too(temporary):
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        folder.joinpath(str(1 // 0))
    assert list(temporary.iterdir()) == []


def test_what_a_killed_driver_left_is_removed_by_the_next(temporary):
    left = made_long_ago(abandoned(temporary))
    with scratch_folder() as folder:
        assert not left.exists()
        assert folder.exists()


def test_a_fresh_folder_is_not_taken_for_abandoned(temporary):
    left = abandoned(temporary)
    with scratch_folder():
        assert left.exists()


def test_the_folder_of_a_driver_that_lives_is_left_alone():
    with scratch_folder() as first:
        made_long_ago(first)
        with scratch_folder() as second:
            assert first.exists()
            assert first != second


def test_nothing_else_is_ever_removed(temporary):
    target = temporary / "target"
    target.mkdir()
    (target / OWNER).touch()
    (temporary / f"{PREFIX}link").symlink_to(target)
    others = [temporary / "minaction-results", temporary / f"{PREFIX}without-owner"]
    for other in others:
        other.mkdir()
        made_long_ago(other)
    made_long_ago(target)
    before = set(temporary.iterdir())
    with scratch_folder():
        pass
    assert set(temporary.iterdir()) == before
    assert (target / OWNER).exists()


def test_no_room_is_a_clear_error(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with (
        pytest.raises(StorageError, match=r"missing: no temporary folder .*TMPDIR"),
        scratch_folder(),
    ):
        pytest.fail("entered")
