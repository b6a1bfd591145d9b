"""An energy budget: lambda found while training, as the multiplier of a constraint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import torch
from torch import Tensor

from minaction.errors import LambdaError
from minaction.objective.lam import checked

_STATE = ("steps", "log_lam", "task", "energy")


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
        initial: Lambda to start from.
        floor: Lowest lambda, > 0.
        ceiling: Highest lambda.
        warmup: Training steps before that, in which the constraint is not looked at.
        warmup_term: What `lambda * E` begins with and is held down to in the warm-up, with a
            running average of E; 0 trains on the task alone. Lambda does not rise in the warm-up:
            held up to a term it would follow an energy that falls to 0 without limit, and silence
            a network that has not begun to learn. Where the term is above 0 lambda goes on from
            there, whatever the scale of E, instead of from `initial`.

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
        warmup_term: float = 0.0,
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
        self.warmup_term = checked(warmup_term)
        shape = torch.zeros(()) if self.limit is None else torch.zeros_like(self.limit)
        self._steps = 0
        self._log_lam = shape + math.log(initial)
        self._task, self._energy = _Average.of(shape), _Average.of(shape)

    @property
    def value(self) -> float | Tensor:
        """Lambda for the next step: a float32 tensor, one per run; 0.0 where the task is alone."""
        alone = self._steps < self.warmup and not (self.warmup_term and self._steps)
        return 0.0 if alone else self._log_lam.exp().float()

    def advance(
        self, task: Tensor | float | None = None, energy: Tensor | float | None = None
    ) -> None:
        """Move on by one training step.

        Args:
            task: The step's task loss, one per run; needed where there is a limit.
            energy: Its energy, one per run; needed where there is a warm-up term.

        Raises:
            LambdaError: What is needed is missing.
        """
        warming_up = self._steps < self.warmup
        self._steps += 1
        if warming_up and self.warmup_term:
            begun = self._energy.value > 0
            self._energy = self._energy.with_next(_needed("energy", energy), self.smoothing)
            held = (self.warmup_term / self._energy.value).log()
            held = torch.where(held.isfinite(), held, self._log_lam)
            self._set(torch.where(begun, torch.minimum(held, self._log_lam), held))
        if not warming_up and self.limit is not None:
            observed = _needed("task", task)
            self._task = self._task.with_next(observed, self.smoothing)
            slack = (self.limit.to(observed) / self._task.value).log()
            self.steer(torch.where(observed.isfinite(), slack, -1.0))

    def steer(self, slack: Tensor | float) -> None:
        """Follow how much room the constraint leaves.

        Args:
            slack: Above 0 where there is room, below 0 where the constraint does not hold;
                dimensionless, taken as at most 1 in size. One per run.
        """
        room = torch.as_tensor(slack).detach().to(self._log_lam).nan_to_num(nan=-1.0).clamp(-1, 1)
        self._set(self._log_lam + self.gain * room)

    def _set(self, log_lam: Tensor) -> None:
        # what is beyond the limits is not stored, so lambda turns at once when the slack does
        limits = math.log(self.floor), math.log(self.ceiling)
        self._log_lam = log_lam.to(self._log_lam).clamp(*limits)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on along the same trajectory."""
        return {
            "steps": self._steps,
            "log_lam": self._log_lam.clone(),
            "task": (self._task.total.clone(), self._task.weight.clone()),
            "energy": (self._energy.total.clone(), self._energy.weight.clone()),
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
        self._log_lam = torch.as_tensor(state["log_lam"]).clone()
        self._task, self._energy = (
            _Average(*(torch.as_tensor(part).clone() for part in state[key]))
            for key in ("task", "energy")
        )

    @classmethod
    def stacked(cls, budgets: Sequence[Self], device: torch.device | str = "cpu") -> Self:
        """Return one rule that does what these, of one run each, would do.

        Args:
            budgets: Alike in everything but their limits and where they stand.
            device: Where its state is kept.

        Raises:
            LambdaError: They are not alike.
        """
        first, states = budgets[0], [budget.state_dict() for budget in budgets]
        if len({budget._settings() for budget in budgets}) > 1:
            raise LambdaError(
                "Budget: only budgets alike in all but their limits, and after as many steps, can "
                "be stacked"
            )
        limits = [budget.limit for budget in budgets if budget.limit is not None]
        stack = cls(
            torch.stack(limits) if limits else None,
            gain=first.gain,
            smoothing=first.smoothing,
            initial=first.floor,
            floor=first.floor,
            ceiling=first.ceiling,
            warmup=first.warmup,
            warmup_term=first.warmup_term,
        )
        stack.limit = None if stack.limit is None else stack.limit.to(device)

        def together(key: str) -> tuple[Tensor, ...]:
            parts = zip(*(state[key] for state in states), strict=True)
            return tuple(torch.stack(part).to(device) for part in parts)

        log_lam = torch.stack([state["log_lam"] for state in states]).to(device)
        averages = {key: together(key) for key in ("task", "energy")}
        stack.load_state_dict({"steps": first._steps, "log_lam": log_lam, **averages})
        return stack

    def hand_back(self, budgets: Sequence[Self]) -> None:
        """Bring the rules that this one was stacked from to where it stands."""
        state = self.state_dict()
        log_lams = state["log_lam"].cpu()
        averages = {key: [part.cpu() for part in state[key]] for key in ("task", "energy")}
        for run, budget in enumerate(budgets):
            own = {key: tuple(part[run] for part in parts) for key, parts in averages.items()}
            budget.load_state_dict({"steps": self._steps, "log_lam": log_lams[run], **own})

    def _settings(self) -> tuple[Any, ...]:
        """Return what stacked rules have in common."""
        own = (self.gain, self.smoothing, self.floor, self.ceiling, self.warmup, self.warmup_term)
        return (*own, self._steps, self.limit is None, self._log_lam.shape)

    def __repr__(self) -> str:
        limit = None if self.limit is None else self.limit.tolist()
        return (
            f"Budget({limit!r}, gain={self.gain!r}, smoothing={self.smoothing!r}, "
            f"floor={self.floor!r}, ceiling={self.ceiling!r}, warmup={self.warmup!r})"
        )


@dataclass(frozen=True, eq=False)
class _Average:
    """A running average with bias correction; what is not finite is left out of it."""

    total: Tensor
    weight: Tensor

    @classmethod
    def of(cls, like: Tensor) -> _Average:
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    @property
    def value(self) -> Tensor:
        return self.total / self.weight

    def with_next(self, value: Tensor, smoothing: float) -> _Average:
        finite = value.isfinite()  # or one bad batch would stay in the average for good
        total = smoothing * self.total + (1 - smoothing) * value.to(self.total)
        weight = smoothing * self.weight + (1 - smoothing)
        return _Average(
            torch.where(finite, total, self.total), torch.where(finite, weight, self.weight)
        )


def _needed(name: str, value: Tensor | float | None) -> Tensor:
    if value is None:
        raise LambdaError(f"Budget: needs the {name} of every step; pass it to advance")
    return torch.as_tensor(value).detach()


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
