"""What a study will take, said before it is started."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from minaction.errors import MinActionError
from minaction.measure.environment import cpu_count
from minaction.measure.process_memory import process_memory
from minaction.study.choose_execution import calibrate_study, require_means
from minaction.study.design import iter_runs, runs
from minaction.study.execute import Executor, LocalExecutor
from minaction.study.pilot import Kind, Pilot, RunCost, kind_of, piloted_kinds, stand_in
from minaction.study.stack_groups import kind_name
from minaction.study.study_file import Study

CORES = (1, 2, 16)
CALIBRATION_SECONDS = 60.0
"""The most that a plan spends on the calibration; a study of many hours may spend more."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a study takes on so many cores, one run on each.

    Attributes:
        cores: How many.
        seconds: Wall-clock time, the report aside.
        core_hours: Time times cores.
        memory_bytes: The driver and all workers together.
        measured: Whether so many runs were made at once here; else it is extrapolated.
    """

    cores: int
    seconds: float
    core_hours: float
    memory_bytes: int
    measured: bool


@dataclass(frozen=True, kw_only=True)
class StackedCost:
    """What a study takes on all cores where runs are trained as one, as `study run` does by itself.

    Attributes:
        gpu: The GPU that trains stacks; None: there is none, and the cores do.
        seconds: Wall-clock time, the report aside; None where stacks pay for no kind of run.
        sizes: Runs of a stack by kind, e.g. `mlp on digits`, where stacks pay.
        step_ratios: A run's step in such a stack over one alone on a core, by kind.
        not_stacked: Why the others are not stacked, as far as that was tried.
    """

    gpu: str | None
    seconds: float | None
    sizes: dict[str, int]
    step_ratios: dict[str, float]
    not_stacked: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class KindCost:
    """What runs of one kind take.

    Attributes:
        kind: Which runs.
        runs: How many.
        seconds: Of one of them, on average, on one core.
        piloted: Whether such runs were tried; else those of the same model and data set were.
    """

    kind: dict[str, Any]
    runs: int
    seconds: float
    piloted: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study's size and cost.

    Attributes:
        name: The study's name.
        runs: Runs it consists of.
        execution: How they would be done, as the pilot found.
        pilot_runs: Short runs that were tried.
        pilot_seconds: What the pilot took.
        pilot_share: Its part of the predicted time on this machine's cores.
        costs: On several numbers of cores, with runs done one at a time.
        stacked: With runs trained as one, on a GPU if there is one.
        journal_bytes: Size of the journal.
        kinds: What the runs take, the dearest kind first.
    """

    name: str
    runs: int
    execution: dict[str, Any]
    pilot_runs: int
    pilot_seconds: float
    pilot_share: float
    costs: list[Cost]
    stacked: StackedCost
    journal_bytes: int
    kinds: list[KindCost]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def plan_study(study: Study, note: Callable[[str], None], *, data_dir: str | None = None) -> Plan:
    """Say what a study takes, run by run, by a pilot of a few short runs; nothing is stored.

    Every model on every data set is tried, at each size, batch size and energy, with and without a
    penalty, where these are few. A run's time is `fixed + steps * step + validations * validation`;
    that of the study on n cores is its start, what workers do once, and the larger of the sum over
    runs by n and the longest run, times how much runs at once slow each other down.

    Args:
        study: The study.
        note: Told what is tried.
        data_dir: Where data sets are looked for first.

    Raises:
        InfeasibleStudyError: Its runs cannot be made.
        StudyFileError: It asks for compilation and there is no compiler.
        DataFileError: A data set is missing or damaged.
        MinActionError: A pilot run failed, or workers cannot be started.
    """
    require_means(study, data_dir, note)
    here = min(cpu_count(), study.run_count)
    began = time.perf_counter()
    with LocalExecutor(here, data_dir, note) as executor:
        asked = _measured(executor, study.factors.dataset)
        execution, calibration = calibrate_study(
            study,
            runs(study),
            executor,
            workers=here,
            note=note,
            limit_seconds=CALIBRATION_SECONDS,
            fleet="auto",
        )
    once = time.perf_counter() - began
    # workers of their own: a run's memory is not that of the stacks which were tried
    with LocalExecutor(here, data_dir, note) as executor:
        work = _Work(study, asked["samples"])
        pilot = Pilot(executor, execution, work.steps, note)
        piloted = piloted_kinds(work.examples)
        costs = {kind: pilot.measure(work.examples[kind]) for kind in piloted}
        prices = {kind: costs[stand_in(kind, piloted)] for kind in work.examples}
        dearest = max(piloted, key=lambda kind: work.seconds(kind, prices[kind]))
        memory = _measured(executor, ())
        slow_down = pilot.slow_down(work.examples[dearest], here) if here > 1 else 1.0
    spent = time.perf_counter() - began
    machine = _Machine(
        here=here,
        once_seconds=once + sum(cost.first_seconds for cost in costs.values()),
        slow_down=slow_down,
        driver_bytes=process_memory().peak_bytes,
        worker_bytes=memory["peak_bytes"],
        shared_bytes=memory["shared_bytes"],
    )
    total = sum(work.seconds(kind, price) for kind, price in prices.items())
    longest = max(work.longest(kind, price) for kind, price in prices.items())
    by_cores = {n: machine.cost(n, total, longest) for n in sorted({*CORES, here})}
    return Plan(
        name=study.name,
        runs=study.run_count,
        execution=execution,
        pilot_runs=pilot.runs,
        pilot_seconds=spent,
        pilot_share=spent / by_cores[here].seconds,
        costs=list(by_cores.values()),
        stacked=_stacked(work, prices, machine, calibration, asked["gpu"]),
        journal_bytes=round(sum(work.record_bytes(k, price) for k, price in prices.items())),
        kinds=_kinds(work, prices, piloted),
    )


