"""Which execution pays on this machine and leaves accuracy unchanged: one choice for a study."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from minaction.data.dataset import Dataset, DataSpec
from minaction.energy.build import build_energy
from minaction.errors import MinActionError
from minaction.measure.environment import cxx_compiler
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective
from minaction.study.cells import Cell
from minaction.study.design import model_options
from minaction.study.run import cross_entropy
from minaction.train.evaluate import BATCH
from minaction.train.execution import Execution
from minaction.train.loop import TrainConfig, build_optimizer, training_steps

WORTH_TRYING_SECONDS = 10.0  # below this a study is over before anything else has paid off
ALLOWANCE = 0.1  # share of the predicted time that trying candidates may take
REFERENCE_SECONDS = 10.0  # for timing the reference; then one cell of each model must do
COMPILE_SECONDS = 30.0  # what compiling for one cell is expected to take before it was tried
COVERED = 0.8  # share of the predicted time whose cells are timed
GRAPHS_PER_CELL = 2  # lambda 0 and lambda > 0 compile separately
GAIN = 0.9  # a candidate must take at most this share of the reference's time
STEPS = 12  # timed steps of a candidate, at least
STEPS_SECONDS = 0.2  # and at least as many as take this long
CHECK_STEPS = 200  # steps of the short trainings whose accuracies are compared
CHECK_SEEDS = 2
LAM = 1e-5

Load = Callable[[str], Dataset]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The execution chosen and what decided it.

    Attributes:
        execution: The choice, the same for all runs of the study.
        report: JSON-able account: predicted seconds per candidate, accuracy check, reason.
        seconds: What each cell would take one process with the first candidate; empty if not tried.
    """

    execution: Execution
    report: dict[str, Any]
    seconds: Mapping[Cell, float] = field(default_factory=dict)


def candidates(requested: Mapping[str, Any]) -> list[Execution]:
    """Return the executions a study file allows, plain float32 first where it is allowed."""
    options = {
        "precision": ("float32", "bfloat16"),
        "compile": (False, True) if cxx_compiler() else (False,),
        "channels_last": (False, True),
    }
    allowed = [
        choices if requested[key] == "auto" else (requested[key],)
        for key, choices in options.items()
    ]
    return [
        Execution(precision=precision, compile=compiled, channels_last=layout)
        for precision, compiled, layout in itertools.product(*allowed)
    ]


def calibrate(
    cells: Sequence[Cell],
    requested: Mapping[str, Any],
    load: Load,
    *,
    workers: int,
    margin: float,
    limit_seconds: float | None = None,
) -> Calibration:
    """Time the allowed executions on the study's heaviest cells and choose the fastest.

    Predicted time is `sum_cells steps * seconds_per_step / workers`, plus compilation. Candidates
    are tried as long as that takes less than 10 % of the reference's predicted time; a study short
    of ten seconds is not worth it and takes the reference, the first candidate.

    Args:
        cells: What the study will run.
        requested: `precision`, `compile`, `channels_last`: a value or `"auto"`.
        load: Gives a data set by name.
        workers: Processes that will share the work.
        margin: Non-inferiority margin in accuracy, as a fraction; see `choose`.
        limit_seconds: The most that trying candidates may take, if less than 10 %.
    """
    reference, *others = candidates(requested)
    if not others:
        return _decided(reference, "the study file leaves no choice")
    seconds = time_cells(cells, reference, load)
    total = sum(seconds.values()) / workers
    if total < WORTH_TRYING_SECONDS:
        return _decided(reference, f"the study is short ({total:.0f} s predicted)", {}, seconds)
    allowance = min(ALLOWANCE * total, math.inf if limit_seconds is None else limit_seconds)
    trials = Trials(_heaviest(seconds), load, workers, margin=margin, allowance=allowance)
    timed = sum(seconds[cell] for cell in _heaviest(seconds)) / workers
    chosen, reason = trials.run(reference, timed, others)
    return _decided(chosen, reason, trials.account(), seconds)


def choose(
    reference: Execution,
    predicted: Mapping[Execution, float],
    accuracy_drop: Callable[[Execution], float],
    margin: float,
) -> tuple[Execution, str]:
    """Return the fastest execution that keeps the accuracy, and why it is that one.

    Only a candidate that takes at most 90 % of the reference's time is chosen over it, and one of
    another precision only if its loss of accuracy is below the margin.

    Args:
        reference: What is kept unless another is better.
        predicted: Seconds of each execution, the reference's among them.
        accuracy_drop: Gives an upper bound on the validation accuracy an execution loses.
        margin: Non-inferiority margin, as a fraction.
    """
    for candidate in sorted(predicted, key=lambda execution: predicted[execution]):
        if predicted[candidate] > GAIN * predicted[reference]:
            break
        if candidate.precision == reference.precision:
            return candidate, "fastest"
        if accuracy_drop(candidate) < margin:
            return candidate, "fastest; accuracy not inferior"
    return reference, "no candidate was faster at equal accuracy"


