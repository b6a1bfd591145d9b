"""Whether a file is the one its row in the table of sources describes."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from minaction.data.archives import read_members
from minaction.data.source import SourceFile
from minaction.errors import DataFileError


def difference(path: Path, file: SourceFile) -> str | None:
    """Return how the contents of `path` differ from the published ones, or None.

    Args:
        path: the file itself, its gzip or decompressed twin, or what unpacking it left.
        file: the row it is held to.
    """
    try:
        if file.contents_sha256 is not None and file.unpacked is not None:
            return _compare(contents_sha256(path, file.unpacked), file.contents_sha256)
        if path.is_dir():
            return None
        if path.name == Path(file.unpacked_name).name != Path(file.name).name:
            return _difference(path, file.unpacked_bytes, file.unpacked_sha256)
        if path.name == Path(file.packed_name).name != Path(file.name).name:
            with gzip.open(path) as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            return _compare(found, file.sha256)
        if file.unpacked is not None and path.name == Path(file.unpacked).name:
            return None
        return _difference(path, file.bytes, file.sha256, file.md5, file.repacked_sha256)
    except DataFileError as error:
        return error.problem.partition(";")[0]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"is a cut or damaged gzip file ({error})"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def contents_sha256(path: Path, folder: str) -> str:
    """Return one checksum of the files in an archive, whatever packed them in which order.

    It is the sha256 of the lines that `sha256sum` would print for the files below `folder`,
    sorted by name.

    Args:
        path: the archive, or the folder it was unpacked into.
        folder: name of the folder in the archive, at any depth, whose files count.

    Raises:
        DataFileError: the archive is damaged or hostile.
    """
    lines = []
    for name, contents in read_members(path, lambda name: folder in name.split("/")[:-1]):
        parts = name.split("/")
        below = "/".join(parts[parts.index(folder) :])
        lines.append(f"{below}\0{hashlib.sha256(contents).hexdigest()}")
    rows = (line.split("\0") for line in sorted(lines))
    text = "".join(f"{sha256}  {name}\n" for name, sha256 in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _difference(
    path: Path,
    size: int | None,
    sha256: str | None,
    md5: str | None = None,
    repacked: tuple[str, ...] = (),
) -> str | None:
    found_size = path.stat().st_size
    if size is not None and found_size != size and not repacked:
        return f"has {found_size} bytes, expected {size}"
    if sha256 is None and md5 is None:
        return None
    algorithm, expected = ("sha256", sha256) if sha256 is not None else ("md5", md5)
    found = _digest(path, algorithm)
    return None if found in repacked else _compare(found, expected, algorithm)


def _compare(found: str, expected: str | None, algorithm: str = "sha256") -> str | None:
    # Without a published checksum a file is taken as it is.
    return None if expected in (found, None) else f"has {algorithm} {found}, expected {expected}"
