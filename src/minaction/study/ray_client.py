"""The program that joins a Ray cluster: hands it batches of tasks and passes on the answers.

Started by the Ray executor, see `worker`. It takes `{"batch": number, "tasks": [...]}` and says of
each batch `{"batch", "answer", "worker", "seconds"}` as the runs end, then `{"batch", "lost"}`: why
the others were not done, or None where their time was up. `{"slots": n}` is how many runs the
cluster can do at once, `{"refused": why}` the end of it all. Imports no torch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from minaction.data.fetch import DATA_VARIABLE
from minaction.errors import ClusterError, MinActionError, StorageError
from minaction.study.directory import write_weights
from minaction.study.execute_ray import RaySetup
from minaction.study.program import Message
from minaction.study.ray_tasks import (
    Conditions,
    Result,
    do_batch,
    load_packed,
    require_same,
    version_reader,
)
from minaction.study.worker import Send, Setup

FATAL = (RayTaskError, RuntimeEnvSetupError, LocalRayletDiedError)
"""Errors that another try would meet again: what a run itself raises is an answer."""
AUTHENTICATION = "RAY_AUTH_MODE"
"""Ray's variable; unset, an address that is given is never told a token, nor is that said."""
LOOK_SECONDS = 5.0  # between two looks at the size of the cluster
MAX_ERROR = 300  # characters of Ray's own messages that are passed on


def serve(settings: Mapping[str, Any], inbox: SimpleQueue[str], send: Send) -> None:
    """Join the cluster and do what comes in, until the end is asked for."""
    setup = RaySetup(**settings)
    try:
        _join(setup)
        versions = _require_same_versions()
        conditions = Conditions(
            versions=tuple(versions.items()),
            threads=setup.threads,
            datasets=tuple((name, _put(name, setup.data_dir)) for name in setup.datasets),
        )
        asyncio.run(_Client(setup, conditions, inbox, send).run())
    except MinActionError as error:
        send({"refused": str(error)})
    ray.shutdown()
    os._exit(0)  # threads may still wait for something


class _Client:
    """Follows the batches that are out."""

    def __init__(
        self, setup: RaySetup, conditions: Conditions, inbox: SimpleQueue[str], send: Send
    ) -> None:
        self._setup, self._inbox, self._send = setup, inbox, send
        self._conditions = conditions
        self._do = ray.remote(
            num_cpus=setup.threads, num_gpus=setup.gpus, num_returns="streaming", max_retries=0
        )(do_batch)

    async def run(self) -> None:
        """Serve until the end is asked for."""
        at_work = {asyncio.create_task(self._watch_size())}
        while True:
            message = json.loads(await asyncio.to_thread(self._inbox.get))
            if "end" in message:
                return
            following = asyncio.create_task(self._follow(message["batch"], message["tasks"]))
            at_work.add(following)
            following.add_done_callback(at_work.discard)

    async def _follow(self, batch: int, tasks: list[Message]) -> None:
        """Pass on the answers of a batch, and say how it ended."""
        results: Any = self._do.remote(tasks, self._conditions)  # typed as if it were one object
        waiting, lost = iter(tasks), None
        try:
            async for reference in results:
                self._send({"batch": batch, **_told(await reference, next(waiting))})
        except Exception as error:
            if isinstance(error, FATAL) or not isinstance(error, RayError):
                self._send({"refused": _refusal(error)})
                return
            lost = _cause(error)
        self._send({"batch": batch, "lost": lost})

    async def _watch_size(self) -> None:
        """Say how many runs the cluster can do at once, whenever that changes."""
        said, warned = None, False
        while True:
            slots = await asyncio.to_thread(_slots, self._setup)
            if slots and slots != said:
                self._send({"slots": slots})
                said = slots
            if not slots and self._setup.address is None:
                self._send({"refused": f"this machine has no {_share(self._setup)}"})
            elif not slots and not warned:
                self._send({"note": f"no node has {_share(self._setup)}; waiting for one"})
                warned = True
            await asyncio.sleep(LOOK_SECONDS)


