"""Fine-tuning: a short training on the task alone, with a learning rate that falls to 0."""

from __future__ import annotations

import math

import torch
from torch import nn

from minaction.data.dataset import Split
from minaction.errors import InputError
from minaction.objective.objective import TaskLoss
from minaction.train.loop import TrainConfig, batches, build_optimizer


def fine_tune(
    model: nn.Module, split: Split, task_loss: TaskLoss, config: TrainConfig, *, epochs: float
) -> int:
    """Train `model` in place on the task loss and return the number of steps.

    The learning rate falls linearly from `config.lr` to 0: what is left of a training should end
    with small steps.

    Args:
        model: The network; left in evaluation mode.
        split: What it is trained on.
        task_loss: Task loss of outputs and labels.
        config: Batch size, learning rate, weight decay and seed; its number of epochs is not used.
        epochs: Passes over the split; a fraction is one of its steps.

    Raises:
        InputError: `epochs` is not positive and finite, or the batch is larger than the split.
    """
    if not 0 < epochs < math.inf:
        raise InputError(f"epochs is {epochs}; expected a positive number")
    optimizer = build_optimizer(model, config)
    generator = torch.Generator().manual_seed(config.seed)
    steps = max(1, round(epochs * (len(split) // config.batch_size)))
    done = 0
    model.train()
    while done < steps:
        for x, y in batches(split, config.batch_size, generator):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * (1 - done / steps)
            optimizer.zero_grad(set_to_none=True)
            task_loss(model(x), y).backward()
            optimizer.step()
            done += 1
            if done == steps:
                break
    model.eval()
    return done
