"""An energy budget: lambda found while training, as the multiplier of a constraint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from minaction.errors import LambdaError

_STATE = ("steps", "log_lam", "average", "weight")


@final
class Budget:
    """Spend as little energy as a constraint on the task allows: dual ascent on log lambda.

    Minimising `E` subject to `L_task <= limit` has the Lagrangian `E + mu (L_task - limit)`, which
    is `L_task + lambda E` up to a factor, with `lambda = 1 / mu`. After every step the multiplier
    follows how much room the constraint leaves,

        average <- smoothing * average + (1 - smoothing) * L_task      (bias-corrected)
        slack    = log(limit / average)
        log lambda <- log lambda + gain * min(max(slack, -1), 1),

    so lambda rises where the task has room and falls where it has none. It is kept within
    `[floor, ceiling]`: early in a training the constraint is out of reach whatever lambda is, and
    without a floor the multiplier would fall for good (windup). Where it settles it is a shadow
    price: `lambda = -dL_task/dE` along the frontier of what the network can do, the task loss that
    one unit of energy is worth.

    Without a `limit` it follows the slack that whoever trains tells it by `steer`, e.g.
    `(accuracy - lowest_allowed) / margin` on held-out data.

    Stacked runs have one multiplier each: `limit` and slack of shape `[runs]` give a lambda of
    shape `[runs]`.

    Args:
        limit: Upper limit on the task loss, > 0: a number, or a tensor with one per run.
        gain: Largest change of log lambda by one observation, > 0.
        smoothing: Share of the running average that stays at a step, in [0, 1).
        initial: Lambda after the warm-up.
        floor: Lowest lambda, > 0.
        ceiling: Highest lambda.
        warmup: Training steps on the task alone, with lambda 0, in which nothing is observed.

    Raises:
        LambdaError: An argument is out of its range.

    Example:
        >>> objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=Budget(0.05))

    Reference:
        Platt and Barr 1987, Constrained differential optimization; Astrom and Hagglund 2006,
        Advanced PID Control, on windup.
    """

    def __init__(
        self,
        limit: float | Tensor | None = None,
        *,
        gain: float = 0.02,
        smoothing: float = 0.98,
        initial: float = 1e-5,
        floor: float = 1e-6,
        ceiling: float = 1.0,
        warmup: int = 0,
    ) -> None:
        self.limit = None if limit is None else _limits(limit)
        self.gain = _positive("gain", gain)
        if not 0 <= smoothing < 1:
            raise LambdaError(f"Budget: smoothing must be in [0, 1), got {smoothing!r}")
        self.smoothing = float(smoothing)
        self.floor, self.ceiling = _positive("floor", floor), _positive("ceiling", ceiling)
        if not self.floor <= _positive("initial", initial) <= self.ceiling:
            raise LambdaError(
                f"Budget: expected floor <= initial <= ceiling, got {floor!r}, {initial!r}, "
                f"{ceiling!r}"
            )
        if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
            raise LambdaError(f"Budget: warmup must be a number of steps >= 0, got {warmup!r}")
        self.warmup = warmup
        shape = torch.zeros(()) if self.limit is None else torch.zeros_like(self.limit)
        self._steps = 0
        self._log_lam = shape + math.log(initial)
        self._average = shape.clone()
        self._weight = shape.clone()  # what the average's own weights sum to

    @property
    def value(self) -> float | Tensor:
        """Lambda for the next step: 0.0 in the warm-up, then a float32 tensor, one per run."""
        return 0.0 if self._steps < self.warmup else self._log_lam.exp().float()

    def advance(self, task: Tensor | float | None = None) -> None:
        """Move on by one training step.

        Args:
            task: The step's task loss, one per run; needed where there is a limit.

        Raises:
            LambdaError: It is needed and missing.
        """
        observed = self._steps >= self.warmup
        self._steps += 1
        if self.limit is None:
            return
        if task is None:
            raise LambdaError("Budget: a limit needs the task loss of every step; pass it on")
        if observed:
            self._observe(torch.as_tensor(task).detach().to(self._average))

    def steer(self, slack: Tensor | float) -> None:
        """Follow how much room the constraint leaves.

        Args:
            slack: Above 0 where there is room, below 0 where the constraint does not hold;
                dimensionless, taken as at most 1 in size. One per run.
        """
        room = torch.as_tensor(slack).detach().to(self._log_lam).nan_to_num(nan=-1.0).clamp(-1, 1)
        lam = self._log_lam + self.gain * room
        # what is beyond the limits is not stored, so lambda turns at once when the slack does
        self._log_lam = lam.clamp(math.log(self.floor), math.log(self.ceiling))

    def _observe(self, task: Tensor) -> None:
        assert self.limit is not None
        finite = task.isfinite()  # or one bad batch would stay in the average for good
        kept, new = self.smoothing, 1 - self.smoothing
        self._average = torch.where(finite, kept * self._average + new * task, self._average)
        self._weight = torch.where(finite, kept * self._weight + new, self._weight)
        slack = (self.limit.to(task) * self._weight / self._average).log()
        self.steer(torch.where(finite, slack, -1.0))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on along the same trajectory."""
        return {
            "steps": self._steps,
            "log_lam": self._log_lam.clone(),
            "average": self._average.clone(),
            "weight": self._weight.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            LambdaError: It is another rule's.
        """
        if missing := [key for key in _STATE if key not in state]:
            raise LambdaError(
                f"Budget: the checkpoint holds no {missing[0]!r}; it is another rule's"
            )
        self._steps = int(state["steps"])
        self._log_lam, self._average, self._weight = (
            torch.as_tensor(state[key]).clone() for key in _STATE[1:]
        )

    def __repr__(self) -> str:
        limit = None if self.limit is None else self.limit.tolist()
        return (
            f"Budget({limit!r}, gain={self.gain!r}, smoothing={self.smoothing!r}, "
            f"floor={self.floor!r}, ceiling={self.ceiling!r}, warmup={self.warmup!r})"
        )


def _limits(limit: float | Tensor) -> Tensor:
    if isinstance(limit, bool) or not isinstance(limit, int | float | Tensor):
        raise LambdaError(f"Budget: limit must be a task loss > 0, got {limit!r}")
    limits = torch.as_tensor(limit, dtype=torch.float64).detach().clone()
    if not bool((limits.isfinite() & (limits > 0)).all()):
        raise LambdaError(f"Budget: limit must be finite and > 0, got {limit!r}")
    return limits


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LambdaError(f"Budget: {name} must be a number > 0, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise LambdaError(f"Budget: {name} must be finite and > 0, got {value!r}")
    return float(value)