def _stacked(
    work: _Work,
    prices: Mapping[Kind, RunCost],
    machine: _Machine,
    calibration: Mapping[str, Any],
    gpu: str | None,
) -> StackedCost:
    """Return what a study takes in the stacks that a calibration has chosen.

    Steps of stacks are divided among the cores, but follow one another on a GPU, which all share.
    """
    ratios = calibration.get("step_ratios", {})
    stepping = others = longest = 0.0
    for kind, price in prices.items():
        seconds = work.seconds(kind, price)
        ratio = ratios.get(kind_name(kind.model, kind.dataset)) if work.stackable(kind) else None
        if ratio is None:
            others += seconds
            longest = max(longest, work.longest(kind, price))
        else:
            rest = work.seconds(kind, replace(price, step_seconds=0.0))
            stepping += ratio * (seconds - rest)
            others += rest
    if gpu:
        seconds = machine.cost(machine.here, others, longest).seconds + stepping
    else:
        seconds = machine.cost(machine.here, others + stepping, longest).seconds
    return StackedCost(
        gpu=gpu,
        seconds=seconds if ratios else None,
        sizes=calibration.get("stacked", {}),
        step_ratios=ratios,
        not_stacked=calibration.get("not_stacked", {}),
    )


def _kinds(work: _Work, prices: Mapping[Kind, RunCost], piloted: Sequence[Kind]) -> list[KindCost]:
    """Return what runs of each kind take, the dearest kind first."""
    kinds = [
        KindCost(
            kind=kind._asdict(),
            runs=work.counts[kind],
            seconds=work.seconds(kind, price) / work.counts[kind],
            piloted=kind in piloted,
        )
        for kind, price in prices.items()
    ]
    return sorted(kinds, key=lambda cost: -cost.runs * cost.seconds)


class _Work:
    """A study's runs by kind, and how long they are.

    Attributes:
        counts: Runs of each kind.
        examples: The first of each.
    """

    def __init__(self, study: Study, samples: Mapping[str, int]) -> None:
        self.counts: Counter[Kind] = Counter()
        self.examples: dict[Kind, Mapping[str, Any]] = {}
        self._samples, self._proximal = samples, study.train.proximal
        self._lengths: dict[Kind, Counter[tuple[int, int]]] = {}
        for config in iter_runs(study):
            kind = kind_of(config)
            self.counts[kind] += 1
            self.examples.setdefault(kind, config)
            steps = self.steps(config)
            every = config.get("validate_every") or self._epoch(config)
            self._lengths.setdefault(kind, Counter())[steps, math.ceil(steps / every)] += 1

    def steps(self, config: Mapping[str, Any]) -> int:
        """Return the optimiser steps of a run."""
        return config.get("steps") or config["epochs"] * self._epoch(config)

    def stackable(self, kind: Kind) -> bool:
        """Whether runs of a kind may be trained as one; proximal ones never are."""
        return not (self._proximal and kind.penalised)

    def seconds(self, kind: Kind, cost: RunCost) -> float:
        """Return what all runs of a kind take on one core."""
        return sum(n * cost.seconds(*length) for length, n in self._lengths[kind].items())

    def longest(self, kind: Kind, cost: RunCost) -> float:
        """Return what the longest run of a kind takes."""
        return max(cost.seconds(*length) for length in self._lengths[kind])

    def record_bytes(self, kind: Kind, cost: RunCost) -> float:
        """Return what the records of a kind take on the disk."""
        lengths = self._lengths[kind].items()
        return sum(n * (cost.record_bytes + v * cost.entry_bytes) for (_, v), n in lengths)

    def _epoch(self, config: Mapping[str, Any]) -> int:
        return self._samples[config["dataset"]] // config["batch_size"]


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """What is known of this machine.

    Attributes:
        here: Cores it has.
        once_seconds: What a study takes besides its runs.
        slow_down: How many times as long a run takes where every core has one.
        driver_bytes: Peak memory of the driver.
        worker_bytes: Peak memory of a worker.
        shared_bytes: What of it workers share.
    """

    here: int
    once_seconds: float
    slow_down: float
    driver_bytes: int
    worker_bytes: int
    shared_bytes: int

    def cost(self, cores: int, total: float, longest: float) -> Cost:
        """Return what runs of `total` seconds together, `longest` at most, take on some cores.

        Up to the cores there are here they slow each other down in proportion; more of them as
        much as all of these do.
        """
        busy = (min(cores, self.here) - 1) / (self.here - 1) if self.here > 1 else 0.0
        slow_down = 1 + (self.slow_down - 1) * busy
        # one run after the other is always possible
        seconds = self.once_seconds + min(total, slow_down * max(total / cores, longest))
        own = self.worker_bytes - self.shared_bytes
        return Cost(
            cores=cores,
            seconds=seconds,
            core_hours=seconds * cores / 3600,
            memory_bytes=self.driver_bytes + self.shared_bytes + cores * own,
            measured=cores in (1, self.here),
        )


def _measured(executor: Executor, datasets: Iterable[str]) -> dict[str, Any]:
    """Have a worker say how many samples data sets have and what memory it took.

    Raises:
        MinActionError: It cannot.
    """
    (answer,) = executor.map([{"task": "measure", "datasets": list(datasets)}])
    if "error" in answer.content:
        raise MinActionError(f"the pilot failed: {answer.content['error']}")
    return answer.content
