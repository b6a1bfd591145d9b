"""Finding data files on this machine, and downloading them: the only network code.

A data set lives in `<root>/<name>/`. Roots are looked at in this order: the folder the caller
names, then $MINACTION_DATA, then the user's cache. A data set that is complete in none of them
is downloaded into the folder the caller names, else into the user's cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minaction.data.sources import SourceFile, source_of
from minaction.errors import DataFileError, StorageError

DATA_VARIABLE = "MINACTION_DATA"
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """What `check` found out about one file.

    Attributes:
        path: the file.
        ok: True when it has the size and sha256 of the canonical one.
        problem: what is wrong and what to do, else None.
    """

    path: Path
    ok: bool
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class DatasetStatus:
    """Whether a data set can be loaded without a download.

    Attributes:
        name: the data set.
        offline: True when it comes with an installed package.
        folder: the first folder that holds all its files, else None.
    """

    name: str
    offline: bool
    folder: Path | None

    @property
    def available(self) -> bool:
        """True when nothing needs to be downloaded."""
        return self.offline or self.folder is not None


class _DownloadError(Exception):
    """No address gave the file; the message says why, address by address."""


def roots(data_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders data sets are looked for in, in order.

    Args:
        data_dir: a folder to look in before all others.
    """
    named = [data_dir, os.environ.get(DATA_VARIABLE)]
    return (*(Path(root).expanduser() for root in named if root), _user_cache())


def status(name: str, data_dir: str | Path | None = None) -> DatasetStatus:
    """Return where the data set `name` was found, or that it was not.

    Only looks whether the files are there; `check` reads them.

    Raises:
        UnknownNameError: no such data set.
    """
    offline = source_of(name).offline
    return DatasetStatus(
        name=name, offline=offline, folder=None if offline else _complete_folder(name, data_dir)
    )


def check(name: str, data_dir: str | Path | None = None) -> list[CheckedFile]:
    """Compare every file of the data set `name` with its published size and sha256.

    Checked is the folder of `roots` that lacks the fewest files, of equals the first: the one
    that `fetch` returns, if there is any. A data set that comes with an installed package has
    no files to check.

    Raises:
        UnknownNameError: no such data set.
    """
    folder = _home(name, data_dir)
    return [_check_file(folder, file) for file in source_of(name).files]


def fetch(
    name: str,
    data_dir: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> Path | None:
    """Make sure that the data set `name` is on this machine, whole and unchanged.

    Args:
        name: name of the data set.
        data_dir: folder to look in first, and to download to.
        announce: called with one line of text before each download.

    Returns:
        The folder that holds the files, or None when an installed package brings them.

    Raises:
        UnknownNameError: no such data set.
        DataFileError: a file is damaged, or is missing and could not be downloaded.
        StorageError: the download could not be written.
    """
    files = fetch_files(name, data_dir, announce)
    return next((path.parent for path in files.values()), None)


def fetch_files(
    name: str,
    data_dir: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Do as `fetch` and return each file's path by its name in the table of sources.

    The path is the file of that name or the decompressed one beside it.
    """
    source = source_of(name)
    if not source.offline and _complete_folder(name, data_dir) is None:
        _download_missing(name, data_dir, announce or _say_nothing)
    checked = check(name, data_dir)
    for result in checked:
        if result.problem is not None:
            raise DataFileError(result.path, result.problem)
    return {file.name: result.path for file, result in zip(source.files, checked, strict=True)}


def refetch_hint(path: Path) -> str:
    """Return what to do about a damaged data file."""
    return f"delete it and run `minaction data fetch {path.parent.name}`"


def _say_nothing(line: str) -> None:
    pass


def _user_cache() -> Path:
    # Imported here, as most callers never get this far and pooch is slow to import.
    import pooch

    return Path(pooch.os_cache("minaction"))


def _find_file(folder: Path, file: SourceFile) -> Path | None:
    for path in (folder / file.name, folder / file.unpacked_name):
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise DataFileError(path, f"cannot be read ({error.strerror})") from error
    return None


def _missing(folder: Path, name: str) -> list[SourceFile]:
    return [file for file in source_of(name).files if _find_file(folder, file) is None]


def _complete_folder(name: str, data_dir: str | Path | None) -> Path | None:
    folders = (root / name for root in roots(data_dir))
    return next((folder for folder in folders if not _missing(folder, name)), None)


def _home(name: str, data_dir: str | Path | None) -> Path:
    """Return the folder that lacks the fewest files; of equals the first."""
    folders = [root / name for root in roots(data_dir)]
    return min(folders, key=lambda folder: len(_missing(folder, name)))


def _check_file(folder: Path, file: SourceFile) -> CheckedFile:
    path = _find_file(folder, file)
    if path is None:
        path, problem = folder / file.name, f"missing; run `minaction data fetch {folder.name}`"
    else:
        difference = _difference(path, file, unpacked=path.name == file.unpacked_name)
        problem = f"{difference}; {refetch_hint(path)}" if difference else None
    return CheckedFile(path=path, ok=problem is None, problem=problem)


def _difference(path: Path, file: SourceFile, *, unpacked: bool = False) -> str | None:
    """Return how the contents of `path` differ from the published ones, or None."""
    size = file.unpacked_bytes if unpacked else file.bytes
    sha256 = file.unpacked_sha256 if unpacked else file.sha256
    try:
        found_size = path.stat().st_size
        if found_size != size:
            return f"has {found_size} bytes, expected {size}"
        with path.open("rb") as stream:
            found_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found_sha256 == sha256 else f"has sha256 {found_sha256}, expected {sha256}"


def _download_missing(
    name: str, data_dir: str | Path | None, announce: Callable[[str], None]
) -> None:
    # Imported here for the same reason as pooch.
    from filelock import FileLock

    folder = (Path(data_dir).expanduser() if data_dir else _user_cache()) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # One download at a time: whoever waited finds the files in place.
        with FileLock(folder / ".lock"):
            for file in _missing(folder, name):
                _download(file, folder, announce)
    except _DownloadError as error:
        raise _cannot_download(name, data_dir, str(error)) from error
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); name another data folder"
        ) from error


def _download(file: SourceFile, folder: Path, announce: Callable[[str], None]) -> None:
    # Beside its destination, because only a rename within one file system is atomic.
    part = folder / f"{file.name}.part"
    failures = []
    try:
        for url in file.urls:
            announce(f"downloading {url} ({file.bytes / 1e6:.1f} MB)")
            failure = _retrieve(url, part) or _difference(part, file)
            if failure is None:
                part.replace(folder / file.name)
                return
            failures.append(f"{url} ({failure})")
    finally:
        part.unlink(missing_ok=True)
    raise _DownloadError(", ".join(failures))


def _retrieve(url: str, path: Path) -> str | None:
    """Write what `url` answers to `path`; return why that failed, or None."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)
    try:
        downloader(url, str(path), None)
    except requests.RequestException as error:
        answer = error.response
        return type(error).__name__ if answer is None else f"HTTP {answer.status_code}"
    return None


def _cannot_download(name: str, data_dir: str | Path | None, why: str) -> DataFileError:
    folder = _home(name, data_dir)
    first, *others = [file.name for file in _missing(folder, name)]
    also = f", and likewise {', '.join(others)}" if others else ""
    return DataFileError(
        folder / first,
        f"missing and not downloaded from {why}; get {first} another way and put it in "
        f"{folder}{also}",
    )