class Trials:
    """Tries candidates on the heaviest cells until the time allowed is used up.

    Attributes:
        predicted: Seconds the cells would take, by execution.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        load: Load,
        workers: int,
        *,
        margin: float,
        allowance: float,
    ) -> None:
        self.predicted: dict[Execution, float] = {}
        self._cells, self._load, self._workers, self._margin = cells, load, workers, margin
        self._until = time.perf_counter() + allowance
        self._failed: dict[str, str] = {}
        self._not_tried: list[str] = []
        self._drops: dict[str, float | None] = {}

    def run(
        self, reference: Execution, seconds: float, others: Sequence[Execution]
    ) -> tuple[Execution, str]:
        """Return what to choose of the reference and as many others as time allows, and why.

        Args:
            reference: What is kept unless another is better.
            seconds: What the cells would take with it.
            others: The other candidates.
        """
        self._reference = reference
        self.predicted[reference] = seconds
        if not any(_has_images(cell, self._load) for cell in self._cells):
            others = [c for c in others if c.channels_last == reference.channels_last]
        for candidate in (c for c in others if not c.compile):
            self._try(candidate, expected=STEPS_SECONDS * len(self._cells))
        # now, because compiling may use up all the time
        choose(reference, self.predicted, self.accuracy_drop, self._margin)
        # what is fast without it tends to be fast with it
        compiled = sorted((c for c in others if c.compile), key=self._uncompiled_seconds)
        expected = COMPILE_SECONDS * len(self._cells)
        for candidate in compiled:
            started = time.perf_counter()
            if self._try(candidate, expected + self._check_seconds(candidate)):
                expected = time.perf_counter() - started
        return choose(reference, self.predicted, self.accuracy_drop, self._margin)

    def accuracy_drop(self, candidate: Execution) -> float:
        """Return the largest drop over the cells, infinite if there is no time to find out."""
        known = self._drops.get(_label(candidate))
        if known is not None:
            return known
        if self._left() < self._check_seconds(candidate):
            self._drops[_label(candidate)] = None
            return math.inf
        worst = max(
            accuracy_drop_bound(cell, candidate, self._reference, self._load)
            for cell in self._cells
        )
        self._drops[_label(candidate)] = round(worst, 5)
        return worst

    def account(self) -> dict[str, Any]:
        """Return what was tried and found, as JSON values."""
        return {
            "predicted_seconds": {_label(c): round(s, 1) for c, s in self.predicted.items()},
            "accuracy_drop_upper_bound": self._drops,
            "failed": self._failed,
            "not_tried": self._not_tried,
        }

    def _try(self, candidate: Execution, expected: float) -> bool:
        if self._left() < expected:
            self._not_tried.append(_label(candidate))
            return False
        try:
            self.predicted[candidate] = self._predict(candidate)
        except Exception as error:  # a compiler may fail in any way; the study goes on without
            self._failed[_label(candidate)] = " ".join(f"{type(error).__name__}: {error}".split())[
                :200
            ]
        return True

    def _predict(self, execution: Execution) -> float:
        total = 0.0
        for cell in self._cells:
            timing = _time(cell, execution, self._load)
            total += timing.step * _steps(cell, self._load) / self._workers
            if execution.compile:
                total += GRAPHS_PER_CELL * timing.first
        return total

    def _check_seconds(self, candidate: Execution) -> float:
        """Return about how long the accuracy check will take, if it needs one."""
        if candidate.precision == self._reference.precision:
            return 0.0
        steps = sum(_steps(cell, self._load) for cell in self._cells) / self._workers
        both = self.predicted[self._reference] + self._uncompiled_seconds(candidate)
        return both / steps * CHECK_STEPS * CHECK_SEEDS * len(self._cells)

    def _uncompiled_seconds(self, candidate: Execution) -> float:
        twin = replace(candidate, compile=False)
        return self.predicted.get(twin, self.predicted[self._reference])

    def _left(self) -> float:
        return self._until - time.perf_counter()


@dataclass(frozen=True, kw_only=True)
class _Timing:
    step: float
    first: float


def time_cells(cells: Sequence[Cell], reference: Execution, load: Load) -> dict[Cell, float]:
    """Return the seconds each cell will take; cells that cannot run at all are left out.

    Cells there is no time for are taken to be as fast as the others of their model.
    """
    seconds: dict[Cell, float] = {}
    steps: dict[str, float] = {}
    spent = 0.0
    for cell in cells:
        started = time.perf_counter()
        try:
            if spent < REFERENCE_SECONDS or cell.model not in steps:
                steps[cell.model] = _time(cell, reference, load).step
                spent += time.perf_counter() - started
            seconds[cell] = steps[cell.model] * _steps(cell, load)
        except MinActionError:  # its runs will fail and say why
            continue
    return seconds


def _steps(cell: Cell, load: Load) -> int:
    return cell.epochs * (len(load(cell.dataset).train) // cell.batch_size) + cell.steps


def _heaviest(seconds: Mapping[Cell, float]) -> list[Cell]:
    """Return the cells that make up most of the time, heaviest first."""
    chosen: list[Cell] = []
    for cell in sorted(seconds, key=lambda c: -seconds[c]):
        if sum(seconds[c] for c in chosen) >= COVERED * sum(seconds.values()):
            break
        chosen.append(cell)
    return chosen


def _time(cell: Cell, execution: Execution, load: Load) -> _Timing:
    """Return the median seconds of a step and those of the first (compilation included)."""
    steps = stepper(cell, execution, load(cell.dataset), seed=0)
    times: list[float] = []
    while len(times) <= STEPS or sum(times[1:]) < STEPS_SECONDS:
        started = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - started)
    return _Timing(step=statistics.median(times[3:]), first=times[0])


def accuracy_drop_bound(
    cell: Cell, candidate: Execution, reference: Execution, load: Load
) -> float:
    """Return an upper bound on the validation accuracy `candidate` loses, as a fraction.

    The one-sided 95 % bound on `reference - candidate` after 200 steps of training, paired by
    sample, over 2 seeds.
    """
    dataset = load(cell.dataset)
    drops: list[Tensor] = []
    for seed in range(CHECK_SEEDS):
        pair: list[Tensor] = []
        for execution in (reference, candidate):
            steps = stepper(cell, execution, dataset, seed=seed)
            *_, model = itertools.islice(steps, CHECK_STEPS)
            pair.append(_hits(model, dataset))
        drops.append(pair[0] - pair[1])
    differences = torch.cat(drops)
    standard_error = float(differences.std()) / math.sqrt(len(differences))
    return float(differences.mean()) + 1.645 * standard_error


def _hits(model: nn.Module, dataset: Dataset) -> Tensor:
    model.eval()
    split = dataset.validation
    with torch.no_grad():
        predictions = [model(x).argmax(1) for x in split.x.split(BATCH)]
    return (torch.cat(predictions) == split.y).double()


def stepper(
    cell: Cell, execution: Execution, dataset: Dataset, *, seed: int
) -> Iterator[nn.Module]:
    """Yield the model after each training step of a run of a cell, epoch after epoch."""
    model = network_of(cell, dataset.spec, seed)
    execution.prepare(model)
    energy = build_energy(cell.energy, model, dataset.train.x[:2])
    objective = EnergyObjective(cross_entropy, energy, LAM)
    config = config_of(cell)
    optimizer = build_optimizer(model, config)
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from (
            model
            for _ in training_steps(
                *(model, dataset.train, objective, optimizer, cell.batch_size, generator),
                execution,
                clip_norm=config.clip_norm,
            )
        )


def _has_images(cell: Cell, load: Load) -> bool:
    """Whether the cell's model has weights that can be laid out channels last."""
    spec = load(cell.dataset).spec
    return any(weight.dim() == 4 for weight in network_of(cell, spec, 0).parameters())


def network_of(cell: Cell, spec: DataSpec, seed: int) -> nn.Module:
    """Build a network as the runs of a cell have it."""
    options = model_options(asdict(cell))
    return build_model(cell.model, spec, parameters=cell.parameters, seed=seed, **options)


def config_of(cell: Cell) -> TrainConfig:
    """Return how the runs of a cell train, as far as that decides their speed or stability."""
    return TrainConfig(lr=cell.lr, batch_size=cell.batch_size, clip_norm=cell.clip_norm)


def _decided(
    execution: Execution,
    reason: str,
    account: Mapping[str, Any] | None = None,
    seconds: Mapping[Cell, float] | None = None,
) -> Calibration:
    report = {"reason": reason, **(account or {})}
    return Calibration(execution=execution, report=report, seconds=seconds or {})


def _label(execution: Execution) -> str:
    parts = [execution.precision]
    parts += ["compiled"] * execution.compile + ["channels-last"] * execution.channels_last
    return " ".join(parts)
