"""Reading archives where they lie: nothing is ever unpacked to the disk.

A folder into which an archive was unpacked by hand reads the same.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

# Above any recording of any data set here; a small archive must not unpack to terabytes.
_MAX_BYTES = 1 << 31
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression Python does not know
)


def read_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and contents of every wanted file in an archive or below a folder.

    Archives are read from front to back in their own order, folders in the order of names. Every
    member's name is checked, wanted or not.

    Args:
        path: a tar archive (plain, gzip, bzip2, xz), a zip archive or a folder.
        wanted: says by its name, with forward slashes, whether a file is read.

    Raises:
        DataFileError: the archive is missing, cut or damaged, or holds a member that would be
            unpacked outside its folder (an absolute path, `..`), a link, a device or a file
            above 2 GiB.
    """
    try:
        if path.is_dir():
            yield from _read_folder(path, wanted)
        elif zipfile.is_zipfile(path):
            yield from _read_zip(path, wanted)
        else:
            yield from _read_tar(path, wanted)
    except _DAMAGED as error:
        raise DataFileError(
            path, f"is a cut or damaged archive ({error}); {refetch_hint(path)}"
        ) from error
    except OSError as error:
        raise DataFileError(path, f"cannot be read ({error.strerror or error})") from error


def _read_folder(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if wanted(name) and file.is_file():
            yield name, file.read_bytes()


def _read_tar(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    # A stream, as seeking in a compressed file would decompress it again and again.
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            kind = None if member.isfile() or member.isdir() else "a link or device"
            _check_member(path, member.name, member.size, kind)
            if member.isfile() and wanted(member.name):
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()


def _read_zip(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # Unix stores the kind of file in the upper half of the attributes.
            linked = member.external_attr >> 28 == 0o12
            _check_member(path, member.filename, member.file_size, "a link" if linked else None)
            if not member.is_dir() and wanted(member.filename):
                yield member.filename, archive.read(member)


def _check_member(path: Path, name: str, size: int, kind: str | None) -> None:
    if _ABSOLUTE.match(name):
        kind = "an absolute path"
    elif ".." in re.split(r"[/\\]", name):
        kind = "a path out of the archive"
    elif size > _MAX_BYTES:
        kind = f"a file of {size} bytes"
    if kind is not None:
        raise DataFileError(path, f"holds {name!r}, {kind}: not trusted; {refetch_hint(path)}")
