"""The local executor: persistent workers, each fed one task at a time. Imports no torch."""

from __future__ import annotations

import contextlib
import selectors
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from minaction.errors import MinActionError, StorageError
from minaction.study.clean_up import CleansUp
from minaction.study.program import Message, Program
from minaction.study.scratch import scratch_folder
from minaction.study.worker import Setup

MAX_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a task: a worker's answer, or why there is none."""

    task: Message
    content: Message


class Executor(Protocol):
    """What the driver asks of an executor."""

    @property
    def workers(self) -> int:
        """How many runs it does at once."""
        ...

    def map(self, tasks: Iterable[Message]) -> Iterator[Answer]:
        """Do the tasks in any order and yield the answers as they come."""
        ...


class LocalExecutor(CleansUp):
    """Runs tasks in `workers` processes on this machine, one torch thread each.

    A context manager; leaving it ends the processes and removes the shared data.

    Args:
        workers: Number of processes.
        data_dir: Where data sets are looked for first, or None.
        note: Called with one line of text when a worker dies over a task.

    Raises:
        StorageError: On entering, if there is no room for temporary files.
    """

    def __init__(
        self, workers: int, data_dir: str | None, note: Callable[[str], None] | None = None
    ) -> None:
        self._data_dir = data_dir
        self._note = note or (lambda text: None)
        self._workers: list[_Worker | None] = [None] * workers
        self._again: deque[Job] = deque()
        self._failed_starts = 0

    def _open(self, opening: contextlib.ExitStack) -> None:
        self._shared = opening.enter_context(scratch_folder())
        self._selector = opening.enter_context(selectors.DefaultSelector())
        opening.callback(self._end_workers)
        for number in range(len(self._workers)):
            self._start(number)

    @property
    def workers(self) -> int:
        """How many runs it does at once."""
        return len(self._workers)

    def map(self, tasks: Iterable[Message]) -> Iterator[Answer]:
        """Do the tasks and yield the answers as they come; tasks are drawn as they are needed.

        A task whose worker dies is given to a new worker, three times at most; after that its
        answer is an error that names the signal. A stack of runs has an answer for each of them;
        if its worker dies, those without one are given out again in two halves, since memory may
        have run out.

        Raises:
            StorageError: A worker could not write.
            MinActionError: Workers cannot be started.
        """
        waiting = iter(tasks)
        while self._dispatch(waiting):
            for key, _ in self._selector.select():
                yield from self._attend(key.data)

    def _dispatch(self, waiting: Iterator[Message]) -> bool:
        """Give every idle worker a task and return whether any is at work.

        Workers are started anew only for tasks that no idle one can take.
        """
        slots = sorted(range(len(self._workers)), key=lambda n: self._workers[n] is None)
        for number in slots:
            worker = self._workers[number]
            if worker is not None and worker.job is not None:
                continue
            job = self._again.popleft() if self._again else next_job(waiting)
            if job is None:
                break
            (worker or self._start(number)).begin(job)
        return any(worker is not None and worker.job is not None for worker in self._workers)

    def _attend(self, number: int) -> Iterator[Answer]:
        """Take what a worker has to say, be it only that it is dead."""
        worker = self._workers[number]
        assert worker is not None
        contents = worker.receive()
        if contents is None:
            yield from self._bury(number, worker)
            return
        for content in contents:
            if "ready" in content:
                worker.ready, self._failed_starts = True, 0
                continue
            job = worker.job
            assert job is not None
            task = job.left.pop(content.pop("run", 0))
            if not job.left:
                worker.job = None
            yield answered(task, content, number)

    def _bury(self, number: int, worker: _Worker) -> Iterator[Answer]:
        """Forget a dead worker; its task is tried again or, the third time, given up.

        Another worker is started only when there is a task for it: one that dies at its start
        must not be started for ever.
        """
        self._selector.unregister(worker.answers)
        self._workers[number] = None
        cause, job = worker.cause_of_death(), worker.job
        worker.kill()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_ATTEMPTS:
                raise MinActionError(f"workers cannot be started: {cause}")
        if job is None:
            return
        job.attempts += worker.ready  # who never was ready did not begin it
        runs = list(job.left.values())
        if len(runs) > 1 and worker.ready:
            self._note(f"a worker {cause}; its {len(runs)} runs are tried again in two halves")
            middle = (len(runs) + 1) // 2
            self._again.extend(map(Job.of, (runs[:middle], runs[middle:])))
        elif job.exhausted:
            yield job.given_up(cause)
        else:
            self._note(f"a worker {cause}; its task is tried again")
            self._again.append(replace(Job.of(runs), attempts=job.attempts))

    def _start(self, number: int) -> _Worker:
        setup = Setup(data_dir=self._data_dir, shared=str(self._shared))
        try:
            worker = _Worker(setup, self._shared / f"worker-{number}.log")
        except OSError as error:
            raise StorageError(
                f"a worker cannot be started ({error.strerror or error}); free memory and "
                "temporary space (TMPDIR), then run the same command again"
            ) from error
        self._workers[number] = worker
        self._selector.register(worker.answers, selectors.EVENT_READ, number)
        return worker

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.kill()
        self._workers = [None] * len(self._workers)


@dataclass(kw_only=True)
class Job:
    """What a worker does at a time, and how many have died over it.

    Attributes:
        message: What it is told.
        left: Tasks that have no answer yet, by the number the answer names.
        attempts: Workers that have died.
    """

    message: Message
    left: dict[int, Message]
    attempts: int = 0

    @classmethod
    def of(cls, tasks: Sequence[Message]) -> Job:
        """Make one of a task, or of runs that are to be stacked."""
        message = tasks[0] if len(tasks) == 1 else {"task": "stack", "runs": tasks}
        return cls(message=message, left=dict(enumerate(tasks)))

    @property
    def exhausted(self) -> bool:
        """Whether it is not worth another try."""
        return self.attempts >= MAX_ATTEMPTS

    def given_up(self, cause: str) -> Answer:
        """Return the answer that says why there is none."""
        error = f"the worker {cause}; this happened {MAX_ATTEMPTS} times"
        return Answer(task=next(iter(self.left.values())), content={"error": error})


class _Worker(Program):
    """A worker and what it does.

    Attributes:
        job: What it is doing.
        ready: Whether it has come as far as taking tasks.
    """

    def __init__(self, setup: Setup, log: Path) -> None:
        super().__init__(setup, log)
        self.job: Job | None = None
        self.ready = False

    def begin(self, job: Job) -> None:
        """Give it a task."""
        self.job = job
        self.send(job.message)


def next_job(tasks: Iterator[Message]) -> Job | None:
    """Draw a task, None after the last."""
    task = next(tasks, None)
    return None if task is None else Job.of(task["runs"] if task["task"] == "stack" else [task])


def answered(task: Message, content: Message, worker: int | str) -> Answer:
    """Return a worker's answer; its record says who made it.

    Raises:
        StorageError: The worker could not write.
    """
    if "storage_error" in content:
        raise StorageError(content["storage_error"])
    if "record" in content:
        content["record"]["provenance"]["worker"] = worker
    return Answer(task=task, content=content)
