"""Steering a budget by held-out accuracy: as little energy as a baseline's accuracy allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from minaction.data.dataset import Split
from minaction.errors import InputError
from minaction.objective.budget import Budget
from minaction.objective.objective import TaskLoss
from minaction.train.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class AccuracyFloor:
    """The lowest accuracy allowed as a training goes on: its baseline's then, less a part.

    `floor(t) = baseline(t) - aim * margin`, with the baseline's curve made non-decreasing by its
    running maximum's isotonic fit and interpolated linearly. To compare at the same time of the
    training, and not with the baseline's end, gives the multiplier something to follow from the
    start.

    Attributes:
        steps: Optimiser steps at which the baseline was validated, ascending.
        accuracies: Its validation accuracies there, fractions.
        margin: Loss of accuracy that counts as none, a fraction > 0.
        aim: Share of the margin that is used up; the rest is room for noise, in [0, 1].

    Raises:
        InputError: An attribute is out of its range.
    """

    steps: Sequence[int]
    accuracies: Sequence[float]
    margin: float
    aim: float = 0.5

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.accuracies):
            raise InputError(
                "AccuracyFloor: expected as many steps as accuracies, one or more, got "
                f"{len(self.steps)} and {len(self.accuracies)}"
            )
        if not 0 < self.margin < 1:
            raise InputError(f"AccuracyFloor: margin must be in (0, 1), got {self.margin}")
        if not 0 <= self.aim <= 1:
            raise InputError(f"AccuracyFloor: aim must be in [0, 1], got {self.aim}")

    def at(self, step: int) -> float:
        """Return the lowest accuracy allowed after `step` optimiser steps."""
        curve = isotonic(self.accuracies)
        return float(np.interp(step, self.steps, curve)) - self.aim * self.margin


def isotonic(values: Sequence[float]) -> list[float]:
    """Return the non-decreasing sequence nearest to `values` in squares.

    Reference:
        Barlow et al. 1972, Statistical inference under order restrictions (pool adjacent
        violators).
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (right, n), (left, m) = pools.pop(), pools.pop()
            pools.append(((left * m + right * n) / (m + n), m + n))
    return [mean for mean, count in pools for _ in range(count)]


class AccuracySteering:
    """Tells a budget, every so many steps, how much room the validation accuracy leaves.

    `slack = (accuracy - floor) / margin`. Called after every optimiser step; nothing happens in
    the budget's warm-up.

    Args:
        model: The network that is trained; back in training mode after each look.
        budget: The multiplier, one without a limit.
        split: Held-out samples.
        task_loss: Task loss of outputs and labels.
        floor: The lowest accuracy allowed.
        every: Steps between looks.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: Budget,
        split: Split,
        task_loss: TaskLoss,
        floor: AccuracyFloor,
        *,
        every: int,
    ) -> None:
        self._model, self._budget, self._split = model, budget, split
        self._task_loss, self._floor, self._every = task_loss, floor, every
        self._steps = 0
        self._found: list[tuple[int, float]] = []

    def __call__(self) -> None:
        """Look, if it is time to."""
        self._steps += 1
        if self._steps < self._budget.warmup or self._steps % self._every:
            return
        accuracy = evaluate(self._model, self._split, self._task_loss).accuracy
        self._model.train()
        self._budget.steer((accuracy - self._floor.at(self._steps)) / self._floor.margin)
        self._found.append((self._steps, float(self._budget.value)))

    def multiplier(self, steps: int) -> float | None:
        """Return the geometric mean of lambda over the last `steps` steps, None if unknown."""
        recent = [lam for step, lam in self._found if step > self._steps - steps]
        return math.exp(sum(map(math.log, recent)) / len(recent)) if recent else None
