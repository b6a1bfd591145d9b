"""The table of data sets: where each comes from, what it must contain, and whom to cite.

Literal rows without torch, one file per modality, so that study files are checked and
`minaction data list` answers without importing it. A new data set is a row there and a loader in
`minaction.data.load`.
"""

from __future__ import annotations

from pathlib import Path

from minaction.data.source import Source
from minaction.data.sources_neuromorphic import NEUROMORPHIC
from minaction.data.sources_physiological import PHYSIOLOGICAL
from minaction.data.sources_speech import SPEECH
from minaction.data.sources_text import TEXT
from minaction.data.sources_vision import VISION
from minaction.errors import UnknownNameError

SOURCES: dict[str, Source] = {**VISION, **SPEECH, **TEXT, **NEUROMORPHIC, **PHYSIOLOGICAL}


def source_of(name: str) -> Source:
    """Return the table's row for `name`.

    Raises:
        UnknownNameError: `name` is not in the table; the message names the nearest that is.
    """
    if name not in SOURCES:
        raise UnknownNameError("data set", name, SOURCES)
    return SOURCES[name]


def refetch_hint(path: Path) -> str:
    """Return what to do about a damaged data file."""
    folders = (folder.name for folder in (path, *path.parents))
    name = next((folder for folder in folders if folder in SOURCES), path.parent.name)
    return f"delete it and run `minaction data fetch {name}`"
