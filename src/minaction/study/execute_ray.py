"""The Ray executor: runs as Ray tasks on this machine or a cluster. Imports neither ray nor torch.

Ray is joined by a program of its own, `ray_client`: what Ray prints stays in that program's log,
and when the cluster's head is lost, which ends it, the driver lives to say so. The driver keeps
every run it gave away until its record is there; Ray itself retries nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minaction.errors import ClusterError, MinActionError, StorageError
from minaction.study.clean_up import CleansUp
from minaction.study.execute import Answer, Job, answered, next_job
from minaction.study.program import Message, Program
from minaction.study.scratch import scratch_folder
from minaction.study.worker import PACKAGE_ROOT, Setup

BATCH_SECONDS = 1.0
"""Short runs go to a worker together, about so long; it gives back what it has not begun then."""
MAX_BATCH = 1000
MAX_GPUS = 1000
AHEAD = 2  # batches given away for each run the cluster can do at once: the next one waits there
SMOOTHING = 0.1  # weight of the latest run in the mean run time
SOCKET_BYTES = 66  # of `/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store`


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Which cluster does the runs, and what it reserves for each.

    Attributes:
        address: `auto` for the one this machine belongs to, `HOST:PORT` of its head, or None to
            start one on this machine and end it afterwards.
        cpus_per_run: CPUs and torch threads.
        gpus_per_run: GPUs, or a fraction of one.

    Raises:
        ClusterError: The address is of another form, or there is no such number of GPUs.
    """

    address: str | None = None
    cpus_per_run: int = 1
    gpus_per_run: float = 0.0

    def __post_init__(self) -> None:
        gpus = self.gpus_per_run
        if not (0 <= gpus <= 1 or gpus in range(MAX_GPUS)):
            raise ClusterError(
                f"{gpus:g} GPUs for a run; give a whole number, or a part of one GPU"
            )
        if self.address in (None, "auto"):
            return
        host, _, port = self.address.rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise ClusterError(
                f"no Ray address: {self.address!r}; give `auto`, or HOST:PORT as `ray start --head`"
                " prints it, on a machine of the cluster"
            )


