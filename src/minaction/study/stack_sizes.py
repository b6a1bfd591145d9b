"""How many runs of each kind are best trained as one, found out by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import torch

from minaction.energy.build import build_energy
from minaction.objective.objective import EnergyObjective
from minaction.study.calibrate import (
    ALLOWANCE,
    GAIN,
    LAM,
    STEPS,
    WORTH_TRYING_SECONDS,
    Calibration,
    Load,
    config_of,
    network_of,
    stepper,
    time_cells,
)
from minaction.study.cells import Cell
from minaction.study.run import cross_entropy
from minaction.study.stack_groups import FleetMode, kind_name
from minaction.study.stacked_runs import stacking_device
from minaction.train.execution import Execution
from minaction.train.fleet import FleetRun
from minaction.train.memory import is_out_of_memory
from minaction.train.stack import SAMPLE, Stack, stacking_conditions
from minaction.train.stackable import stacking_obstacle

GROWTH = 4
SIZES = (4, 16, 64, 256, 1024)
UNTIMED = 16  # runs of a stack on the CPU where nobody asked what is fastest
NO_MEMORY = "out of memory with the smallest stack"
MEMORY = 0.8  # share of a GPU's free memory that stacks may fill


def choose_stacks(
    cells: Sequence[Cell],
    largest: Mapping[str, int],
    mode: FleetMode,
    calibration: Calibration,
    load: Load,
    *,
    workers: int,
    limit_seconds: float | None = None,
) -> dict[str, Any]:
    """Decide for each kind of run how many are trained as one.

    `"auto"` tries growing stacks, as long as that takes less than 10 % of the time predicted for
    the kind, and stacks where a run's step takes at most 90 % of what it takes alone. `"on"` stacks
    whatever can be stacked: 16 runs on a CPU, as many as fit into a GPU.

    Args:
        cells: What the study will run.
        largest: Runs a stack of each kind may have; see `stack_groups.stackable`.
        mode: `"auto"`, `"on"` or `"off"`.
        calibration: How single runs are done.
        load: Gives a data set by name.
        workers: Processes that share the work, and the GPU.
        limit_seconds: The most that trying stacks larger than the smallest may take, if less.

    Returns:
        JSON values: `stacked`, the runs of a stack by kind, where that is more than one;
        `step_ratios`, where they were timed, a run's step in such a stack over one alone; and
        `not_stacked`, the reasons of kinds that were tried in vain.
    """
    if mode == "off" or not largest:
        return {}
    seconds = calibration.seconds
    if mode == "auto" and not seconds:
        seconds = time_cells(cells, calibration.execution, load)
    limit = inf if limit_seconds is None else limit_seconds / len(largest)
    stacked: dict[str, int] = {}
    ratios: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, most in largest.items():
        of_kind = [cell for cell in cells if kind_name(cell.model, cell.dataset) == name]
        predicted = sum(seconds.get(cell, 0.0) for cell in of_kind) / workers
        if mode == "auto" and predicted < WORTH_TRYING_SECONDS:
            continue
        heaviest = max(of_kind, key=lambda cell: (seconds.get(cell, 0.0), cell.parameters))
        trial = _Trial(heaviest, calibration.execution, load, workers)
        if trial.obstacle:
            reasons[name] = trial.obstacle
        elif mode == "on":
            if size := trial.fitting(most):
                stacked[name] = size
            else:
                reasons[name] = NO_MEMORY
        else:
            size, ratio = trial.fastest(most, min(ALLOWANCE * predicted, limit))
            if ratio <= GAIN:
                stacked[name], ratios[name] = size, round(ratio, 4)
            elif ratio < inf:
                reasons[name] = f"{ratio:.2f} times the seconds of single runs, at best"
            else:
                reasons[name] = NO_MEMORY
    found = {"stacked": stacked, "step_ratios": ratios, "not_stacked": reasons}
    return {key: value for key, value in found.items() if value}


class _Trial:
    """Steps of single runs of one cell and of stacks of them, in turns."""

    def __init__(self, cell: Cell, execution: Execution, load: Load, workers: int) -> None:
        self._dataset, self._workers = load(cell.dataset), workers
        self._device = stacking_device()
        model = network_of(cell, self._dataset.spec, 0)
        self._sample = self._dataset.train.x[:SAMPLE]
        energy = build_energy(cell.energy, model, self._sample)
        self._run = FleetRun(
            model=model,
            objective=EnergyObjective(cross_entropy, energy, LAM),
            config=config_of(cell),
        )
        self._alone = stepper(cell, execution, self._dataset, seed=0)
        self.obstacle = stacking_obstacle(self._run, self._dataset.train, self._device)

    def fitting(self, most: int) -> int:
        """Return how many runs a stack may have, 0 to `most`, without asking what is fastest."""
        if self._device == "cpu":
            return min(most, UNTIMED)
        try:
            self.ratio(1)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return 0
        return min(most, self._room(1))

    def fastest(self, most: int, allowance: float) -> tuple[int, float]:
        """Return the size at which a run's step is fastest, and its time over that of one alone.

        The time is infinite where memory suffices for no stack.

        Args:
            most: Largest size.
            allowance: Seconds that trying may take; the smallest stack is tried in any case.
        """
        until, best, best_size, room, expected = time.perf_counter() + allowance, inf, 1, most, 0.0
        for size in sorted({*(size for size in SIZES if size < most), most}):
            started = time.perf_counter()
            if size > room or (best < inf and started + expected > until):
                break
            try:
                ratio = self.ratio(size)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if ratio > GAIN * best:
                break
            best, best_size, room = ratio, size, min(most, self._room(size))
            expected = GROWTH * (time.perf_counter() - started)
        return best_size, best

    def ratio(self, size: int) -> float:
        """Return a stacked run's median time of a step over that of a run alone."""
        split, run = self._dataset.train, self._run
        x, y = split.x.to(self._device), split.y.to(self._device)
        lam = torch.full((size,), LAM, device=self._device)
        generator = torch.Generator().manual_seed(0)

        def step() -> None:
            shape = (size, run.config.batch_size)
            index = torch.randint(len(split), shape, generator=generator).to(self._device)
            loss, _ = stack.step(x[index], y[index], lam)
            loss.sum().item()  # waits for a GPU

        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with stacking_conditions():
            models, configs = [run.model] * size, [run.config] * size
            stack = Stack(models, run.objective, configs, self._sample, self._device)
            pairs = [
                (self._seconds(lambda: next(self._alone)), self._seconds(step) / size)
                for _ in range(STEPS + 1)
            ]
        alone, together = (statistics.median(times) for times in zip(*pairs[1:], strict=True))
        return together / alone

    def _seconds(self, work: Callable[[], object]) -> float:
        """Time one call; on a CPU by its own time, which others that are busy do not change."""
        clock = time.process_time if self._device == "cpu" else time.perf_counter
        started = clock()
        work()
        return clock() - started

    def _room(self, size: int) -> int:
        """Return how many runs fit into a worker's part of the GPU, by what a stack has taken."""
        if self._device == "cpu":
            return max(SIZES)
        free, _ = torch.cuda.mem_get_info()
        run_bytes = torch.cuda.max_memory_allocated() / size
        return max(1, int(MEMORY * free / self._workers / run_bytes))
