"""Whether networks like one can be trained as a stack, found out by trying."""

from __future__ import annotations

import torch

from minaction.data.dataset import Split
from minaction.train.fleet import FleetRun
from minaction.train.memory import is_out_of_memory
from minaction.train.stack import SAMPLE, Stack, stacking_conditions

TOLERANCE = 1e-3
"""Relative and absolute, of a stacked network's losses: float32 in another order of sums."""


def stacking_obstacle(
    run: FleetRun, split: Split, device: torch.device | str = "cpu"
) -> str | None:
    """Return why runs like this one cannot be stacked, None if they can.

    Two copies must be differentiable at once on two samples, with every parameter in use, and have
    the task loss and energy that the network has alone.

    Args:
        run: One of the runs; its model is left as it is.
        split: Where the samples are taken from.
        device: Where to train.
    """
    kind, training = type(run.model).__name__, run.model.training
    try:
        with stacking_conditions(), torch.random.fork_rng(devices=[]):
            problem = _tried(run, split, device)
    except Exception as error:  # a transform may fail in any way
        if is_out_of_memory(error):
            raise
        problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
    finally:
        run.model.train(training)
    return problem and f"{kind} cannot be stacked: {problem}"


def _tried(run: FleetRun, split: Split, device: torch.device | str) -> str | None:
    sample, labels = split.x[:SAMPLE], split.y[:SAMPLE]
    x, y = sample.to(device), labels.to(device)
    lam = torch.ones(2, device=device)
    stack = Stack([run.model] * 2, run.objective, [run.config] * 2, sample, device)
    stacked = stack.losses(x, y, lam)
    terms = run.objective.evaluate(run.model.eval(), sample, labels, torch.ones(()))
    alone = (terms.task.detach(), terms.energy.detach())
    for name, value, expected in zip(("task loss", "energy"), stacked, alone, strict=True):
        expected = expected.to(value).expand(2)
        if not torch.allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE):
            return f"its {name} is {value[0]:.6g} there and {expected[0]:.6g} alone"
    if run.config.weight_decay and (unused := _without_gradient(run, terms.total)):
        return f"{unused} has no gradient, so the loop leaves it alone, but weight decay would not"
    stack.step(torch.stack([x, x]), torch.stack([y, y]), lam)
    return None


def _without_gradient(run: FleetRun, total: torch.Tensor) -> str | None:
    """Return the name of a parameter that no gradient reaches, None if there is none."""
    trained = {name: p for name, p in run.model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
    return next((n for n, g in zip(trained, gradients, strict=True) if g is None), None)
