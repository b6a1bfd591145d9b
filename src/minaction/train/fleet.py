"""Many training runs of one architecture at once: the fast twin of `minaction.train.loop`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minaction.data.dataset import Dataset, Split
from minaction.errors import InputError
from minaction.objective.objective import EnergyObjective
from minaction.objective.stacked import StackedRules
from minaction.train.evaluate import BATCH, Evaluation, judge
from minaction.train.logbook import Logbook, Training
from minaction.train.loop import CHECK_EVERY, TrainConfig, check_batch_size
from minaction.train.stack import SAMPLE, Stack, stacking_conditions


@dataclass(frozen=True, kw_only=True, eq=False)
class FleetRun:
    """One run of a fleet; for attributes see `minaction.train.loop.train`."""

    model: nn.Module
    objective: EnergyObjective
    config: TrainConfig
    after_validation: Sequence[Callable[[int, Evaluation], None]] = ()


def train_fleet(
    runs: Sequence[FleetRun], dataset: Dataset, device: torch.device | str = "cpu"
) -> list[Training]:
    """Train the models of all runs in place, each as `minaction.train.loop.train` would alone.

    Runs may differ in initial weights, seed of the data order, learning rate, weight decay,
    clipping and lambda rule. Each has its own data order, its own moments, its own lambda, its own
    end: one that diverges leaves the fleet when the loop would have stopped it. Only dropout draws
    other numbers than alone, different ones in each run. Arithmetic is float32 as in the loop (or
    what the models have), in another order of sums.

    The seconds of a step are shared out equally among the runs in it, which have equal shares of
    its multiply-accumulates: `train_seconds` is attributed, not measured.

    Args:
        runs: What to train, one run at least.
        dataset: Training and validation data.
        device: Where to train; models come back to where they were.

    Returns:
        What each run went through, in order.

    Raises:
        InputError: The runs differ in architecture, energy, task loss, batch size or length, or the
            batch is larger than the training split. No model has changed.
    """
    _check_alike(runs)
    check_batch_size(runs[0].config.batch_size, dataset.train)
    fleet = _Fleet(runs, dataset, torch.device(device))
    with stacking_conditions():
        fleet.train()
    return fleet.trainings()


@dataclass(kw_only=True, eq=False)
class _Lane:
    """One run under way; `seconds` are its share since its last entry."""

    run: FleetRun
    log: Logbook
    seconds: float = 0.0


class _Fleet:
    """Runs that are under way, one row of the stack each."""

    def __init__(self, runs: Sequence[FleetRun], dataset: Dataset, device: torch.device) -> None:
        config, samples = runs[0].config, len(dataset.train)
        self._batch_size, self._device = config.batch_size, device
        self._total = config.total_steps(samples)
        self._every = config.steps_between_validations(samples)
        self._train, self._validation = (
            Split(x=split.x.to(device), y=split.y.to(device), groups=None)
            for split in (dataset.train, dataset.validation)
        )
        per_epoch = samples // config.batch_size
        self._all = [_Lane(run=run, log=Logbook(per_epoch)) for run in runs]
        # neighbours of equal rates share a block of the optimiser
        self._lanes = sorted(self._all, key=lambda lane: _rates(lane.run.config))
        self._stack = Stack(
            [lane.run.model for lane in self._lanes],
            runs[0].objective,
            [lane.run.config for lane in self._lanes],
            dataset.train.x[:SAMPLE],
            device,
        )
        seeds = [lane.run.config.seed for lane in self._lanes]
        self._orders = _Orders(seeds, samples, config.batch_size, device)
        self._steps = 0

    def trainings(self) -> list[Training]:
        """Return what each run went through, in the order they were given in."""
        return [lane.log.training() for lane in self._all]

    def train(self) -> None:
        """Train and validate until every run is at its end."""
        while self._lanes and self._steps < self._total:
            self._train_until(min(self._steps + self._every, self._total))
            self._validate()
        self._leave(lambda lane: True)

    def _train_until(self, end: int) -> None:
        """Train up to a step; runs whose loss is not finite leave where the loop looks for that."""
        begin = self._steps
        self._sums = torch.zeros(2, len(self._lanes), device=self._device)
        while self._lanes and self._steps < end:
            task_sums, energy_sums = self._advance(min(CHECK_EVERY, end - self._steps))
            for lane, *sums in zip(self._lanes, task_sums, energy_sums, strict=True):
                if self._steps == end or not all(map(math.isfinite, sums)):
                    lane.log.trained(
                        self._steps - begin,
                        seconds=lane.seconds,
                        task_sum=sums[0],
                        energy_sum=sums[1],
                        lam=float(lane.run.objective.lam.value),
                    )
                    lane.seconds = 0.0
            self._leave(lambda lane: lane.log.diverged)

    def _advance(self, steps: int) -> list[list[float]]:
        """Train for some steps and return the sums of task losses and energies so far."""
        started = time.perf_counter()
        rules = StackedRules([lane.run.objective.lam for lane in self._lanes], self._device)
        for _ in range(steps):
            index = self._orders.next()
            x, y = (
                values.index_select(0, index.flatten()).unflatten(0, index.shape)
                for values in (self._train.x, self._train.y)
            )
            losses = self._stack.step(x, y, rules.value)
            rules.advance(*losses)
            for total, loss in zip(self._sums, losses, strict=True):
                total += loss
        rules.settle()
        self._steps += steps
        sums = self._sums.tolist()
        share = (time.perf_counter() - started) / len(self._lanes)
        for lane in self._lanes:
            lane.seconds += share
        return sums

    def _validate(self) -> None:
        if not self._lanes:
            return
        # no more samples at once than in a step
        at_once = max(1, len(self._lanes) * self._batch_size // BATCH)
        parts = [self._stack.outputs(x, at_once) for x in self._validation.x.split(BATCH)]
        for lane, outputs in zip(self._lanes, torch.cat(parts, 1), strict=True):
            run = lane.run
            validation = judge(outputs, self._validation.y, run.objective.task_loss)
            lane.log.validated(validation)
            for call in run.after_validation:
                call(self._steps, validation)
        self._leave(lambda lane: lane.log.diverged)

    def _leave(self, is_over: Callable[[_Lane], bool]) -> None:
        """Give the models of runs that are over their weights and go on with the others."""
        staying = []
        for row, lane in enumerate(self._lanes):
            if is_over(lane):
                self._stack.write(row, lane.run.model)
            else:
                staying.append(row)
        if 0 < len(staying) < len(self._lanes):
            rows = torch.tensor(staying)
            self._stack.keep(rows)
            self._orders.keep(rows)
            self._sums = self._sums[:, rows]
        self._lanes = [self._lanes[row] for row in staying]


class _Orders:
    """The order each run goes through the samples in: that of `minaction.train.loop.batches`."""

    def __init__(
        self, seeds: Sequence[int], samples: int, batch_size: int, device: torch.device
    ) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._samples, self._batch_size, self._device = samples, batch_size, device
        self._ahead = torch.empty(len(seeds), 0)

    def next(self) -> Tensor:
        """Return the samples of each run's next batch, `[runs, batch]`."""
        if self._ahead.shape[1] < self._batch_size:
            orders = (torch.randperm(self._samples, generator=g) for g in self._generators)
            # half the memory of a thousand orders
            self._ahead = torch.stack([order.to(torch.int32) for order in orders]).to(self._device)
        index, self._ahead = self._ahead.tensor_split([self._batch_size], 1)
        return index

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the runs only."""
        self._generators = [self._generators[row] for row in rows.tolist()]
        self._ahead = self._ahead[rows]


def _rates(config: TrainConfig) -> tuple[float, float]:
    return config.lr, config.weight_decay


def _shared(config: TrainConfig) -> TrainConfig:
    """Return a configuration without what runs of a fleet may differ in."""
    return replace(config, seed=0, lr=1.0, weight_decay=0.0, clip_norm=None)


def _check_alike(runs: Sequence[FleetRun]) -> None:
    if not runs:
        raise InputError("runs is empty; give one at least")
    first = runs[0]
    for number, run in enumerate(runs):
        alike = {
            "length or batch size": _shared(run.config) == _shared(first.config),
            "energy": run.objective.energy == first.objective.energy,
            "task loss": run.objective.task_loss == first.objective.task_loss,
            "layers": run.objective.layers == first.objective.layers,
        }
        for what, equal in alike.items():
            if not equal:
                raise InputError(
                    f"run {number} has another {what} than run 0; only equal ones can be stacked"
                )
