"""The 20 Newsgroups, with headers, quotes and footers stripped."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from minaction.data.archives import read_members
from minaction.data.dataset import Dataset, DataSpec
from minaction.data.fetch import fetch_files
from minaction.data.parsed import Arrays, file_checksums, parsed
from minaction.data.signals import labelled_parts
from minaction.data.sources import refetch_hint
from minaction.data.sources_text import NEWSGROUPS_VOCABULARY
from minaction.data.split import stratified_holdout
from minaction.data.vocabulary import Encoded, encode, words
from minaction.errors import DataFileError

# Part, newsgroup and number of a message.
_NAME = re.compile(r"(?:.*/)?20news-bydate-(train|test)/([a-z.-]+)/(\d+)")
_VERSION = 2
_VALIDATION_EVERY = 10

_QUOTED = re.compile(r"\s*[>|:]|[A-Za-z]{1,3}>")
_ATTRIBUTION = re.compile(r"in article\b|.*\b(?:writes|wrote|says|said):?\s*$", re.IGNORECASE)
_RULE = re.compile(r"\s*[-=_*~#]*\s*")


def load_newsgroups(name: str, root: str | Path | None = None) -> Dataset:
    """Load 20 Newsgroups, split by date: 11314 messages before a day, 7532 after it.

    Of each message only what its author wrote there is kept; see `stripped`. `20newsgroups` is a
    message's first 256 known words as token ids, `20newsgroups-tfidf` one TF-IDF vector over the
    same 4094 words; see `minaction.data.vocabulary`. Vocabulary and document frequencies are
    taken from the training part alone. Validation is a fixed, stratified 10 % of the official
    training set. Messages with nothing left are kept, as one unknown token or a vector of zeros.

    Args:
        name: `20newsgroups` or `20newsgroups-tfidf`.
        root: folder to look in first; see `minaction.data.fetch`.

    Raises:
        DataFileError: the archive or folder is missing, damaged or incomplete.
        StorageError: a download could not be written.

    Reference:
        Lang, NewsWeeder: learning to filter netnews, ICML 1995.
    """
    files = fetch_files(name, root)
    (path,) = files.values()
    spec = DataSpec.of_source(name)
    arrays = parsed("20newsgroups", _VERSION, file_checksums(files), lambda: _read(path, spec))
    encoded = Encoded(
        ids=arrays["ids"], lengths=arrays["lengths"], vocabulary=NEWSGROUPS_VOCABULARY
    )
    test, validation = arrays["part"] == 2, arrays["part"] == 1
    train = ~test & ~validation
    x = encoded.token_ids(*spec.shape) if spec.vocabulary else encoded.tf_idf(train)
    parts = {"train": train, "validation": validation, "test": test}
    return labelled_parts(spec, x, arrays["y"], parts, path)


def stripped(message: str) -> str:
    """Return a message without its header, quoted lines and footer.

    The header ends at the first empty line. Quoted are lines that begin with a quotation mark of
    mail programs (`>`, `|`, `:`, `AB>`) and those that name whom they quote (`... writes:`). The
    footer is what follows the last empty line or rule, if anything comes before it: signatures
    tell the author, and authors tell the newsgroup.
    """
    _, _, body = message.replace("\r\n", "\n").partition("\n\n")
    lines = [
        line
        for line in body.split("\n")
        if not _QUOTED.match(line) and not _ATTRIBUTION.match(line)
    ]
    lines = "\n".join(lines).strip().split("\n")
    for last in range(len(lines) - 1, 0, -1):
        if _RULE.fullmatch(lines[last]):
            return "\n".join(lines[:last])
    return "\n".join(lines)


def _read(path: Path, spec: DataSpec) -> Arrays:
    messages = {}
    for member, contents in read_members(path, lambda name: bool(_NAME.fullmatch(name))):
        matched = _NAME.fullmatch(member)
        if matched is None or matched[2] not in spec.class_names:
            raise DataFileError(path / member, f"is of no known group; {refetch_hint(path)}")
        messages[matched[1], matched[2], int(matched[3])] = contents.decode("latin-1")
    if not messages:
        raise DataFileError(path, f"holds no messages; {refetch_hint(path)}")
    keys = sorted(messages)
    documents = [words(stripped(messages[key])) for key in keys]
    if not any(documents):
        raise DataFileError(path, f"holds only empty messages; {refetch_hint(path)}")
    y = np.array([spec.class_names.index(key[1]) for key in keys], dtype=np.int64)
    part = np.where([key[0] == "test" for key in keys], 2, 0)
    official = np.flatnonzero(part == 0)
    part[official[stratified_holdout(y[official], _VALIDATION_EVERY)]] = 1
    encoded = encode(documents, y, part == 0, NEWSGROUPS_VOCABULARY)
    return {**encoded.arrays(), "y": y, "part": part.astype(np.int64)}
