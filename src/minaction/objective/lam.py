"""Rules that set lambda, the price of energy: one class each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, Protocol, final, runtime_checkable

from torch import Tensor

from minaction.errors import LambdaError


@runtime_checkable
class LambdaRule(Protocol):
    """What the objective asks of a rule."""

    @property
    def value(self) -> float | Tensor:
        """Lambda for the next step, finite and >= 0; a tensor where it is found while training."""
        ...

    def advance(
        self, task: Tensor | float | None = None, energy: Tensor | float | None = None
    ) -> None:
        """Move on by one training step, whose task loss and energy these were."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        ...


@final
class Fixed:
    """A constant lambda.

    Raises:
        LambdaError: lambda is negative, NaN or infinite.
    """

    def __init__(self, lam: float) -> None:
        self._lam = checked(lam)

    @property
    def value(self) -> float:
        """Lambda."""
        return self._lam

    def advance(
        self, task: Tensor | float | None = None, energy: Tensor | float | None = None
    ) -> None:
        """Do nothing: lambda stays."""

    def state_dict(self) -> dict[str, Any]:
        """Return the constant."""
        return {"lam": self._lam}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the constant from a checkpoint."""
        self._lam = checked(_entry("Fixed", state, "lam"))

    def __repr__(self) -> str:
        return f"Fixed({self._lam!r})"


@final
class Schedule:
    """Warm-up on the task alone, then a ramp to the target.

    `lambda(t) = 0` for `t < warmup`; then over `ramp` steps linearly,
    `lambda = target * (t - warmup + 1) / ramp`, or geometrically from `target / 1000`,
    `lambda = target * 1000^((t - warmup + 1) / ramp - 1)`; then `target`.

    Args:
        target: Final lambda.
        warmup: Training steps with lambda 0.
        ramp: Training steps from there to the target.
        shape: `"linear"` or `"geometric"`.

    Raises:
        LambdaError: lambda is negative, NaN or infinite, or a number of steps is negative.
    """

    def __init__(
        self,
        target: float,
        *,
        warmup: int = 0,
        ramp: int = 0,
        shape: Literal["linear", "geometric"] = "linear",
    ) -> None:
        if shape not in ("linear", "geometric"):
            raise LambdaError(f"Schedule: shape must be 'linear' or 'geometric', got {shape!r}")
        self.target = checked(target)
        self.warmup, self.ramp = _steps("warmup", warmup), _steps("ramp", ramp)
        self.shape = shape
        self._steps = 0

    @property
    def value(self) -> float:
        """Lambda for the next step."""
        if self._steps < self.warmup:
            return 0.0
        done = self._steps - self.warmup + 1
        if done >= self.ramp:
            return self.target
        if self.shape == "linear":
            return self.target * done / self.ramp
        return self.target * 1000 ** (done / self.ramp - 1)

    def advance(
        self, task: Tensor | float | None = None, energy: Tensor | float | None = None
    ) -> None:
        """Move on by one training step; what it found does not matter."""
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps done."""
        return {"steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the number of steps in a checkpoint."""
        self._steps = _steps("steps", _entry("Schedule", state, "steps"))

    def __repr__(self) -> str:
        return (
            f"Schedule({self.target!r}, warmup={self.warmup}, ramp={self.ramp}, "
            f"shape={self.shape!r})"
        )


def as_rule(lam: float | LambdaRule) -> LambdaRule:
    """Return `lam` itself if it is a rule, else the constant rule."""
    return lam if isinstance(lam, LambdaRule) else Fixed(lam)


def checked(lam: object) -> float:
    """Return `lam` as a float.

    Raises:
        LambdaError: It is no number, negative, NaN or infinite.
    """
    if isinstance(lam, bool) or not isinstance(lam, Real):
        raise LambdaError(f"lambda must be a number >= 0 or a rule such as Schedule, got {lam!r}")
    try:
        value = float(lam)
    except OverflowError:  # an integer beyond the floats
        value = math.inf
    if not (math.isfinite(value) and value >= 0):
        raise LambdaError(f"lambda must be finite and >= 0, got {lam!r}")
    return value


def _steps(name: str, steps: object) -> int:
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        raise LambdaError(f"Schedule: {name} must be a number of steps >= 0, got {steps!r}")
    return int(steps)


def _entry(rule: str, state: Mapping[str, Any], key: str) -> object:
    if key not in state:
        raise LambdaError(f"{rule}: the checkpoint holds no {key!r}; it is another rule's")
    return state[key]
