"""Search directories: `DIR/search.toml`, the journal of candidates, and what was left out.

The network that is chosen is trained in `DIR/chosen-ID`, a study's directory like any other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minaction.errors import JournalError
from minaction.search.search_file import Search, load_search
from minaction.study.directory import (
    file_in,
    make_directory,
    refusal,
    settings_difference,
    write_text_atomically,
)

SEARCH_NAME = "search.toml"
LEFT_OUT_NAME = "left_out.json"

Problem = dict[str, Any]
"""A network of the space that cannot be tried, by its settings, and the `reason`."""


def open_search_directory(directory: str | Path, search: Search) -> None:
    """Make a directory for a search, or check that it holds this very search.

    Raises:
        StudyDirectoryError: If it holds another search or other files, or another process uses it;
            nothing is written then.
        StudyFileError: If its search.toml cannot be read.
        StorageError: If the disk refuses to hold the directory.
    """
    if make_directory(directory, SEARCH_NAME, search.to_toml()):
        return
    difference = settings_difference(load_search_directory(directory).settings, search.settings)
    if difference:
        raise refusal(directory, f"holds another search: {difference}; choose another --out")


def load_search_directory(directory: str | Path) -> Search:
    """Return the search a directory holds.

    Raises:
        StudyDirectoryError: If there is none.
        StudyFileError: If its search.toml cannot be read.
    """
    return load_search(file_in(directory, SEARCH_NAME, "minaction search"))


def chosen_directory(directory: str | Path, run_id: str) -> Path:
    """Return where the study of a chosen network is, by the run that tried it.

    Another network may be chosen once runs that failed have been tried again.
    """
    return Path(directory) / f"chosen-{run_id}"


def holds_search(directory: str | Path) -> bool:
    """Tell whether a directory is a search's."""
    return (Path(directory) / SEARCH_NAME).is_file()


def write_left_out(directory: Path, problems: Sequence[Problem]) -> None:
    """Keep which networks cannot be tried, and why.

    Raises:
        StorageError: If the disk refuses.
    """
    text = json.dumps(list(problems), indent=1, allow_nan=False)
    write_text_atomically(directory / LEFT_OUT_NAME, f"{text}\n")


def read_left_out(directory: str | Path) -> list[Problem] | None:
    """Return what `write_left_out` kept, None where that is not known yet.

    Raises:
        JournalError: It cannot be read.
    """
    path = Path(directory) / LEFT_OUT_NAME
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise JournalError(f"{path}: cannot be read ({error}); delete it") from error
    if not (isinstance(found, list) and all(isinstance(p, dict) and "reason" in p for p in found)):
        raise JournalError(f"{path}: is no list of networks with reasons; delete it")
    return found
