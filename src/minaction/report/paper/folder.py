"""A folder that this program alone writes: replaced whole, refused where others wrote in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from minaction.errors import InputError, StorageError
from minaction.study.journal_files import sync_directory
from minaction.study.toml_text import one_line

MANIFEST = "manifest.json"
"""Lists the folder's files with their checksums."""


def check_place(folder: Path) -> None:
    """Raise InputError unless a folder is absent, empty, or as `replace_folder` left it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise refusal(folder, "is no folder; give another one to --paper")
    if not folder.parent.is_dir():
        raise refusal(folder.parent, "no such folder; make it first")
    if not folder.exists():
        return
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() or path.is_symlink()
    }
    if not found:
        return
    listed = read_manifest(folder)
    for name, path in found.items():
        if name == MANIFEST:
            continue
        if name not in listed:
            raise refusal(folder, f"holds {name}, which this command has not written")
        if path.is_symlink() or digest(path.read_bytes()) != listed[name]:
            raise refusal(folder, f"holds {name}, which was changed since it was written")


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the checksums of the files that a folder's manifest lists, none without one."""
    try:
        listed = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return {str(name): str(value) for name, value in listed.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def refusal(folder: Path, problem: str) -> InputError:
    """Return the error of a place that cannot be used."""
    hint = "" if ";" in problem else "; move it away, or give another folder to --paper"
    return InputError(one_line(f"{folder}: {problem}{hint}"))


def replace_folder(folder: Path, files: Mapping[str, bytes], about: Mapping[str, str]) -> None:
    """Write files into a folder in place of those that were there, all or none.

    Call `check_place` first: whatever is in the folder goes.

    Args:
        folder: Where; its parent exists.
        files: Contents by path within the folder.
        about: What the manifest says besides the files.

    Raises:
        StorageError: The disk refused; what was there before is intact.
    """
    mark = uuid.uuid4().hex[:8]
    fresh = folder.with_name(f".{folder.name}.{mark}.partial")
    old = folder.with_name(f".{folder.name}.{mark}.old")
    sums = {name: digest(content) for name, content in sorted(files.items())}
    manifest = json.dumps({**about, "files": sums}, indent=2, ensure_ascii=True) + "\n"
    try:
        for name, content in {**files, MANIFEST: manifest.encode()}.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        sync_directory(folder.parent)
    except OSError as error:
        raise StorageError(
            one_line(f"{folder}: cannot be written ({error.strerror or error}); ")
            + "make room, mend the permissions or choose another place"
        ) from error
    finally:
        for leftover in (fresh, old) if folder.exists() else (fresh,):
            shutil.rmtree(leftover, ignore_errors=True)


def digest(content: bytes) -> str:
    """Return the SHA-256 checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()
