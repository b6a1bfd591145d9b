"""Steering a budget by held-out accuracy: as little energy as a baseline's accuracy allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minaction.errors import InputError
from minaction.objective.budget import Budget
from minaction.train.evaluate import Evaluation

WARM_UP = 0.2
"""Share of a training in which lambda * energy is held down to `WARM_UP_TERM`."""
WARM_UP_TERM = 0.06
"""In units of the task loss, nats of cross-entropy."""
RANGE = 9.6
"""How far log lambda can move from there, either way: four decades."""
PROXIMAL_INITIAL = 0.5
"""Lambda after the warm-up where it is the strength of proximal steps: the priciest unit is gone
after 2 / lr steps, if nothing needs it."""
PROXIMAL_CEILING = 4.0
"""Adam moves a weight by lr at most. A 3x3 filter of one input, the smallest group there is, drawn
by torch's rule, cannot make up for more than about 5, however much it is needed."""
RECENT = 2.5
"""Looks count from this fraction of the present step on."""
STEADINESS = 0.2
"""Ridge on the slope of the gap: a few looks must not make a trend."""


@dataclass(frozen=True, kw_only=True)
class AccuracyTarget:
    """How much accuracy a run may lose against a baseline, validated at the same steps.

    Attributes:
        steps: Optimiser steps at which the baseline was validated, ascending.
        accuracies: Its validation accuracies there, fractions; or any other score of which more is
            better, such as minus a loss, in place of all accuracies.
        margin: Loss of accuracy that counts as none, a fraction > 0; of a score in its unit.
        aim: Share of the margin that is to be used up, in [0, 10]; the rest is room for noise.
            Above 1 where a fine-tune afterwards will win back the rest: proximal steps hold down
            also the units they leave, and what accuracy that costs is not lost for good.

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
                "AccuracyTarget: expected as many steps as accuracies, one or more, got "
                f"{len(self.steps)} and {len(self.accuracies)}"
            )
        if not 0 < self.margin < 1:
            raise InputError(f"AccuracyTarget: margin must be in (0, 1), got {self.margin}")
        if not 0 <= self.aim <= 10:
            raise InputError(f"AccuracyTarget: aim must be in [0, 10], got {self.aim}")

    def gap(self, step: int, accuracy: float) -> float:
        """Return the accuracy less the baseline's at the same step.

        The baseline's curve is fitted by a non-decreasing one and interpolated linearly.
        """
        return accuracy - float(np.interp(step, self.steps, isotonic(self.accuracies)))


class AccuracySteering:
    """Tells a budget, after every validation, how much room the accuracy leaves.

    What a lambda costs shows late: under too large a one accuracy is ahead of the baseline's at
    first and falls behind for good in the end. So the budget follows not the present gap to the
    baseline but what it will be at the end of the training if it goes on as it does,

        slack = aim + predicted gap / margin,

    extrapolated linearly in the logarithm of the step from the recent looks. The budget is told
    `slack * |slack|`, so that noise around 0 moves lambda little, and all looks after the warm-up
    together can move log lambda by `RANGE` at most. Call it after each validation, with the
    optimiser steps so far and what the validation found; in a loop of another library, `look`.

    Args:
        target: What may be lost.
        steps: Optimiser steps of the whole training.
        every: Steps between two validations.
        proximal: Lambda is the strength of proximal steps. What they take out stays out, and too
            strong ones take out everything: lambda begins low, after a warm-up on the task alone,
            moves slowly, and has a ceiling.
        budget: A rule without a limit to steer in place of its own, for an energy whose effects
            stay: under unit energy a ReLU unit that fell silent does not come back, and the
            energy's own fall would raise a lambda that the warm-up holds lambda * energy by.

    Attributes:
        budget: The lambda rule it steers, for the objective.

    Raises:
        InputError: No validation falls between the warm-up and the end, so nothing can be steered;
            or `budget` has a limit, or is given with `proximal`, which has a rule of its own.
    """

    def __init__(
        self,
        target: AccuracyTarget,
        *,
        steps: int,
        every: int,
        proximal: bool = False,
        budget: Budget | None = None,
    ) -> None:
        if budget is not None and (proximal or budget.limit is not None):
            raise InputError(
                "AccuracySteering: a budget to be steered has no limit, which would move it too, "
                "and does not go with proximal=True, which brings its own"
            )
        self._target, self._steps = target, steps
        warmup = round(WARM_UP * steps) if budget is None else budget.warmup
        if (steps - 1) // every <= warmup // every:
            raise InputError(
                f"a budget is steered by validations, and of {steps} steps none is validated "
                "between the warm-up and the end; train longer or lower validate_every"
            )
        looks = max(1, (steps - warmup) // every)
        if budget is not None:
            self.budget = budget
        elif proximal:
            way = math.log(PROXIMAL_CEILING / PROXIMAL_INITIAL)
            self.budget = Budget(
                gain=2 * way / looks,
                floor=PROXIMAL_INITIAL**2 / PROXIMAL_CEILING,
                ceiling=PROXIMAL_CEILING,
                initial=PROXIMAL_INITIAL,
                warmup=warmup,
            )
        else:
            self.budget = Budget(
                gain=RANGE / looks,
                floor=1e-30,
                ceiling=1e30,
                warmup=warmup,
                warmup_term=WARM_UP_TERM,
            )
        self._warmup = warmup
        self._gaps: list[tuple[int, float]] = []
        self._found: list[tuple[int, float]] = []

    def __call__(self, step: int, validation: Evaluation) -> None:
        """Steer."""
        self.look(step, validation.accuracy)

    def look(self, step: int, accuracy: float) -> None:
        """Steer by the accuracy, or the score, that a validation found after so many steps."""
        self._gaps.append((step, self._target.gap(step, accuracy)))
        if step <= self._warmup:
            return
        predicted = extrapolated(recent(self._gaps, self._steps), self._steps)
        slack = self._target.aim + predicted / self._target.margin
        self.budget.steer(slack * abs(slack))
        self._found.append((step, float(self.budget.value)))

    @property
    def multiplier(self) -> float | None:
        """The geometric mean of lambda over the last fifth of the training, None if there was none.

        The shadow price: the task loss that a unit of energy was worth.
        """
        last = [lam for step, lam in self._found if step > (1 - WARM_UP) * self._steps]
        return math.exp(sum(map(math.log, last)) / len(last)) if last else None


def recent(gaps: Sequence[tuple[int, float]], steps: int) -> list[tuple[int, float]]:
    """Return the looks that tell of the future: those of late, none of the first tenth."""
    since = max(gaps[-1][0] / RECENT, WARM_UP / 2 * steps)
    return [(step, gap) for step, gap in gaps if step >= since] or [gaps[-1]]


def extrapolated(gaps: Sequence[tuple[int, float]], step: int) -> float:
    """Return the gap expected at a step: a line in log(step), its slope shrunk by a ridge."""
    times, values = np.log([t for t, _ in gaps]), np.array([gap for _, gap in gaps])
    deviations = times - times.mean()
    slope = deviations @ values / (deviations @ deviations + STEADINESS)
    return float(values.mean() + slope * (math.log(step) - times.mean()))


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
