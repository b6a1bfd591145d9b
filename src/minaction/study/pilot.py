"""A few short runs of a study that say what the others will take; nothing of them is kept."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minaction.errors import MinActionError
from minaction.study.canonical import canonical_json
from minaction.study.cells import SPEED_KEYS
from minaction.study.execute import Executor
from minaction.study.study_file import BUDGET

PILOT_SECONDS = 1.0  # of training in a pilot's long run
SHORT_STEPS = 4
VALIDATIONS = 3  # in a long run
MAX_KINDS = 12
LAM = 1e-4  # stands for a lambda that a run finds itself


class Kind(NamedTuple):
    """What decides a run's speed, its length aside."""

    dataset: str
    model: str
    energy: str
    batch_size: int
    parameters: int
    ratio: float | str | None
    penalised: bool
    depth: int | None = None
    kernel: int | None = None

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}"


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run of one kind takes on one core, by its length.

    Attributes:
        first_seconds: More for the first such run of a worker: loading data, compiling.
        fixed_seconds: Of every run: building, evaluating and recording it.
        step_seconds: Of an optimiser step.
        validation_seconds: Of a validation.
        record_bytes: Length of a record without its history.
        entry_bytes: Length of an entry of the history.
    """

    first_seconds: float
    fixed_seconds: float
    step_seconds: float
    validation_seconds: float
    record_bytes: float
    entry_bytes: float

    def seconds(self, steps: int, validations: int) -> float:
        """Return what a run of so many steps and validations takes."""
        trained = self.fixed_seconds + self.step_seconds * steps
        return trained + self.validation_seconds * validations


def kind_of(config: Mapping[str, Any]) -> Kind:
    """Return the kind of a run."""
    return Kind(**{key: config.get(key) for key in SPEED_KEYS}, penalised=config["lam"] != 0)  # pyright: ignore[reportArgumentType]


def piloted_kinds(kinds: Iterable[Kind]) -> list[Kind]:
    """Choose what is piloted: every kind, or the heaviest of each model and data set if many.

    The heaviest has the most parameters times samples in a step, and lambda above 0.
    """
    kinds = list(kinds)
    if len(kinds) <= MAX_KINDS:
        return kinds
    heaviest: dict[tuple[str, str], Kind] = {}
    for kind in sorted(kinds, key=_weight):
        heaviest[kind.model, kind.dataset] = kind
    return list(heaviest.values())


def stand_in(kind: Kind, piloted: Sequence[Kind]) -> Kind:
    """Return the piloted kind whose cost is taken for a kind's: itself, or that of its model."""
    if kind in piloted:
        return kind
    same = (k for k in piloted if (k.model, k.dataset) == (kind.model, kind.dataset))
    return max(same, key=_weight)


def _weight(kind: Kind) -> tuple[int, bool]:
    return kind.parameters * kind.batch_size, kind.penalised


class Pilot:
    """Makes short runs through an executor.

    Args:
        executor: Does them.
        execution: How the study's runs will be done, as JSON values.
        steps: Gives the steps a run has, by its configuration.
        note: Told what is tried.
    """

    def __init__(
        self,
        executor: Executor,
        execution: dict[str, Any],
        steps: Callable[[Mapping[str, Any]], int],
        note: Callable[[str], None],
    ) -> None:
        self._executor, self._execution = executor, execution
        self._steps, self._note = steps, note
        self.runs = 0

    def measure(self, config: Mapping[str, Any]) -> RunCost:
        """Find out what runs like this one take, by three short ones.

        The first loads and compiles; the second and the longer third give the line through them.

        Raises:
            MinActionError: Such a run fails.
        """
        self._note(f"trying {kind_of(config)}")
        steps = self._steps(config)
        few = max(1, min(SHORT_STEPS, steps // 2))
        first = self._one(shortened(config, few, 1))
        short = self._one(shortened(config, few, 1))
        many = min(steps, few + max(1, math.ceil(PILOT_SECONDS / short.step_seconds)))
        long = self._one(shortened(config, many, VALIDATIONS)) if many > few else short
        return cost_of(first, short, long)

    def slow_down(self, config: Mapping[str, Any], workers: int) -> float:
        """Return how many times as long a run takes with so many at once as it takes alone.

        Raises:
            MinActionError: Such a run fails.
        """
        steps = self._steps(config)
        few = max(1, min(SHORT_STEPS, steps // 2))
        brief = self._at_once(shortened(config, few, 1), workers)  # all load and compile
        many = min(steps, few + math.ceil(PILOT_SECONDS / min(r.step_seconds for r in brief)))
        task = shortened(config, many, VALIDATIONS)
        together = statistics.mean(run.train_seconds for run in self._at_once(task, workers))
        return max(1.0, together / self._one(task).train_seconds)

    def _one(self, config: dict[str, Any]) -> ShortRun:
        (run,) = self._at_once(config, 1)
        return run

    def _at_once(self, config: dict[str, Any], workers: int) -> list[ShortRun]:
        task = {"task": "run", "config": config, "execution": self._execution, "weights": None}
        started = time.perf_counter()
        runs = []
        for answer in self._executor.map([dict(task) for _ in range(workers)]):
            if "error" in answer.content:
                raise MinActionError(f"a pilot run failed: {answer.content['error']}")
            runs.append(ShortRun.of(answer.content["record"], time.perf_counter() - started))
        self.runs += workers
        return runs


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """What one run took.

    Attributes:
        seconds: From its task to its answer.
        train_seconds: Those of training.
        steps: Optimiser steps.
        validations: Validations.
        record_bytes: Length of its record without its history.
        entry_bytes: Length of an entry of its history.
    """

    seconds: float
    train_seconds: float
    steps: int
    validations: int
    record_bytes: float
    entry_bytes: float

    @property
    def step_seconds(self) -> float:
        """Seconds of a step, that of the first included."""
        return self.train_seconds / self.steps

    @classmethod
    def of(cls, record: Mapping[str, Any], seconds: float) -> ShortRun:
        """Read a record."""
        metrics, history = record["metrics"], record["history"]
        history_bytes = len(canonical_json(history))
        return cls(
            seconds=seconds,
            train_seconds=metrics["train_seconds"],
            steps=metrics["steps"],
            validations=len(history),
            record_bytes=len(canonical_json(record)) - history_bytes,
            entry_bytes=history_bytes / max(1, len(history)),
        )


def shortened(config: Mapping[str, Any], steps: int, validations: int) -> dict[str, Any]:
    """Return the configuration of a run of so many steps that is like another one."""
    short = {key: value for key, value in config.items() if key != "epochs"}
    if short["lam"] == BUDGET:
        short["lam"] = LAM
    return {**short, "steps": steps, "validate_every": math.ceil(steps / validations)}


def cost_of(first: ShortRun, short: ShortRun, long: ShortRun) -> RunCost:
    """Return the costs that three runs of one kind have shown; see `Pilot.measure`."""
    steps, validations = long.steps - short.steps, long.validations - short.validations
    step = (long.train_seconds - short.train_seconds) / steps if steps > 0 else short.step_seconds
    step = step if step > 0 else long.step_seconds
    besides = [run.seconds - run.train_seconds for run in (short, long)]
    validation = max(0.0, besides[1] - besides[0]) / validations if validations > 0 else 0.0
    fixed = short.seconds - step * short.steps - validation * short.validations
    return RunCost(
        first_seconds=max(0.0, first.seconds - short.seconds),
        fixed_seconds=max(0.0, fixed),
        step_seconds=step,
        validation_seconds=validation,
        record_bytes=long.record_bytes,
        entry_bytes=long.entry_bytes,
    )
