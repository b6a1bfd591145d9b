"""A Lightning callback that trains with an energy; needs the extra `lightning`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, final

from torch import Tensor

from minaction.energy.functionals import Energy
from minaction.energy.tape import Layers
from minaction.errors import InputError
from minaction.integrations.steps import EnergyTerm
from minaction.objective.lam import LambdaRule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise InputError(
        f"EnergyCallback needs Lightning ({error}); install with: "
        "pip install 'minaction[lightning]'"
    ) from None


@final
class EnergyCallback(Callback):
    """Adds lambda * E to what `training_step` returns, a tensor or a dict with `"loss"`.

    E is the energy of everything that runs with gradients inside `training_step`; what metrics, a
    teacher or a frozen part compute under `no_grad` is no part of it. The module is not touched:
    the trainer's strategy is asked for a step that has the term, for as long as it trains.
    Validation and what the module logs itself stay without it.

    With gradient accumulation every batch's energy counts alike, and lambda moves on once per
    optimiser step. With several processes (DDP) E is the mean of theirs, and all have one lambda.
    The state of lambda is in every checkpoint, and a resumed training goes on along the same
    trajectory. Compiled modules run uncompiled, with a warning.

    Every `log_every_n_steps` optimiser steps, and after the last of an epoch, `minaction/task`,
    `energy`, `total`, `lam` and `zero_fraction`, the share of activations that are exactly 0, are
    logged of that step.

    Args:
        energy: The energy of a training step.
        lam: A number >= 0 or a rule, `Schedule` or `Budget`; a step of it is an optimiser step.
        layers: What to observe, as for `Tape`; default: nonlinearities.

    Raises:
        InputError: `energy` is none, or, when training begins, the module optimises by hand.
        LambdaError: lambda is negative, NaN or infinite, or not one number.
        TapeError: In the first step, if the module cannot be observed or has no nonlinearity.

    Example:
        >>> trainer = Trainer(callbacks=[EnergyCallback(ma.ActivationEnergy(), lam=1e-4)])
        >>> trainer.fit(module, loader)
    """

    def __init__(
        self, energy: Energy, lam: float | LambdaRule = 0.0, *, layers: Layers | None = None
    ) -> None:
        self._term = EnergyTerm(energy, lam, layers)
        self._detach: Callable[[], object] | None = None
        self._steps = 0

    @property
    def lam(self) -> LambdaRule:
        """The rule of lambda."""
        return self._term.lam

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that optimises by hand."""
        if stage == "fit" and not pl_module.automatic_optimization:
            raise InputError(
                f"{type(pl_module).__name__} optimises by hand, where a callback cannot complete "
                "the loss; use minaction.EnergyObjective in its training_step"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have training steps observed and their losses completed."""
        self._steps = trainer.global_step
        self._term.begin()
        if self._detach is not None:
            return
        strategy, step = trainer.strategy, trainer.strategy.training_step
        compiled = pl_module._compiler_ctx is not None

        def training_step(*args: Any, **kwargs: Any) -> Any:
            seen = self._term.observe(
                pl_module,
                functools.partial(step, *args, **kwargs),
                compiled=compiled,
                count_zeros=_logs(trainer, trainer.global_step + 1),
            )
            return _completed(seen.output, lambda task: self._term.total(task, seen))

        strategy.training_step = training_step
        self._detach = functools.partial(vars(strategy).pop, "training_step")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move lambda on and log, where this batch was followed by an optimiser step."""
        steps = trainer.global_step
        if steps == self._steps:
            return
        self._steps = steps
        processes = functools.partial(trainer.strategy.reduce, reduce_op="mean")
        terms = self._term.finish_step(processes if trainer.world_size > 1 else None)
        if terms is not None and _logs(trainer, steps):
            pl_module.log_dict(terms.to_log())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the strategy as it was."""
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the strategy as it was."""
        self._restore()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return self._term.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._term.load_state_dict(state_dict)

    def _restore(self) -> None:
        if self._detach is not None:
            self._detach()
            self._detach = None


def _logs(trainer: Trainer, step: int) -> bool:
    """Return whether the terms of an optimiser step are logged: logging costs as much as a step."""
    every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
    return bool(every) and (step % every == 0 or _ends_epoch(trainer))


def _ends_epoch(trainer: Trainer) -> bool:
    """Return whether the optimiser step under way, of one batch or several, ends an epoch."""
    batches, together = trainer.num_training_batches, trainer.accumulate_grad_batches
    # batches may be infinitely many as far as is known before the last is there
    in_last = trainer.fit_loop.batch_idx // together == (batches - 1) // together
    return in_last or trainer.is_last_batch


def _completed(output: Any, complete: Callable[[Tensor], Tensor]) -> Any:
    """Return a training step's output with its loss completed; what has none is Lightning's."""
    if isinstance(output, Tensor):
        return complete(output)
    if isinstance(output, Mapping) and isinstance(output.get("loss"), Tensor):
        return {**output, "loss": complete(output["loss"])}
    return output
