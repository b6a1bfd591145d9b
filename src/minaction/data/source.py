"""One row of the table of data sets, and the checksums of data sets of many files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Modality = Literal["vision", "text", "neuromorphic", "physiological", "speech"]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a data set as its authors publish it.

    A file is held to `contents_sha256` if there is one, else to `sha256`, else to `md5`; without
    any it is taken as it is.

    Attributes:
        name: path in the data set's folder, with forward slashes.
        urls: where to get it, the canonical place first; empty where only a person may fetch it.
        bytes: size of the file, None if not known.
        md5: checksum as most references quote it.
        sha256: checksum of the file.
        repacked_sha256: checksums of archives with the same contents packed differently, accepted
            in its place.
        contents_sha256: checksum of an archive's contents, however they are packed; see
            `minaction.data.checksums.contents_sha256`.
        unpacked: what unpacking an archive leaves, as a path in the data set's folder; where it
            is present, the archive is not needed: the folder is read instead, or that file if
            it holds all of the archive (`unpacked_whole`).
        unpacked_whole: True when the archive holds one file, `unpacked`.
        unpacked_bytes: size of a decompressed gzip file.
        unpacked_sha256: checksum of a decompressed gzip file, which is accepted in its place.
    """

    name: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    repacked_sha256: tuple[str, ...] = ()
    contents_sha256: str | None = None
    unpacked: str | None = None
    unpacked_whole: bool = False
    unpacked_bytes: int | None = None
    unpacked_sha256: str | None = None

    @property
    def unpacked_name(self) -> str:
        """File name without the compression suffix."""
        return self.name.removesuffix(".gz")

    @property
    def packed_name(self) -> str:
        """File name with the compression suffix."""
        return f"{self.unpacked_name}.gz"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set of the table.

    Attributes:
        title: one line for people.
        modality: the kind of signal.
        shape: shape of one sample.
        class_names: names of the classes; the label is the index.
        vocabulary: number of token ids where a sample is a sequence of tokens, else None.
        files: what must be in the data set's folder; empty when an installed package brings it.
        folder: name of the folder under a data root, where it is not the data set's own name:
            several views may be read from the same files.
        licence: terms of use as the authors state them.
        citation: what to cite.
        homepage: where the data set is described.
        offline: True when the data come with an installed package, so nothing is downloaded.
        simulated: True when the signals come from a simulation, not from a sensor.
    """

    title: str
    modality: Modality
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    vocabulary: int | None = None
    files: tuple[SourceFile, ...] = ()
    folder: str | None = None
    licence: str
    citation: str
    homepage: str
    offline: bool = False
    simulated: bool = False


def listed_files(listing: str, address: Callable[[str], str]) -> tuple[SourceFile, ...]:
    """Return the files of a data set that is published as many files.

    Args:
        listing: name of a list in `minaction/data/listings`, in the format of `sha256sum`.
        address: returns where the file of a path is.
    """
    text = files("minaction.data").joinpath("listings", listing).read_text(encoding="utf-8")
    rows = (line.split("  ", 1) for line in text.splitlines())
    return tuple(
        SourceFile(name=path, urls=(address(path),), sha256=sha256) for sha256, path in rows
    )
