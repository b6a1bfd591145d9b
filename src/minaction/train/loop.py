"""One training run, readable: Adam on task loss + lambda * energy."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from minaction.data.dataset import Dataset, Split
from minaction.errors import InputError
from minaction.objective.objective import EnergyObjective
from minaction.train.evaluate import Evaluation, evaluate
from minaction.train.execution import Execution
from minaction.train.logbook import Logbook, Training

if TYPE_CHECKING:
    from minaction.train.proximal import ProximalUnits

CHECK_EVERY = 100  # steps between looks at whether the loss is still finite


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Hyperparameters of one run.

    Attributes:
        epochs: Passes over the training split, unless `steps` says how long to train.
        steps: Optimiser steps to do, in as many passes as that takes.
        validate_every: Optimiser steps between two validations; default: those of an epoch.
        batch_size: Samples per step; a last incomplete batch of an epoch is left out.
        lr: Adam's learning rate.
        weight_decay: Decoupled (AdamW) weight decay.
        clip_norm: Gradients of a larger Euclidean norm, over all parameters, are scaled down to it;
            default: they are not.
        seed: Seed of the data order.

    Raises:
        InputError: A number of epochs, steps or samples is below 1, lr or clip_norm is not
            positive, weight decay is negative, or one of them is not finite.
    """

    epochs: int = 5
    steps: int | None = None
    validate_every: int | None = None
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "validate_every", "batch_size"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise InputError(f"{name} is {count}, expected 1 or more")
        for name in ("lr", "clip_norm"):
            number = getattr(self, name)
            if number is not None and not 0 < number < math.inf:
                raise InputError(f"{name} is {number}, expected a finite number above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay is {self.weight_decay}, expected a finite number >= 0")

    def steps_between_validations(self, samples: int) -> int:
        """Return the optimiser steps between two validations on so many training samples."""
        return self.validate_every or samples // self.batch_size

    def total_steps(self, samples: int) -> int:
        """Return the optimiser steps of the whole training on so many training samples."""
        return self.steps or self.epochs * (samples // self.batch_size)


def train(
    model: nn.Module,
    dataset: Dataset,
    objective: EnergyObjective,
    config: TrainConfig,
    execution: Execution | None = None,
    *,
    proximal: ProximalUnits | None = None,
    after_validation: Sequence[Callable[[int, Evaluation], None]] = (),
    hopeless: Callable[[int, Evaluation], bool] | None = None,
) -> Training:
    """Train `model` in place and validate now and then; the test split is not touched.

    Args:
        model: The network; its parameters are updated.
        dataset: Training and validation data.
        objective: Task loss, energy and lambda rule.
        config: Hyperparameters.
        execution: Precision, compilation and layout; default: plain float32.
        proximal: What lambda acts through if not the loss: the energy is then only measured, and
            every optimiser step is followed by a proximal one of strength lr * lambda.
        after_validation: Called after every validation with the steps so far and what it found.
        hopeless: Asked the same; the training is given up where it says so.

    Raises:
        InputError: The batch is larger than the training split; the model is as it was.
    """
    check_batch_size(config.batch_size, dataset.train)
    execution = execution or Execution()
    execution.prepare(model)
    optimizer = build_optimizer(model, config)
    generator = torch.Generator().manual_seed(config.seed)
    total = config.total_steps(len(dataset.train))
    every = config.steps_between_validations(len(dataset.train))
    epoch = functools.partial(
        training_steps,
        *(model, dataset.train, objective, optimizer, config.batch_size, generator, execution),
        clip_norm=config.clip_norm,
        proximal=proximal,
    )
    stream = itertools.chain.from_iterable(epoch() for _ in itertools.repeat(None))
    log = Logbook(len(dataset.train) // config.batch_size)
    while not (log.diverged or log.stopped) and log.steps < total:
        model.train()
        started = time.perf_counter()
        steps = itertools.islice(stream, min(every, total - log.steps))
        done, task_sum, energy_sum = _sums(steps, dataset.train.x.device)
        log.trained(
            done,
            seconds=time.perf_counter() - started,
            task_sum=task_sum,
            energy_sum=energy_sum,
            lam=float(objective.lam.value),
        )
        if not log.diverged:
            validation = evaluate(model, dataset.validation, objective.task_loss)
            log.validated(validation)
            for call in after_validation:
                call(log.steps, validation)
            log.stopped = hopeless is not None and hopeless(log.steps, validation)
    return log.training()


class AdamW(torch.optim.AdamW):
    """AdamW without what keeps its methods out of compiled functions.

    That imports the compiler, which takes over a second. A step is compiled up to its losses only,
    so the optimiser never runs inside.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a run: AdamW, which is Adam at weight decay 0."""
    return AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def training_steps(
    model: nn.Module,
    split: Split,
    objective: EnergyObjective,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    generator: torch.Generator,
    execution: Execution,
    *,
    clip_norm: float | None = None,
    proximal: ProximalUnits | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train for one epoch; after each step yield its task loss and energy, detached scalars.

    With `clip_norm`, gradients are clipped as in `TrainConfig`; with `proximal`, lambda acts
    through proximal steps in place of the loss, as in `train`.

    Raises:
        InputError: The batch is larger than the split.
    """
    model.train()
    losses = execution.losses()
    with execution.training(model):
        for x, y in batches(split, batch_size, generator):
            lam = objective.lam.value
            in_loss = 0.0 if proximal else lam
            optimizer.zero_grad(set_to_none=True)
            # a tensor, so that one compiled graph serves every lambda; 0 drops the energy term
            if in_loss and not isinstance(in_loss, Tensor):
                in_loss = torch.tensor(in_loss)
            task, energy, total = losses(objective, model, x, y, in_loss)
            total.backward()
            if clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            if proximal:
                proximal.step(optimizer.param_groups[0]["lr"] * float(lam))
            objective.lam.advance(task.detach(), energy.detach())
            yield task.detach(), energy.detach()


def _sums(steps: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> tuple[int, float, float]:
    """Return how many steps were made and the sums of their task losses and energies.

    Ends early where a sum is not finite.
    """
    task_sum, energy_sum, count = *torch.zeros(2, device=device), 0
    for task, energy in steps:
        task_sum += task
        energy_sum += energy
        count += 1
        if count % CHECK_EVERY == 0 and not math.isfinite(float(task_sum + energy_sum)):
            break
    return count, float(task_sum), float(energy_sum)


def batches(
    split: Split, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield full batches of a split in a fresh random order; the remainder is left out.

    Raises:
        InputError: The batch is larger than the split.
    """
    check_batch_size(batch_size, split)
    order = torch.randperm(len(split), generator=generator)
    for start in range(0, len(split) - batch_size + 1, batch_size):
        index = order[start : start + batch_size].to(split.x.device)
        yield split.x.index_select(0, index), split.y.index_select(0, index)


def check_batch_size(batch_size: int, split: Split) -> None:
    """Raise InputError for a batch larger than the split."""
    if batch_size > len(split):
        raise InputError(
            f"batch_size is {batch_size}, but the training split has only {len(split)} samples; "
            "choose a smaller batch"
        )
