"""What is done in a Ray cluster. Imports torch only there, not where it is asked for."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.util
from ray.exceptions import RayError

from minaction.errors import ClusterError, StorageError
from minaction.study.execute_ray import BATCH_SECONDS
from minaction.study.program import Message

if TYPE_CHECKING:
    from minaction.data.dataset import Dataset

FETCH_SECONDS = 600.0  # for a data set to arrive


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all tasks of a study share.

    Attributes:
        versions: Names and versions of the driver's machine.
        threads: Torch threads of a worker.
        datasets: Names of data sets and where the object store has them.
    """

    versions: tuple[tuple[str, str], ...]
    threads: int
    datasets: tuple[tuple[str, ray.ObjectRef], ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one task.

    Attributes:
        answer: As a local worker gives it.
        weights: The network, where it is to be kept: the driver's machine has the folder.
        worker: Node and process.
        seconds: What it took.
    """

    answer: Message
    weights: bytes | None
    worker: str
    seconds: float


def do_batch(tasks: list[Message], conditions: Conditions) -> Iterator[Result]:
    """Do tasks one after the other, as many as can be begun in the time of a batch.

    Raises:
        ClusterError: This node has other versions.
    """
    worker = _worker(conditions)
    started = time.monotonic()
    for task in tasks:
        yield worker.do(task)
        if time.monotonic() - started > BATCH_SECONDS:
            return


def load_packed(name: str, data_dir: str | None) -> tuple[None, Any]:
    """Load a data set from this machine's files; return what `resident.pack` makes of it.

    The None before it arrives together with the data set, or with the error that took its place.
    """
    from minaction.data.load import load_dataset
    from minaction.data.resident import pack

    return None, pack(load_dataset(name, data_dir))


def version_reader() -> Callable[[], dict[str, str]]:
    """Return a function that reads the versions that must be the same everywhere.

    Ray sends it as code, because it is defined in here: the package may be another one there.
    """

    def read() -> dict[str, str]:
        try:
            from minaction.measure.environment import code_version, versions
        except ImportError:
            return {"minaction": "none", "torch": "not looked for"}
        found = versions()
        return {
            "minaction": f"{found['minaction']} (code {code_version()})",
            "torch": found["torch"].partition("+")[0],  # builds for CPU and GPU may be mixed
        }

    return read


def require_same(there: Mapping[str, str], here: Mapping[str, str], node: str) -> None:
    """Check that a node has this machine's versions.

    Raises:
        ClusterError: It has others.
    """
    for name, version in here.items():
        if there[name] != version:
            raise ClusterError(
                f"node {node} of the Ray cluster has {name} {there[name]}, this machine has "
                f"{version}; install the same on both"
            )


@functools.cache  # one for each process
def _worker(conditions: Conditions) -> _Worker:
    return _Worker(conditions)


class _Worker:
    """Does the tasks of one process of the cluster."""

    def __init__(self, conditions: Conditions) -> None:
        from minaction.study.tasks import Tasks  # imports torch

        self._node = ray.util.get_node_ip_address()
        require_same(version_reader()(), dict(conditions.versions), self._node)
        self._datasets = dict(conditions.datasets)
        self._weights: bytes | None = None
        self._tasks = Tasks(self._attach, threads=conditions.threads, store=self._keep)

    def do(self, task: Message) -> Result:
        """Do one task."""
        started = time.monotonic()
        self._weights = None
        answer = self._tasks.do(task)
        return Result(
            answer=answer,
            weights=self._weights,
            worker=f"{self._node}/{os.getpid()}",
            seconds=time.monotonic() - started,
        )

    def _attach(self, name: str) -> Dataset:
        """Return a data set whose tensors are the node's copy in the object store.

        Raises:
            StorageError: The node cannot get it.
        """
        import torch

        from minaction.data.resident import unpack

        try:
            metadata, arrays = ray.get(self._datasets[name], timeout=FETCH_SECONDS)
        except RayError as error:
            said = str(error).split("\n")[0]
            raise StorageError(
                f"node {self._node} cannot get data set {name} from the object store "
                f"({type(error).__name__}: {said}); give Ray more memory there (`ray start "
                "--object-store-memory`), then run the same command again: finished runs are kept"
            ) from error
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return unpack(metadata, tensors)

    def _keep(self, weights: bytes, path: Path) -> None:
        self._weights = weights  # the path is one of the driver's machine
