"""The one value every loader returns and every model trains on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from minaction.data.source import Modality
from minaction.data.sources import source_of
from minaction.errors import InputError


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a model must know about a data set, and nothing more.

    What a sample is follows from its shape and from `vocabulary`:

    - (F,) with vocabulary None: a vector of features;
    - (T,) with vocabulary V: T token ids, int64, 0 = padding;
    - (T, C): T time steps of C channels or features;
    - (C, H, W): an image;
    - (T, C, H, W): T frames of C channels, for events the polarities.

    Attributes:
        name: name of the data set.
        modality: the kind of signal.
        shape: shape of ONE sample, for example (1, 28, 28).
        classes: number of classes.
        class_names: one name per class.
        vocabulary: number of token ids, padding included; None for everything that is not text.

    Raises:
        InputError: a dimension or the number of classes is not positive, names and classes
            disagree, or a vocabulary comes with another shape than (T,).
    """

    name: str
    modality: Modality
    shape: tuple[int, ...]
    classes: int
    class_names: tuple[str, ...]
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise InputError(f"shape is {self.shape}, expected positive dimensions of one sample")
        if self.classes < 1 or len(self.class_names) != self.classes:
            raise InputError(
                f"class_names has {len(self.class_names)} names for {self.classes} classes"
            )
        if self.vocabulary is not None and (self.vocabulary < 2 or len(self.shape) != 1):
            raise InputError(
                f"vocabulary is {self.vocabulary} with shape {self.shape}, expected padding and "
                f"at least one token, and a shape of (T,)"
            )

    @classmethod
    def of_source(cls, name: str) -> Self:
        """Return the spec that the table of sources gives for `name`."""
        source = source_of(name)
        return cls(
            name=name,
            modality=source.modality,
            shape=source.shape,
            classes=len(source.class_names),
            class_names=source.class_names,
            vocabulary=source.vocabulary,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Split:
    """Samples and labels of one part of a data set.

    Attributes:
        x: samples, float32 [n, *shape], or token ids, int64 [n, T].
        y: labels, int64 [n].
        groups: int64 [n], who or what a sample was recorded from, or None where it does not
            matter; a group never spans two splits.

    Raises:
        InputError: a dtype or length is not as above.
    """

    x: Tensor
    y: Tensor
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.dtype not in (torch.float32, torch.int64):
            raise InputError(
                f"x has dtype {self.x.dtype}, expected torch.float32, or torch.int64 for tokens"
            )
        _check_per_sample("y", self.y, len(self.x))
        if self.groups is not None:
            _check_per_sample("groups", self.groups, len(self.x))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Split({len(self)} samples of {tuple(self.x.shape[1:])})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Training, validation and test samples, in memory.

    Attributes:
        train: what parameters are fitted on.
        validation: what choices are made on.
        test: what is reported; read once, at the end of a run.
        spec: what a model must know.
        fingerprint: sha256 of every tensor and of the spec; equal contents give equal
            fingerprints on every machine. See `fingerprint_of`.

    Raises:
        InputError: a split does not fit the spec.
    """

    train: Split
    validation: Split
    test: Split
    spec: DataSpec
    fingerprint: str

    def __post_init__(self) -> None:
        for name, split in self.splits().items():
            _check_fits(name, split, self.spec)

    @classmethod
    def of(cls, *, train: Split, validation: Split, test: Split, spec: DataSpec) -> Self:
        """Return the data set with its fingerprint computed."""
        splits = {"train": train, "validation": validation, "test": test}
        return cls(spec=spec, fingerprint=fingerprint_of(spec, splits), **splits)

    def splits(self) -> dict[str, Split]:
        """Return the three splits by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def fingerprint_of(spec: DataSpec, splits: dict[str, Split]) -> str:
    """Return the sha256 (64 hex digits) of a spec and the contents of its splits.

    Hashed are the spec as canonical JSON (a vocabulary only if there is one) and, for each split
    in the order given, every tensor's name, dtype, shape and little-endian bytes; so neither the
    machine's byte order nor the memory layout matters.
    """
    fields = {key: value for key, value in asdict(spec).items() if value is not None}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    for name, split in splits.items():
        for field, tensor in (("x", split.x), ("y", split.y), ("groups", split.groups)):
            if tensor is not None:
                _hash_tensor(digest, f"{name}.{field}", tensor)
    return digest.hexdigest()


def _hash_tensor(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    array = np.ascontiguousarray(tensor.numpy(force=True))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
    # A view as bytes, since hashing must not copy a data set.
    digest.update(array.reshape(-1).view(np.uint8).data)


def _check_per_sample(name: str, tensor: Tensor, samples: int) -> None:
    if tensor.dtype != torch.int64 or tensor.shape != (samples,):
        raise InputError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, "
            f"expected torch.int64 of shape ({samples},)"
        )


def _check_fits(name: str, split: Split, spec: DataSpec) -> None:
    shape = tuple(split.x.shape[1:])
    if not len(split) or shape != spec.shape:
        raise InputError(
            f"{name} has {len(split)} samples of shape {shape}, expected some of {spec.shape}"
        )
    _check_values(name, split.x, spec.vocabulary)
    low, high = int(split.y.min()), int(split.y.max())
    if low < 0 or high >= spec.classes:
        raise InputError(f"{name} has labels {low} to {high}, expected 0 to {spec.classes - 1}")


def _check_values(name: str, x: Tensor, vocabulary: int | None) -> None:
    expected = torch.float32 if vocabulary is None else torch.int64
    if x.dtype != expected:
        raise InputError(f"{name} has x of {x.dtype}, expected {expected} as by its spec")
    if vocabulary is not None:
        low, high = x.aminmax()
        if low < 0 or high >= vocabulary:
            raise InputError(
                f"{name} has token ids {int(low)} to {int(high)}, expected 0 to {vocabulary - 1}"
            )
