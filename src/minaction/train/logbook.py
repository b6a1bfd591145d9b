"""What a training run goes through, written down as it happens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from minaction.train.evaluate import Evaluation


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a run went through.

    Attributes:
        history: One entry per validation, and one at the end: epoch (the one it falls in, from 1),
            step and train_seconds (both since the start), train_loss and train_energy (means over
            the steps since the entry before), lam, val_loss, val_accuracy (absent where the loss
            was not finite).
        steps: Optimiser steps done.
        train_seconds: Wall-clock seconds of training, evaluation excluded.
        validation: The last validation; None where the training ended before one.
        diverged: The loss became NaN or infinite; training stopped there.
        stopped: It was given up at a validation before its end.
    """

    history: list[dict[str, Any]]
    steps: int
    train_seconds: float
    validation: Evaluation | None
    diverged: bool
    stopped: bool = False


class Logbook:
    """Keeps the history of a run.

    Args:
        per_epoch: Optimiser steps of an epoch.

    Attributes:
        steps: Optimiser steps so far.
        validation: The last validation.
        diverged: The loss became NaN or infinite.
        stopped: The training is given up.
    """

    def __init__(self, per_epoch: int) -> None:
        self.steps, self.diverged, self.stopped = 0, False, False
        self.validation: Evaluation | None = None
        self._per_epoch, self._seconds = per_epoch, 0.0
        self._history: list[dict[str, Any]] = []

    def trained(
        self, steps: int, *, seconds: float, task_sum: float, energy_sum: float, lam: float
    ) -> None:
        """Note what came of steps: their seconds, the sums of their losses, the lambda after."""
        self.steps += steps
        self._seconds += seconds
        means = {"train_loss": task_sum / steps, "train_energy": energy_sum / steps}
        self.diverged = not all(map(math.isfinite, means.values()))
        entry = {"epoch": math.ceil(self.steps / self._per_epoch), "step": self.steps}
        self._history.append({**entry, "train_seconds": self._seconds, **means, "lam": lam})

    def validated(self, validation: Evaluation) -> None:
        """Note what a validation after these steps found."""
        self.validation = validation
        self.diverged = not math.isfinite(validation.loss)
        found = {"val_loss": validation.loss, "val_accuracy": validation.accuracy}
        self._history[-1] |= found

    def training(self) -> Training:
        """Return it all."""
        return Training(
            history=self._history,
            steps=self.steps,
            train_seconds=self._seconds,
            validation=self.validation,
            diverged=self.diverged,
            stopped=self.stopped,
        )
