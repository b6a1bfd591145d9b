"""Parsed data sets in the user's cache, so that slow parsing happens once per machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import AcquireReturnProxy, FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from minaction.data.checksums import sha256_of
from minaction.data.fetch import user_cache

Arrays = dict[str, NDArray[Any]]


def parsed(
    name: str, version: int, sources: Mapping[str, str], build: Callable[[], Arrays]
) -> Arrays:
    """Return what `build` returns, kept in the user's cache under a key of all it depends on.

    A cache that cannot be read or written costs time, never an error.

    Args:
        name: name of the data set.
        version: of the parsing; a changed one parses anew.
        sources: checksum of each thing that is parsed, by its name.
        build: parses; its arrays must depend on nothing but the sources and the version.
    """
    lines = "".join(f"{key} {value}\n" for key, value in sorted(sources.items()))
    key = hashlib.sha256(f"{version}\n{lines}".encode()).hexdigest()
    path = user_cache() / ".parsed" / f"{name}-{key[:32]}.safetensors"
    lock = _lock(path)
    if lock is None:
        return build()
    with lock:
        return _read(path) or _written(path, build())


def file_checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """Return what stands for the contents of each file in the key of `parsed`.

    It is the sha256 of a file and, for a folder, that of its files' names, sizes and times of
    change: reading a hundred thousand recordings is what the cache is there to avoid.
    """
    return {
        name: _listing(path) if path.is_dir() else sha256_of(path) for name, path in files.items()
    }


def _lock(path: Path) -> AcquireReturnProxy | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path.with_suffix(".lock")).acquire()
    except OSError:
        return None


def _listing(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found = path.stat()
            digest.update(
                f"{path.relative_to(folder)} {found.st_size} {found.st_mtime_ns}\n".encode()
            )
    return digest.hexdigest()


def _read(path: Path) -> Arrays | None:
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None


def _written(path: Path, arrays: Arrays) -> Arrays:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, part)
        part.replace(path)
    except (OSError, SafetensorError):
        # A full disk: what was parsed is as good without the cache.
        pass
    finally:
        part.unlink(missing_ok=True)
    return arrays
