"""Study directories: `DIR/study.toml` says which study a directory holds, once and for all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from minaction.errors import StorageError, StudyDirectoryError
from minaction.study.journal_files import (
    JOURNAL_NAME,
    LOCK_NAME,
    lock_directory,
    part_count,
    sync_directory,
)
from minaction.study.read_study import load_study
from minaction.study.study_file import Study
from minaction.study.toml_text import one_line, shown

STUDY_NAME = "study.toml"
_PARTIAL = ".partial"


def open_study_directory(directory: str | Path, study: Study) -> None:
    """Make a directory for a study, or check that it holds this very study.

    Raises:
        StudyDirectoryError: If it holds another study or other files, or another process uses it;
            nothing is written then.
        StudyFileError: If its study.toml cannot be read.
        StorageError: If the disk refuses to hold the directory.
    """
    if not make_directory(directory, STUDY_NAME, study.to_toml()):
        _require_same_study(Path(directory), study)


def make_directory(directory: str | Path, name: str, text: str) -> bool:
    """Make a directory for what a file of some name says; return whether it had to be made.

    Raises:
        StudyDirectoryError: If it holds other files, or another process uses it; nothing is written
            then.
        StorageError: If the disk refuses to hold the directory.
    """
    directory = Path(directory)
    if _holds(directory, name):
        return False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        sync_directory(directory.parent)
    except OSError as error:
        raise _storage_error(directory, error) from error
    with lock_directory(directory):
        # Two drivers may get here together: the second finds what the first one made.
        if _holds(directory, name):
            return False
        write_text_atomically(directory / name, text)
    return True


def remove_unbegun_study(directory: str | Path, name: str = STUDY_NAME) -> None:
    """Take back what `make_directory` made, as long as no run is recorded.

    Call it with the directory's lock held. What cannot be removed stays; it does no harm.
    """
    directory = Path(directory)
    with contextlib.suppress(OSError):
        if (directory / JOURNAL_NAME).stat().st_size or part_count(directory):
            return
        for made in (name, JOURNAL_NAME, LOCK_NAME):
            (directory / made).unlink()
        directory.rmdir()  # refuses if there is anything else


def load_study_directory(directory: str | Path) -> Study:
    """Return the study a directory holds.

    Raises:
        StudyDirectoryError: If there is none.
        StudyFileError: If its study.toml cannot be read.
    """
    return load_study(file_in(directory, STUDY_NAME, "minaction study run"))


def file_in(directory: str | Path, name: str, command: str) -> Path:
    """Return the path of the file that says what a directory holds.

    Raises:
        StudyDirectoryError: If there is none; the message names the command that makes one.
    """
    path = Path(directory) / name
    try:
        if path.is_file():
            return path
        what = f"no {name} in it" if path.parent.is_dir() else "no such directory"
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
    raise refusal(directory, f"{what}; give the --out directory of a `{command}`")


def weights_path(directory: Path, run_id: str) -> Path:
    """Return where a run's network is kept if the study file asks for it."""
    return directory / "models" / f"{run_id}.safetensors"


def write_weights(weights: bytes, path: Path) -> None:
    """Keep a run's network under its `weights_path`; the file appears whole or not at all.

    Raises:
        StorageError: If the disk refuses.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as file:
            file.write(weights)
    except (OSError, StorageError) as error:
        problem = _storage_error(path, error) if isinstance(error, OSError) else error
        raise StorageError(
            f"{problem}, then run the same command again: finished runs are kept"
        ) from error


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file that appears whole or not at all, also if the machine stops.

    Raises:
        StorageError: If the disk refuses; a file that was there before is intact.
    """
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Give a file to write to that takes its place when all is written, and else is forgotten.

    Raises:
        StorageError: If the disk refuses; a file that was there before is intact.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _holds(directory: Path, name: str) -> bool:
    """Tell whether a directory holds a file of some name; refuse one that holds anything else.

    A lock or a partial file is what an interrupted start leaves behind.
    """
    try:
        names = [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise refusal(directory, "is a file or lies in one; choose another --out") from None
    except OSError as error:
        raise _storage_error(directory, error) from error
    if name in names:
        return True
    others = sorted(one for one in names if one != LOCK_NAME and not one.endswith(_PARTIAL))
    if others:
        raise refusal(
            directory,
            f"holds other files ({shown(others[0])}) but no {name}; choose another --out",
        )
    return False


def _require_same_study(directory: Path, study: Study) -> None:
    difference = study_difference(load_study_directory(directory), study)
    if difference:
        raise refusal(directory, f"holds another study: {difference}; choose another --out")


def study_difference(there: Study, here: Study) -> str | None:
    """Say in what two studies differ that decides or judges their records, None if in nothing."""
    old, new = ({**study.settings, **study.analysis_settings} for study in (there, here))
    return settings_difference(old, new)


def settings_difference(there: Mapping[str, object], here: Mapping[str, object]) -> str | None:
    """Say in what two files' settings differ, the first with both values, None if in nothing."""
    found = [
        f"{key} is {_given(there, key)} there, {_given(here, key)} here"
        for key in dict.fromkeys([*there, *here])
        if there.get(key) != here.get(key)
    ]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else None


def _given(settings: Mapping[str, object], key: str) -> str:
    return shown(settings[key]) if key in settings else "not given"


def refusal(directory: str | Path, problem: str) -> StudyDirectoryError:
    """Return the error of a directory that cannot be used, in one line."""
    return StudyDirectoryError(one_line(f"{directory}: {problem}"))


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        one_line(f"{path}: cannot be written ({error.strerror or error}); ")
        + "make room, mend the permissions or choose another place"
    )
