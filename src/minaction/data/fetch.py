"""Finding data files on this machine, and downloading them: the only network code.

A data set lives in `<root>/<name>/`. Roots are looked at in this order: the folder the caller
names, then $MINACTION_DATA, then the user's cache. A data set that is complete in none of them
is downloaded into the folder the caller names, else into the user's cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minaction.data.checksums import difference
from minaction.data.source import SourceFile
from minaction.data.sources import refetch_hint, source_of
from minaction.errors import DataFileError, StorageError

DATA_VARIABLE = "MINACTION_DATA"
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16
_MAX_NAMED = 5


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
    return (*(Path(root).expanduser() for root in named if root), user_cache())


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
    return _home(name, data_dir) if files else None


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


def _say_nothing(line: str) -> None:
    pass


def user_cache() -> Path:
    """Return this package's folder in the user's cache."""
    # Imported here, as most callers never get this far and pooch is slow to import.
    import pooch

    return Path(pooch.os_cache("minaction"))


def _find_file(folder: Path, file: SourceFile) -> Path | None:
    names = (file.name, file.unpacked_name, file.packed_name)
    try:
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None and file.unpacked is not None and (folder / file.unpacked).exists():
            # Files of an unpacked archive are named from the folder it was unpacked in.
            path = folder / file.unpacked if file.unpacked_whole else folder
    except OSError as error:
        raise DataFileError(folder / file.name, f"cannot be read ({error.strerror})") from error
    return path


def _folder(root: Path, name: str) -> Path:
    return root / (source_of(name).folder or name)


def _missing(folder: Path, name: str) -> list[SourceFile]:
    return [file for file in source_of(name).files if _find_file(folder, file) is None]


def _complete_folder(name: str, data_dir: str | Path | None) -> Path | None:
    folders = (_folder(root, name) for root in roots(data_dir))
    return next((folder for folder in folders if not _missing(folder, name)), None)


def _home(name: str, data_dir: str | Path | None) -> Path:
    """Return the folder that lacks the fewest files; of equals the first."""
    folders = [_folder(root, name) for root in roots(data_dir)]
    return min(folders, key=lambda folder: len(_missing(folder, name)))


def _check_file(folder: Path, file: SourceFile) -> CheckedFile:
    path = _find_file(folder, file)
    if path is None:
        path, problem = folder / file.name, f"missing; run `minaction data fetch {folder.name}`"
    else:
        found = difference(path, file)
        problem = f"{found}; {refetch_hint(path)}" if found else None
    return CheckedFile(path=path, ok=problem is None, problem=problem)


def _download_missing(
    name: str, data_dir: str | Path | None, announce: Callable[[str], None]
) -> None:
    # Imported here for the same reason as pooch.
    from filelock import FileLock

    root = Path(data_dir).expanduser() if data_dir else user_cache()
    folder = _folder(root, name)
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
    destination = folder / file.name
    # Beside its destination, because only a rename within one file system is atomic.
    part = destination.with_name(f"{destination.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = [] if file.urls else ["nowhere, as its authors give it to people only"]
    try:
        for url in file.urls:
            size = f" ({file.bytes / 1e6:.1f} MB)" if file.bytes is not None else ""
            announce(f"downloading {url}{size}")
            failure = _retrieve(url, part) or difference(part, file)
            if failure is None:
                part.replace(destination)
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
    if len(others) > _MAX_NAMED:
        others = [*others[:_MAX_NAMED], f"{len(others) - _MAX_NAMED} more"]
    also = f", and likewise {', '.join(others)}" if others else ""
    return DataFileError(
        folder / first,
        f"missing and not downloaded from {why}; get {first} another way and put it in "
        f"{folder}{also}",
    )
