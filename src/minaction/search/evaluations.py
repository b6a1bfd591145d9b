"""Training candidates: through the executors and the journal of studies, each of them once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from minaction.search.directory import Problem, read_left_out, write_left_out
from minaction.search.feasible import find_problems, left_out_of
from minaction.search.search_file import Search
from minaction.search.space import architectures
from minaction.study.choose_execution import Choice, choose_execution
from minaction.study.design import RunConfig, run_id
from minaction.study.directory import weights_path
from minaction.study.driver import Listener, record_of
from minaction.study.execute import Executor
from minaction.study.journal import Journal, latest_records
from minaction.study.record import Record, RunStatus


class Evaluations:
    """Gives the records of candidates; those the journal does not have are made first.

    A context manager. Workers are started when there is something to do, and ended on leaving.

    Args:
        search: The search file.
        directory: The search's directory.
        journal: Its journal, open.
        start: Starts an executor.
        listener: Told what happens.

    Attributes:
        records: What there is, by run id; without tries that failed before this one was made.
        ran: Runs that were made.
        failed: Those of them that failed.
    """

    def __init__(
        self,
        search: Search,
        directory: Path,
        journal: Journal,
        start: Callable[[], AbstractContextManager[Executor]],
        listener: Listener,
    ) -> None:
        self._search, self._crossing = search, search.crossing
        self._directory, self._journal = directory, journal
        self._start, self._listener = start, listener
        self._open = contextlib.ExitStack()
        self.records = {
            record.run_id: record
            for record in latest_records(directory)
            if record.run_id in journal.finished
        }
        self.ran = self.failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def __call__(self, configs: Sequence[RunConfig]) -> list[Record]:
        """Return the records of candidates in the order given.

        Raises:
            StorageError: The disk refused a write; finished runs are kept.
            MinActionError: Workers cannot be started, or the calibration failed.
        """
        names = [run_id(config) for config in configs]
        wanted = dict(zip(names, configs, strict=True))
        missing = [config for name, config in wanted.items() if name not in self.records]
        if missing:
            execution, calibration = self._execution
            tasks = [self._task(config, execution) for config in missing]
            for answer in self._executor.map(tasks):
                record = record_of(answer, self._crossing, calibration)
                self._journal.append(record)
                self.records[record.run_id] = record
                self.ran += 1
                self.failed += record.status is RunStatus.FAILED
                self._listener.finished(record)
        return [self.records[name] for name in names]

    @cached_property
    def problems(self) -> list[Problem]:
        """Architectures of the space that cannot be tried; found out once, and kept.

        Raises:
            InfeasibleStudyError: None can.
            MinActionError: That cannot be found out.
        """
        known = read_left_out(self._directory)
        if known is None:
            known = find_problems(self._search, self._executor)
            write_left_out(self._directory, known)
        return known

    @cached_property
    def _execution(self) -> Choice:
        """How the arithmetic is done, as the journal says or a calibration finds."""
        left = architectures(self._crossing, left_out_of(self.problems)).values()
        examples = {config["model"]: config for config in left}
        count = max(self._search.search.evaluations, len(examples))
        likely = list(itertools.islice(itertools.cycle(examples.values()), count))
        return choose_execution(
            self._crossing, self._directory, likely, self._executor, self._listener.note, "off"
        )

    @cached_property
    def _executor(self) -> Executor:
        return self._open.enter_context(self._start())

    def _task(self, config: RunConfig, execution: Mapping[str, Any]) -> dict[str, Any]:
        weights = weights_path(self._directory.resolve(), run_id(config))
        return {
            "task": "run",
            "config": config,
            "execution": execution,
            "weights": str(weights) if self._crossing.train.save_weights else None,
            "trial": self._search.trial,
        }
