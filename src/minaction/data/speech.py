"""Spoken words: Free Spoken Digits and Speech Commands, as log-mel spectrograms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minaction.data.archives import read_members
from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts
from minaction.data.sources import refetch_hint
from minaction.data.wav import log_mel, read_wav
from minaction.errors import DataFileError

_FSDD_RATE_HZ = 8_000
_FSDD_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")
# The authors' rule: of each speaker's 50 recordings of a digit the first five are the test.
_TEST_BELOW = 5
_VALIDATION_BELOW = 10

_COMMANDS_RATE_HZ = 16_000
_COMMAND_NAME = re.compile(r"(?:.*/)?([a-z]+)/([0-9a-f]+)_nohash_\d+\.wav")
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_COMMANDS_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recording:
    label: int
    speaker: str
    take: int
    features: NDArray[np.float32]


def load_fsdd(name: str, root: str | Path | None = None) -> Dataset:
    """Load the Free Spoken Digit Dataset: 10 digits, 6 speakers, 50 recordings each.

    `fsdd` splits as its authors do: recordings 0 to 4 of every speaker and digit are the test;
    5 to 9 are the validation part. Every speaker is in every part, so there are no groups.
    `fsdd-speaker` asks for speakers never heard: in alphabetical order the last is the test and
    the one before it the validation part; groups are speakers. For the features see
    `minaction.data.wav.log_mel`.

    Args:
        name: `fsdd` or `fsdd-speaker`.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: recordings are missing, damaged or not what their names say.
        StorageError: a download could not be written.

    Reference:
        Jackson et al., Free Spoken Digit Dataset, Zenodo, doi:10.5281/zenodo.1342401, 2018.
    """
    (path,) = fetch_files(name, root).values()
    spec = DataSpec.of_source(name)
    recordings = _read_fsdd(path, spec)
    if not recordings:
        raise DataFileError(path, f"holds no recordings; {refetch_hint(path)}")
    x = np.stack([recording.features for recording in recordings])
    y = np.array([recording.label for recording in recordings], dtype=np.int64)
    speakers, groups = np.unique([r.speaker for r in recordings], return_inverse=True)
    if name == "fsdd-speaker":
        parts = _parts(groups == len(speakers) - 1, groups == len(speakers) - 2)
        return labelled_parts(spec, x, y, parts, path, groups)
    take = np.array([recording.take for recording in recordings])
    parts = _parts(take < _TEST_BELOW, (take >= _TEST_BELOW) & (take < _VALIDATION_BELOW))
    return labelled_parts(spec, x, y, parts, path)


def load_speech_commands(name: str, root: str | Path | None = None) -> Dataset:
    """Load Speech Commands v0.02: 35 words, one second each, by 2618 speakers.

    Validation and test are the recordings in the authors' lists, which share no speaker; groups
    are speakers. For the features see `minaction.data.wav.log_mel`. They are kept in the user's
    cache, as 105829 recordings take minutes to read.

    Args:
        name: name of the data set.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: the archive or folder is damaged, lacks a list or a listed recording, or
            a speaker is in two parts.
        StorageError: a download could not be written.

    Reference:
        Warden, Speech Commands: a dataset for limited-vocabulary speech recognition,
        arXiv:1804.03209, 2018.
    """
    files = fetch_files(name, root)
    (path,) = files.values()
    spec = DataSpec.of_source(name)
    arrays = parsed(
        name, _COMMANDS_VERSION, file_checksums(files), lambda: _read_commands(path, spec)
    )
    part = arrays["part"]
    parts = {"train": part == 0, "validation": part == 1, "test": part == 2}
    return labelled_parts(spec, arrays["x"], arrays["y"], parts, path, arrays["groups"])


def _parts(test: NDArray[np.bool_], validation: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    return {"train": ~test & ~validation, "validation": validation, "test": test}


def _read_fsdd(path: Path, spec: DataSpec) -> list[_Recording]:
    found = {}
    for name, contents in read_members(path, lambda name: bool(_FSDD_NAME.fullmatch(name))):
        digit, speaker, take = _match(_FSDD_NAME, name)
        samples = read_wav(contents, path / name, _FSDD_RATE_HZ)
        found[int(digit), speaker, int(take)] = _Recording(
            label=int(digit),
            speaker=speaker,
            take=int(take),
            features=log_mel(samples, _FSDD_RATE_HZ, *spec.shape),
        )
    return [found[key] for key in sorted(found)]


def _read_commands(path: Path, spec: DataSpec) -> Arrays:
    lists: dict[str, str] = {}
    found: dict[str, _Recording] = {}
    words = {word: label for label, word in enumerate(spec.class_names)}
    wanted = (*_LISTS.values(), ".wav")
    for name, contents in read_members(path, lambda name: name.endswith(wanted)):
        key = "/".join(name.split("/")[-2:])
        if name.endswith(".wav"):
            # Background noise has other names and is no word.
            if _COMMAND_NAME.fullmatch(name) and key.split("/")[0] in words:
                found[key] = _command(name, contents, path, spec, words)
        else:
            lists[name.split("/")[-1]] = contents.decode("ascii", errors="replace")
    return _arranged(found, _listed(lists, found, path), path)


def _command(
    name: str, contents: bytes, path: Path, spec: DataSpec, words: dict[str, int]
) -> _Recording:
    word, speaker = _match(_COMMAND_NAME, name)
    samples = read_wav(contents, path / name, _COMMANDS_RATE_HZ)
    features = log_mel(samples, _COMMANDS_RATE_HZ, *spec.shape)
    return _Recording(label=words[word], speaker=speaker, take=0, features=features)


def _listed(lists: dict[str, str], found: dict[str, _Recording], path: Path) -> dict[str, int]:
    """Return 1 for every recording of the validation list, 2 for every one of the test list."""
    listed = {}
    for part, file in enumerate(_LISTS.values(), start=1):
        if file not in lists:
            raise DataFileError(path / file, f"missing; {refetch_hint(path)}")
        keys = lists[file].split()
        if absent := [key for key in keys if key not in found]:
            raise DataFileError(
                path / absent[0], f"missing, but {file} lists it; {refetch_hint(path)}"
            )
        listed |= dict.fromkeys(keys, part)
    return listed


def _arranged(found: dict[str, _Recording], listed: dict[str, int], path: Path) -> Arrays:
    if not found:
        raise DataFileError(path, f"holds no recordings; {refetch_hint(path)}")
    keys = sorted(found)
    part = np.array([listed.get(key, 0) for key in keys], dtype=np.int64)
    speakers, groups = np.unique([found[key].speaker for key in keys], return_inverse=True)
    pairs = np.unique(np.stack([groups, part]), axis=1)
    if pairs.shape[1] > len(speakers):
        twice = speakers[np.flatnonzero(np.bincount(pairs[0]) > 1)[0]]
        raise DataFileError(
            path / _LISTS["test"],
            f"puts speaker {twice} into more than one part; {refetch_hint(path)}",
        )
    return {
        "x": np.stack([found[key].features for key in keys]),
        "y": np.array([found[key].label for key in keys], dtype=np.int64),
        "part": part,
        "groups": groups.astype(np.int64),
    }


def _match(pattern: re.Pattern[str], name: str) -> tuple[str, ...]:
    matched = pattern.fullmatch(name)
    assert matched is not None
    return matched.groups()
