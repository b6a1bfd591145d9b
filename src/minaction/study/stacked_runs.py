"""Runs of a study that are trained as one: from their configurations to their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from minaction.data.dataset import Dataset
from minaction.errors import DeviceMemoryError, MinActionError
from minaction.study.design import RunConfig
from minaction.study.run import (
    FinishedRun,
    PreparedRun,
    finish_run,
    prepare_run,
    run_one,
    train_config,
)
from minaction.train.execution import Execution
from minaction.train.fleet import FleetRun, train_fleet
from minaction.train.logbook import Training
from minaction.train.memory import Halving, is_out_of_memory
from minaction.train.stackable import stacking_obstacle


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run that is wanted; see `run_one`."""

    config: RunConfig
    baseline: Mapping[str, Any] | None = None


Outcome = FinishedRun | Exception
"""What became of a run, or why there is none."""

_Numbered = Sequence[tuple[int, Request]]
_Trained = tuple[PreparedRun, Training] | MinActionError


def stacking_device() -> str:
    """Return where stacks are trained: the GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def run_stacked(
    requests: Sequence[Request], dataset: Dataset, execution: Execution, halving: Halving
) -> Iterator[tuple[int, Outcome]]:
    """Train runs as one and yield each one's number and outcome as soon as it is measured.

    Records say in their provenance, under `stacked`, how many runs were trained together. Their
    seconds are then attributed: each run's share of the stack's, by its share of the
    multiply-accumulates, which are equal. Networks that cannot be stacked are run one after the
    other, and `stacked` says why.

    Args:
        requests: Runs of one architecture, energy, data set, batch size and length.
        dataset: Their data.
        execution: How runs are done that cannot be stacked; stacks are plain float32.
        halving: Makes groups smaller where memory does not suffice, and remembers it.
    """
    numbered = list(enumerate(requests))
    if obstacle := _obstacle(requests, dataset):
        for number, request in numbered:
            yield number, _alone(request, dataset, execution, obstacle)
        return

    def work(group: _Numbered) -> dict[int, _Trained]:
        return _trained(group, dataset)

    for group, result in halving.map(work, numbered):
        if isinstance(result, DeviceMemoryError):
            yield from ((number, result) for number, _ in group)
            continue
        together = sum(not isinstance(trained, MinActionError) for trained in result.values())
        for number, trained in result.items():
            if isinstance(trained, MinActionError):
                yield number, trained
            else:
                yield number, _measured(*trained, dataset, together)


def _obstacle(requests: Sequence[Request], dataset: Dataset) -> str | None:
    """Return why runs like these cannot be stacked, None if they can."""
    if any(request.config.get("proximal") for request in requests):
        return "proximal steps take units out of one network at a time"
    for request in requests:
        try:
            run = prepare_run(request.config, dataset, request.baseline)
            return stacking_obstacle(_fleet_run(run), dataset.train, stacking_device())
        except MinActionError:  # told when it is its turn
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None  # found out, and told, when it is trained
    return None


def _trained(group: _Numbered, dataset: Dataset) -> dict[int, _Trained]:
    """Prepare the runs of a group and train those that can be made."""
    prepared: dict[int, PreparedRun] = {}
    found: dict[int, _Trained] = {}
    for number, request in group:
        like = next(iter(prepared.values()), None)
        try:
            prepared[number] = prepare_run(request.config, dataset, request.baseline, like)
        except MinActionError as error:
            found[number] = error
    if prepared:
        runs = [_fleet_run(run) for run in prepared.values()]
        trainings = train_fleet(runs, dataset, stacking_device())
        found |= zip(prepared, zip(prepared.values(), trainings, strict=True), strict=True)
    return found


def _fleet_run(run: PreparedRun) -> FleetRun:
    return FleetRun(
        model=run.model,
        objective=run.objective,
        config=train_config(run.config),
        after_validation=run.after_validation,
    )


def _measured(run: PreparedRun, training: Training, dataset: Dataset, together: int) -> Outcome:
    try:
        finished = finish_run(run, training, dataset, Execution())
    except Exception as error:  # the others were trained as well, and are still to be measured
        return error
    stacked = {"runs": together, "seconds_attributed": together > 1}
    return _marked(finished, stacking_device(), **stacked)


def _alone(request: Request, dataset: Dataset, execution: Execution, reason: str) -> Outcome:
    try:
        finished = run_one(request.config, dataset, execution, request.baseline)
    except Exception as error:  # the others may fare better
        return error
    return _marked(finished, runs=1, reason=reason)


def _marked(finished: FinishedRun, device: str = "cpu", **stacked: Any) -> FinishedRun:
    """Note in a record's provenance how it was stacked."""
    provenance = {**finished.record.provenance, "stacked": stacked}
    if device == "cuda":
        provenance["device"] = torch.cuda.get_device_name()
    return replace(finished, record=replace(finished.record, provenance=provenance))
