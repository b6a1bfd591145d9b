"""The offline default for text: the docstrings of the scientific packages installed here."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from minaction.data.dataset import Dataset, DataSpec
from minaction.data.parsed import Arrays, parsed
from minaction.data.signals import labelled_parts
from minaction.data.sources_text import DOCSTRINGS_VOCABULARY
from minaction.data.vocabulary import Encoded, encode, words
from minaction.errors import DataFileError

# The package's name, its distribution, and the parts of it that are read: all of torch would
# outnumber the others and take longer than they do together.
_PACKAGES = {
    "numpy": ("numpy", ("",)),
    "pandas": ("pandas", ("core", "io", "plotting")),
    "scipy": ("scipy", ("",)),
    "sklearn": ("scikit-learn", ("",)),
    "torch": ("torch", ("nn", "optim", "distributions", "autograd")),
}
# What would give the package away, as a header gives away a newsgroup.
_TELLING = {
    *("numpy", "np", "pandas", "pd", "scipy", "sp", "sklearn", "scikit", "learn", "torch"),
    *("pytorch", "ndarray", "dataframe", "tensor", "tensors", "versionadded", "versionchanged"),
}
# A string in triple quotes on the line after one that ends with a colon: what a parser finds, in
# a twentieth of its time.
_DOCSTRING = re.compile(r':[ \t]*\n\s*[ru]?"""(.*?)"""', re.DOTALL)
_PASSED_OVER = {"tests", "testing", "_vendored"}
_CODE = re.compile(r"^\s*(?:>>>|\.\.\.|\.\. ).*$", re.MULTILINE)
_MIN_WORDS = 10
_MAX_PER_PACKAGE = 1_200
_VERSION = 2


def load_docstrings(name: str = "docstrings", root: str | Path | None = None) -> Dataset:
    """Load the docstrings of the installed numpy, pandas, scipy, scikit-learn and torch.

    The label is the package. Read are the sources of modules outside tests, never executed.
    Code examples and the packages' own names are left out, docstrings of fewer than ten words
    too, and of equal ones all but one; of a package at most 1200, chosen by the hash of their
    text. Groups are modules, so that the parts share none: by the hash of its name a module
    belongs to the test (2 in 10), the validation (1 in 10) or the training part. A sample is the
    first 64 known words as token ids; see `minaction.data.vocabulary`.

    The data, and so the fingerprint, depend on the packages' versions.

    Args:
        name: name of the data set.
        root: not needed, as the data come with installed packages.

    Raises:
        DataFileError: a package is missing or was installed without its sources.
    """
    spec = DataSpec.of_source(name)
    versions = {package: version(row[0]) for package, row in _PACKAGES.items()}
    arrays = parsed(name, _VERSION, versions, lambda: _read(spec))
    encoded = Encoded(
        ids=arrays["ids"], lengths=arrays["lengths"], vocabulary=DOCSTRINGS_VOCABULARY
    )
    part = arrays["part"]
    parts = {"train": part == 0, "validation": part == 1, "test": part == 2}
    return labelled_parts(
        spec, encoded.token_ids(*spec.shape), arrays["y"], parts, _home("torch"), arrays["groups"]
    )


def _read(spec: DataSpec) -> Arrays:
    documents, labels, modules = [], [], []
    for label, package in enumerate(spec.class_names):
        for module, document in _chosen(package):
            documents.append(document)
            labels.append(label)
            modules.append(module)
    names, groups = np.unique(modules, return_inverse=True)
    part = np.array([_part_of(name) for name in names], dtype=np.int64)[groups]
    y = np.array(labels, dtype=np.int64)
    encoded = encode(documents, y, part == 0, DOCSTRINGS_VOCABULARY)
    return {**encoded.arrays(), "y": y, "part": part, "groups": groups.astype(np.int64)}


def _chosen(package: str) -> list[tuple[str, list[str]]]:
    found = {}
    for module, text in _docstrings(package):
        document = [word for word in words(_CODE.sub("", text)) if word not in _TELLING]
        if len(document) >= _MIN_WORDS:
            found.setdefault(_hash(" ".join(document)), (module, document))
    if not found:
        raise DataFileError(_home(package), "has no docstrings; install it with its sources")
    return [found[key] for key in sorted(found)[:_MAX_PER_PACKAGE]]


def _docstrings(package: str) -> Iterator[tuple[str, str]]:
    home = _home(package)
    for folder in _PACKAGES[package][1]:
        for path in sorted((home / folder).rglob("*.py")):
            relative = path.relative_to(home)
            if not _PASSED_OVER & set(relative.parts):
                for text in _DOCSTRING.findall(path.read_text(encoding="utf-8", errors="replace")):
                    yield f"{package}/{relative.as_posix()}", text


def _home(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise DataFileError(Path(package), "is not installed; install minaction anew")
    return Path(found.submodule_search_locations[0])


def _part_of(module: str) -> int:
    """Return 2 (test) for two modules in ten, 1 (validation) for one, else 0."""
    return {0: 2, 1: 2, 2: 1}.get(int(_hash(module), 16) % 10, 0)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