@dataclass(frozen=True, kw_only=True)
class RaySetup(Setup):
    """What the Ray client is told.

    Attributes:
        address: As for `RayCluster`.
        workers: Runs to be done at once, None for as many as the cluster can; never None without
            an address.
        gpus: GPUs of a run.
        datasets: Names of the data sets runs may need.
    """

    address: str | None
    workers: int | None
    gpus: float
    datasets: Sequence[str]
    serves: str = "minaction.study.ray_client"

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the client, and of the cluster that it starts."""
        roots = [PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        found = {
            **super().environment(),
            "PYTHONPATH": os.pathsep.join(roots),
            "RAY_USAGE_STATS_ENABLED": "0",
            # on top of the client's, and not Ray's 15: on a shared machine its workers would get
            # what others leave
            "RAY_worker_niceness": "0",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # after which a lost head is given up
        }
        if self.address is None:
            return found
        return {
            **found,  # an address where nothing answers is refused in seconds instead of minutes
            "RAY_gcs_rpc_server_connect_timeout_s": "2",
            "RAY_py_gcs_connect_timeout_s": "5",
            "RAY_NUM_REDIS_GET_RETRIES": "1",
        }


class RayExecutor(CleansUp):
    """Does tasks in a Ray cluster, many short ones at a time.

    A context manager; leaving it ends the tasks that run, and the cluster if it was started here.

    Args:
        cluster: Which one, and what a run takes of it.
        workers: Runs done at once; None for as many as the cluster can do.
        data_dir: Where data sets are looked for first, or None.
        datasets: Names of those that tasks may need; they are loaded here, once, and handed out
            by the cluster.
        note: Called with one line of text when a worker is lost.

    Raises:
        ClusterError: On entering, if ray is not installed, or the cluster cannot be joined or does
            not fit.
        StorageError: On entering, if there is no room for temporary files.
    """

    def __init__(
        self,
        cluster: RayCluster,
        workers: int | None,
        data_dir: str | None,
        datasets: Sequence[str],
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._cluster, self._limit = cluster, workers
        self._data_dir = None if data_dir is None else str(Path(data_dir).absolute())
        self._datasets = datasets
        self._note = note or (lambda text: None)
        self._slots = 0
        self._given: dict[int, deque[Job]] = {}
        self._batches = 0
        self._again: deque[Job] = deque()
        self._run_seconds: float | None = None

    def _open(self, opening: contextlib.ExitStack) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ClusterError(
                "the executor `ray` needs ray; install with: pip install 'minaction[ray]'"
            )
        sockets = SOCKET_BYTES if self._cluster.address is None else 0
        shared = opening.enter_context(scratch_folder(socket_bytes=sockets))
        self._client = self._start(shared)
        opening.callback(self._end_client)
        while not self._slots:
            for _ in self._attend():
                pass

    @property
    def workers(self) -> int:
        """How many runs the cluster does at once, as far as is known."""
        return min(self._slots, self._limit or self._slots)

    def map(self, tasks: Iterable[Message]) -> Iterator[Answer]:
        """Do the tasks and yield the answers as they come; tasks are drawn as they are needed.

        A task whose worker or node is lost is given away again, three times at most; after that its
        answer is an error that says what happened.

        Raises:
            ClusterError: A node does not fit.
            StorageError: A node cannot get a data set, or weights could not be written.
            MinActionError: The cluster was lost.
        """
        waiting = iter(tasks)
        while self._give(waiting):
            yield from self._attend()

    def _give(self, waiting: Iterator[Message]) -> bool:
        """Give tasks away, no more than are needed soon; return whether any are out."""
        ahead = AHEAD * self._slots
        # a cluster started here has just the CPUs that were asked for: no need to hold back
        most = ahead if self._cluster.address is None else min(self._limit or ahead, ahead)
        while len(self._given) < most:
            batch = self._next_batch(waiting)
            if not batch:
                break
            self._batches += 1
            self._given[self._batches] = batch
            self._client.send({"batch": self._batches, "tasks": [job.message for job in batch]})
        return bool(self._given)

    def _next_batch(self, waiting: Iterator[Message]) -> deque[Job]:
        size = 1
        if self._run_seconds is not None:
            size = int(min(MAX_BATCH, max(1.0, BATCH_SECONDS / max(self._run_seconds, 1e-9))))
        batch: deque[Job] = deque()
        while len(batch) < size:
            job = self._again.popleft() if self._again else next_job(waiting)
            if job is None:
                break
            batch.append(job)
        return batch

    def _attend(self) -> Iterator[Answer]:
        """Take what the client has to say, be it only that it has ended."""
        messages = self._client.receive()
        if messages is None:
            cause = self._client.cause_of_death()
            if not self._slots:
                raise ClusterError(f"no Ray cluster can be used here: the client {cause}")
            raise MinActionError(
                f"the Ray cluster was lost (the client {cause}); start it again, then run the same "
                "command again: finished runs are kept"
            )
        for message in messages:
            if "refused" in message:
                raise ClusterError(message["refused"])
            if "note" in message:
                self._note(message["note"])
            elif "slots" in message:
                self._slots = message["slots"]
            elif "answer" in message:
                job = self._given[message["batch"]].popleft()
                self._learn(message["seconds"])
                yield answered(job.message, message["answer"], message["worker"])
            else:
                yield from self._close(self._given.pop(message["batch"]), message["lost"])

    def _close(self, rest: deque[Job], cause: str | None) -> Iterator[Answer]:
        """Take back what is left of a batch; only its first task can have been running."""
        if rest and cause is not None:
            rest[0].attempts += 1
            if rest[0].exhausted:
                yield rest.popleft().given_up(cause)
            else:
                self._note(f"a worker {cause}; its task is tried again")
        self._again.extend(rest)

    def _learn(self, seconds: float) -> None:
        before = seconds if self._run_seconds is None else self._run_seconds
        self._run_seconds = before + SMOOTHING * (seconds - before)

    def _start(self, shared: Path) -> Program:
        setup = RaySetup(
            data_dir=self._data_dir,
            shared=str(shared),
            threads=self._cluster.cpus_per_run,
            address=self._cluster.address,
            workers=self._limit,
            gpus=self._cluster.gpus_per_run,
            datasets=self._datasets,
        )
        try:
            return Program(setup, shared / "client.log")
        except OSError as error:
            raise StorageError(
                f"the Ray client cannot be started ({error.strerror or error}); free memory and "
                "temporary space (TMPDIR), then run the same command again"
            ) from error

    def _end_client(self) -> None:
        if self._slots:
            self._client.end({"end": True})
        else:  # it has not come as far as listening, and may have started half a cluster
            from minaction.study.process_tree import kill_tree  # psutil comes with the extra

            kill_tree(self._client.pid)
            self._client.kill()
