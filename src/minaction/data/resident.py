"""Data sets that the processes of one study share in memory instead of copying.

One process writes the tensors to a safetensors file; every process maps that file, so that all
of them read the same physical pages. The mapping is private: a process that writes to its
tensors changes neither the file nor what the others see.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import AcquireReturnProxy, FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.data.load import load_dataset
from minaction.data.sources import source_of
from minaction.errors import DataFileError, InputError, StorageError

_FORMAT = "minaction-dataset-1"


def resident(name: str, root: str | Path | None, folder: str | Path) -> Dataset:
    """Return the data set `name`, shared with all processes that name the same `folder`.

    The first caller loads and publishes it, the others wait for that and attach.

    Args:
        name: name of the data set.
        root: where its files are; see `minaction.data.load.load_dataset`.
        folder: scratch folder of one study; whoever made it removes it afterwards.

    Raises:
        UnknownNameError: no such data set.
        DataFileError: a data file, or the published file, is missing or damaged.
        StorageError: `folder` cannot be written.
    """
    source_of(name)
    path = Path(folder) / f"{name}.safetensors"
    with _locked(path):
        if not path.exists():
            publish(load_dataset(name, root), path)
    return attach(path)


def publish(dataset: Dataset, path: str | Path) -> None:
    """Write a data set to one safetensors file; `path` holds all of it or is left as it was.

    Spec and fingerprint are kept as JSON in the file's metadata.

    Raises:
        StorageError: the disk refused the write.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    metadata, arrays = pack(dataset)
    try:
        save_file(arrays, part, metadata)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{path}: cannot be written ({error}); make room or name another"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def attach(path: str | Path) -> Dataset:
    """Return a published data set whose tensors are a private mapping of the file.

    Nothing is read until it is used, and then it is shared with every other process that
    attached the same file. The file may be deleted while it is attached.

    Raises:
        DataFileError: the file is missing, damaged or not a published data set.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return unpack(metadata, tensors)
    except OSError as error:
        raise DataFileError(path, f"cannot be attached ({error}); publish it again") from error
    except (SafetensorError, InputError, KeyError, TypeError, ValueError) as error:
        raise DataFileError(
            path, f"is not a published data set ({error}); delete it and publish it again"
        ) from error


def pack(dataset: Dataset) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return a data set as text and arrays, what any process can make it from again."""
    metadata = {
        "format": _FORMAT,
        "spec": json.dumps(asdict(dataset.spec)),
        "fingerprint": dataset.fingerprint,
    }
    # As arrays, because safetensors refuses torch tensors that share memory; splits may.
    arrays = {
        f"{name}.{field}": np.ascontiguousarray(tensor.numpy(force=True))
        for name, split in dataset.splits().items()
        for field, tensor in (("x", split.x), ("y", split.y), ("groups", split.groups))
        if tensor is not None
    }
    return metadata, arrays


def unpack(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Dataset:
    """Return the data set that `pack` took apart, its arrays as tensors; nothing is copied.

    Raises:
        InputError: another format.
        KeyError: something is missing.
    """
    if metadata["format"] != _FORMAT:
        raise InputError(f"format {metadata['format']!r}, expected {_FORMAT!r}")
    splits = {
        name: Split(
            x=tensors[f"{name}.x"], y=tensors[f"{name}.y"], groups=tensors.get(f"{name}.groups")
        )
        for name in ("train", "validation", "test")
    }
    spec = _spec(json.loads(metadata["spec"]))
    return Dataset(spec=spec, fingerprint=metadata["fingerprint"], **splits)


def _locked(path: Path) -> AcquireReturnProxy:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path.with_suffix(".lock")).acquire()
    except OSError as error:
        raise StorageError(f"{path.parent}: cannot be written ({error.strerror})") from error


def _spec(fields: dict[str, Any]) -> DataSpec:
    return DataSpec(
        name=fields["name"],
        modality=fields["modality"],
        shape=tuple(fields["shape"]),
        classes=fields["classes"],
        class_names=tuple(fields["class_names"]),
        vocabulary=fields.get("vocabulary"),
    )
