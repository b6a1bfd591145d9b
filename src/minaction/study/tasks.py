"""What a worker can be asked to do: one run, the calibration of a study, what it measures."""

from __future__ import annotations

import functools
import json
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from minaction.data.dataset import Dataset
from minaction.data.resident import resident
from minaction.errors import InputError, MinActionError, StorageError
from minaction.measure.process_memory import process_memory
from minaction.study.calibrate import calibrate
from minaction.study.cells import Cell
from minaction.study.feasibility import require_feasible
from minaction.study.run import run_one, save_weights
from minaction.study.worker import Setup
from minaction.train.execution import Execution

MAX_ERROR = 1000  # characters of an error that go into a record

Message = dict[str, Any]


class Tasks:
    """Does the tasks of one process; keeps data sets resident.

    Making one sets the number of torch threads of the process.
    """

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        torch.set_flush_denormal(True)  # dying activations would slow the CPU down
        self._setup = setup
        self._load = functools.cache(self._attach)
        self._does = {"calibrate": self._calibrate, "run": self._run, "measure": self._measure}

    def do(self, task: Message) -> Message:
        """Do one task and return the answer; an error becomes part of the answer."""
        try:
            return self._does[task["task"]](task)
        except StorageError as error:
            return {"storage_error": str(error)}
        except MinActionError as error:
            return {"error": str(error)[:MAX_ERROR]}
        except Exception as error:  # whatever happens in a run, the study goes on
            return {"error": describe(error)}

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
        return {"execution": calibration.execution.to_dict(), "report": calibration.report}

    def _run(self, task: Message) -> Message:
        config = task["config"]
        dataset, execution = self._load(config["dataset"]), Execution(**task["execution"])
        finished = run_one(config, dataset, execution, task.get("baseline"))
        if task["weights"] is not None:
            save_weights(finished.model, Path(task["weights"]))
        return {"record": json.loads(finished.record.to_line())}

    def _measure(self, task: Message) -> Message:
        """Say how many training samples data sets have, and what memory this process took."""
        samples = {name: len(self._load(name).train) for name in task["datasets"]}
        return {"samples": samples, **asdict(process_memory())}

    def _attach(self, name: str) -> Dataset:
        return resident(name, self._setup.data_dir, self._setup.shared)


def describe(error: Exception) -> str:
    """Return an unforeseen error as one line: its type, what it says, where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:MAX_ERROR]
    return f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
