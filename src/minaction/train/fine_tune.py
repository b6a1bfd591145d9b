"""Fine-tuning: a short training on the task alone, with a learning rate that falls to 0."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from minaction.data.dataset import Split
from minaction.errors import InputError
from minaction.objective.objective import TaskLoss
from minaction.train.execution import Execution
from minaction.train.loop import TrainConfig, batches, build_optimizer


def fine_tune(
    model: nn.Module,
    split: Split,
    task_loss: TaskLoss,
    config: TrainConfig,
    *,
    epochs: float,
    execution: Execution | None = None,
) -> int:
    """Train `model` in place on the task loss and return the number of steps.

    The learning rate falls linearly from `config.lr` to 0: what is left of a training should end
    with small steps.

    Args:
        model: The network; left in evaluation mode, its weights in contiguous order.
        split: What it is trained on.
        task_loss: Task loss of outputs and labels.
        config: Batch size, learning rate, weight decay, clipping and seed; its length is not used.
        epochs: Passes over the split; a fraction is one of its steps.
        execution: Precision and layout; default: plain float32. Nothing is compiled: networks
            that were made smaller all have shapes of their own.

    Raises:
        InputError: `epochs` is not positive and finite, or the batch is larger than the split.
    """
    if not 0 < epochs < math.inf:
        raise InputError(f"epochs is {epochs}; expected a positive number")
    execution = execution or Execution()
    optimizer = build_optimizer(execution.prepare(model), config)
    generator = torch.Generator().manual_seed(config.seed)
    steps = max(1, round(epochs * (len(split) // config.batch_size)))
    passes = (batches(split, config.batch_size, generator) for _ in itertools.repeat(None))
    stream = itertools.islice(itertools.chain.from_iterable(passes), steps)
    model.train()
    with execution.training(model):
        for done, (x, y) in enumerate(stream):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * (1 - done / steps)
            optimizer.zero_grad(set_to_none=True)
            with execution.autocast():
                loss = task_loss(model(x), y)
            loss.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
    model.eval().to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return steps