def _join(setup: RaySetup) -> None:
    """Join the cluster, or start one.

    Raises:
        ClusterError: It cannot be joined.
    """
    variables = Setup.environment(setup)  # what a worker needs, not what the client does
    if DATA_VARIABLE in os.environ:
        variables[DATA_VARIABLE] = str(Path(os.environ[DATA_VARIABLE]).expanduser().absolute())
    options: dict[str, Any] = {"address": setup.address}
    if setup.address is None:
        assert setup.workers is not None
        options = {
            "address": "local",
            "num_cpus": setup.workers * setup.threads,
            "include_dashboard": False,
            "_temp_dir": setup.shared,
        }
    os.chdir(setup.shared)  # workers look for modules where the client is
    try:
        ray.init(
            **options,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        if setup.address is None:
            raise ClusterError(f"no Ray cluster can be started here ({_said(error)})") from error
        hint = ""
        if setup.address != "auto" and AUTHENTICATION not in os.environ:
            hint = f"; if it asks for a token, as Ray's may, set {AUTHENTICATION}=token"
        where = f"no Ray cluster can be joined at {setup.address}"
        raise ClusterError(f"{where} ({_said(error)}){hint}") from error


def _require_same_versions() -> dict[str, str]:
    """Return the versions of this machine, which every node must have.

    Raises:
        ClusterError: A node has others.
    """
    read = version_reader()
    there, here = ray.remote(num_cpus=0, max_retries=0)(read), read()
    asked = [
        (
            node["NodeManagerAddress"],
            there.options(scheduling_strategy=_on(node["NodeID"])).remote(),
        )
        for node in _nodes()
    ]
    for node, answer in asked:
        try:
            require_same(ray.get(answer), here, node)
        except (NodeDiedError, TaskUnschedulableError):  # it has left meanwhile
            continue
        except RayError as error:
            raise ClusterError(f"node {node} cannot do tasks ({_said(error)})") from error
    return here


def _put(name: str, data_dir: str | None) -> ray.ObjectRef:
    """Put a data set into the object store, from this machine's files.

    Raises:
        MinActionError: It cannot be loaded.
    """
    here = _on(ray.get_runtime_context().get_node_id())
    load = ray.remote(num_cpus=0, num_returns=2)(load_packed)
    both: Any = load.options(scheduling_strategy=here).remote(name, data_dir)
    loaded, dataset = both
    try:
        ray.get(loaded)
    except RayError as error:
        if isinstance(error, RayTaskError) and isinstance(error.cause, MinActionError):
            raise error.cause from error
        raise ClusterError(
            f"data set {name} cannot be put into the object store of this node ({_said(error)})"
        ) from error
    return dataset


def _nodes() -> Iterator[dict[str, Any]]:
    return (node for node in ray.nodes() if node["Alive"])


def _on(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def _slots(setup: RaySetup) -> int:
    """Return how many runs there is room for in the cluster."""
    rooms = [
        (node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in _nodes()
    ]
    if not setup.gpus:
        return sum(int(cpus // setup.threads) for cpus, _ in rooms)
    return sum(int(min(cpus // setup.threads, round(gpus / setup.gpus, 6))) for cpus, gpus in rooms)


def _share(setup: RaySetup) -> str:
    """Say what there must be for a run."""
    gpus = f", --gpus-per-run {setup.gpus:g}" if setup.gpus else ""
    return f"room for a run (--cpus-per-run {setup.threads}{gpus})"


def _told(result: Result, task: Message) -> Message:
    """Return what is said of a result; a network's weights are written on the way."""
    answer = result.answer
    if result.weights is not None:
        try:
            write_weights(result.weights, Path(task["weights"]))
        except StorageError as error:
            answer = {"storage_error": str(error)}
    return {"answer": answer, "worker": result.worker, "seconds": result.seconds}


def _cause(error: RayError) -> str:
    """Say what became of a worker, in words that go on from 'the worker'."""
    if isinstance(error, OutOfMemoryError):
        return "was ended because memory ran out on its node; use fewer workers"
    if isinstance(error, NodeDiedError):
        return "was lost with its node"
    if isinstance(error, WorkerCrashedError):
        return "was killed or crashed; if memory ran out, use fewer workers"
    return f"was lost ({_said(error)})"


def _refusal(error: Exception) -> str:
    """Say why no run can go on."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, MinActionError):
        return str(error.cause)
    return f"the Ray cluster cannot go on: {_said(error)}; finished runs are kept"


def _said(error: BaseException) -> str:
    """Return what an error says, as one short line."""
    cause = getattr(error, "cause", None) or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:MAX_ERROR]
