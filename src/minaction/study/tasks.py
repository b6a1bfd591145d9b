"""What a worker can be asked to do: runs, the calibration of a study, looks at what is possible."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

import torch

from minaction.data.dataset import Dataset
from minaction.data.resident import resident
from minaction.errors import DeviceError, InputError, MinActionError, StorageError
from minaction.measure.process_memory import process_memory
from minaction.study.calibrate import calibrate
from minaction.study.cells import Cell
from minaction.study.directory import write_weights
from minaction.study.feasibility import infeasibility, require_feasible, unmeasurable
from minaction.study.run import run_one, weights_of
from minaction.study.stack_groups import stack_key
from minaction.study.stack_sizes import choose_stacks
from minaction.study.stacked_runs import Outcome, Request, run_stacked
from minaction.study.trial import Trial, require_device
from minaction.study.worker import Send, Setup
from minaction.train.execution import Execution
from minaction.train.memory import Halving

MAX_ERROR = 1000  # characters of an error that go into a record

Message = dict[str, Any]


def serve(settings: Mapping[str, Any], inbox: SimpleQueue[str], send: Send) -> NoReturn:
    """Do what comes in, one task after the other; the program of a local worker."""
    setup = Setup(**settings)
    load = functools.partial(resident, root=setup.data_dir, folder=setup.shared)
    work = Tasks(load, threads=setup.threads, store=write_weights)
    send({"ready": True})
    while True:
        for answer in work.answers(json.loads(inbox.get())):
            send(answer)


class Tasks:
    """Does the tasks of one process; keeps data sets resident.

    Making one sets the number of torch threads of the process.

    Args:
        load: Gives a data set by name.
        threads: Torch threads.
        store: Keeps a network's weights, a safetensors file, under a path.
    """

    def __init__(
        self,
        load: Callable[[str], Dataset],
        *,
        threads: int,
        store: Callable[[bytes, Path], None],
    ) -> None:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)  # dying activations would slow the CPU down
        self._load, self._store = functools.cache(load), store
        self._halvings: dict[tuple[Any, ...], Halving] = {}
        self._does = {
            "calibrate": self._calibrate,
            "run": self._run,
            "measure": self._measure,
            "space": self._space,
        }

    def answers(self, task: Message) -> Iterator[Message]:
        """Do a task and yield its answers: one, or one a run of a stack, which says which by `run`.

        An error becomes part of the answer.
        """
        if task["task"] != "stack":
            yield self.do(task)
            return
        runs, left = task["runs"], set(range(len(task["runs"])))
        try:
            for number, outcome in self._stacked(runs):
                answer = self._answer(runs[number], outcome)
                left.remove(number)
                yield {"run": number, **answer}
        except Exception as error:
            yield from ({"run": number, **_explained(error)} for number in sorted(left))

    def do(self, task: Message) -> Message:
        """Do a task that has one answer; an error becomes part of it."""
        try:
            return self._does[task["task"]](task)
        except Exception as error:  # whatever happens in a run, the study goes on
            return _explained(error)

    def _calibrate(self, task: Message) -> Message:
        cells = [Cell(**cell) for cell in task["cells"]]
        try:
            require_feasible(cells, self._load)
        except InputError as error:
            return {"infeasible": str(error)[:MAX_ERROR]}
        calibration = calibrate(
            cells,
            task["requested"],
            self._load,
            workers=task["workers"],
            margin=task["margin"],
            limit_seconds=task["limit_seconds"],
        )
        stacks = choose_stacks(
            cells,
            task["stackable"],
            task["fleet"],
            calibration,
            self._load,
            workers=task["workers"],
            limit_seconds=task["limit_seconds"],
        )
        return {
            "execution": calibration.execution.to_dict(),
            "report": {**calibration.report, **stacks},
        }

    def _run(self, task: Message) -> Message:
        config = task["config"]
        dataset, execution = self._load(config["dataset"]), Execution(**task["execution"])
        trial = Trial(**task["trial"]) if "trial" in task else None
        return self._answer(task, run_one(config, dataset, execution, task.get("baseline"), trial))

    def _stacked(self, runs: Sequence[Message]) -> Iterator[tuple[int, Outcome]]:
        config, execution = runs[0]["config"], Execution(**runs[0]["execution"])
        requests = [Request(config=run["config"], baseline=run.get("baseline")) for run in runs]
        halving = self._halvings.setdefault(stack_key(config), Halving())
        return run_stacked(requests, self._load(config["dataset"]), execution, halving)

    def _answer(self, task: Message, outcome: Outcome) -> Message:
        if isinstance(outcome, Exception):
            return _explained(outcome)
        if task["weights"] is not None:
            self._store(weights_of(outcome.model), Path(task["weights"]))
        return {"record": json.loads(outcome.record.to_line())}

    def _space(self, task: Message) -> Message:
        """Say which cells of one model a search cannot try, and why."""
        try:
            if task["latency_on"] is not None:
                require_device(task["latency_on"])
        except DeviceError as error:
            return {"infeasible": str(error)}
        cells = [Cell(**cell) for cell in task["cells"]]
        problems = [infeasibility(cell, self._load) for cell in cells]
        if None in problems:
            cell = cells[problems.index(None)]
            lack = unmeasurable(cell, task["metrics"], self._load)
            problems = [problem or lack for problem in problems]
        return {"problems": problems}

    def _measure(self, task: Message) -> Message:
        """Say how many training samples data sets have, what memory was taken, and the GPU."""
        samples = {name: len(self._load(name).train) for name in task["datasets"]}
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        return {"samples": samples, "gpu": gpu, **asdict(process_memory())}


def _explained(error: Exception) -> Message:
    if isinstance(error, StorageError):
        return {"storage_error": str(error)}
    said = str(error)[:MAX_ERROR] if isinstance(error, MinActionError) else describe(error)
    return {"error": said}


def describe(error: Exception) -> str:
    """Return an unforeseen error as one line: its type, what it says, where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:MAX_ERROR]
    return f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
