"""How many runs of each kind are best trained as one, found out by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    network_of,
    time_cells,
    time_steps,
)
from minaction.study.cells import Cell
from minaction.study.run import cross_entropy
from minaction.study.stack_groups import FleetMode, kind_name
from minaction.study.stacked_runs import stacking_device
from minaction.train.fleet import FleetRun
from minaction.train.loop import TrainConfig
from minaction.train.memory import is_out_of_memory
from minaction.train.stack import SAMPLE, Stack, stacking_conditions
from minaction.train.stackable import stacking_obstacle

SIZES = (4, 16, 64, 256, 1024)
UNTIMED = 16  # runs of a stack on the CPU where nobody asked what is fastest
MEMORY = 0.8  # share of a GPU's free memory that stacks may fill


def choose_stacks(
    cells: Sequence[Cell],
    largest: Mapping[str, int],
    mode: FleetMode,
    calibration: Calibration,
    load: Load,
    *,
    workers: int,
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

    Returns:
        JSON values: `stacked`, the runs of a stack by kind, where that is more than one, and
        `not_stacked`, the reasons of kinds that were tried in vain.
    """
    if mode == "off" or not largest:
        return {}
    seconds = calibration.seconds
    if mode == "auto" and not seconds:
        seconds = time_cells(cells, calibration.execution, load)
    stacked: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for name, most in largest.items():
        of_kind = [cell for cell in cells if kind_name(cell.model, cell.dataset) == name]
        predicted = sum(seconds.get(cell, 0.0) for cell in of_kind) / workers
        if mode == "auto" and predicted < WORTH_TRYING_SECONDS:
            continue
        heaviest = max(of_kind, key=lambda cell: (seconds.get(cell, 0.0), cell.parameters))
        trial = _Trial(heaviest, load, workers)
        if trial.obstacle:
            reasons[name] = trial.obstacle
        elif mode == "on":
            stacked[name] = trial.fitting(most)
        else:
            alone = time_steps(heaviest, calibration.execution, load).step
            size, ratio = trial.fastest(most, alone, ALLOWANCE * predicted)
            if ratio <= GAIN:
                stacked[name] = size
            else:
                reasons[name] = f"{ratio:.2f} times the seconds of single runs, at best"
    found = {"stacked": stacked, "not_stacked": reasons}
    return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Seconds of a step for each run of a stack, and the memory it took on a GPU."""

    seconds: float
    run_bytes: float


class _Trial:
    """Stacks of the runs of one cell."""

    def __init__(self, cell: Cell, load: Load, workers: int) -> None:
        self._dataset, self._workers = load(cell.dataset), workers
        self._device = stacking_device()
        model = network_of(cell, self._dataset.spec, 0)
        self._sample = self._dataset.train.x[:SAMPLE]
        energy = build_energy(cell.energy, model, self._sample)
        self._run = FleetRun(
            model=model,
            objective=EnergyObjective(cross_entropy, energy, LAM),
            config=TrainConfig(lr=cell.lr, batch_size=cell.batch_size),
        )
        self.obstacle = stacking_obstacle(self._run, self._dataset.train, self._device)

    def fitting(self, most: int) -> int:
        """Return how many runs a stack may have, `most` at most, without asking what is fastest."""
        if self._device == "cpu":
            return min(most, UNTIMED)
        return min(most, self._room(self._time(1)))

    def fastest(self, most: int, alone: float, allowance: float) -> tuple[int, float]:
        """Return the size at which a run's step is fastest, and its time over that of one alone.

        Args:
            most: Largest size.
            alone: Seconds of a step alone.
            allowance: Seconds that trying may take.
        """
        until, best, best_size, room = time.perf_counter() + allowance, float("inf"), 1, most
        for size in sorted({*(size for size in SIZES if size < most), most}):
            expected = (STEPS + 1) * size * min(best, alone)
            if size > room or time.perf_counter() + expected > until:
                break
            try:
                timing = self._time(size)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if timing.seconds > GAIN * best:
                break
            best, best_size, room = timing.seconds, size, min(most, self._room(timing))
        return best_size, best / alone

    def _room(self, timing: _Timing) -> int:
        """Return how many runs fit into the worker's part of the memory, one at least."""
        if self._device == "cpu":
            return max(SIZES)
        free, _ = torch.cuda.mem_get_info()
        return max(1, int(MEMORY * free / self._workers / timing.run_bytes))

    def _time(self, size: int) -> _Timing:
        split, run, times = self._dataset.train, self._run, []
        x, y = split.x.to(self._device), split.y.to(self._device)
        lam = torch.full((size,), LAM, device=self._device)
        generator = torch.Generator().manual_seed(0)
        on_gpu = self._device != "cpu"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        with stacking_conditions():
            models, configs = [run.model] * size, [run.config] * size
            stack = Stack(models, run.objective, configs, self._sample, self._device)
            for _ in range(STEPS + 1):
                started = time.perf_counter()
                shape = (size, run.config.batch_size)
                index = torch.randint(len(split), shape, generator=generator).to(self._device)
                loss, _ = stack.step(x[index], y[index], lam)
                loss.sum().item()  # waits for a GPU
                times.append(time.perf_counter() - started)
        peak = torch.cuda.max_memory_allocated() if on_gpu else 0
        return _Timing(seconds=statistics.median(times[1:]) / size, run_bytes=peak / size)
