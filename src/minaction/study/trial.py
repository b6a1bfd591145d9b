"""How a search tries a candidate: measured on the validation split alone, given up where hopeless.

The test split is left for the network that is chosen in the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from minaction.data.dataset import Split
from minaction.errors import DeviceError
from minaction.measure.clock import cpu_timer_for, time_program
from minaction.train.evaluate import Evaluation, learned

LATENCY_REPEATS = 5
"""Measurements of a candidate's latency, of which the median counts."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a candidate is tried.

    Attributes:
        floor: Validation accuracy below which it is hopeless; None: that of one that tells no
            classes apart, see `learned`.
        patience: Share of the training in which nobody asks.
        latency_on: Device its latency is measured on; None: it is not.
    """

    floor: float | None
    patience: float
    latency_on: str | None

    def hopeless(self, validation: Split, steps: int) -> Callable[[int, Evaluation], bool]:
        """Return what says, at a validation before the end, whether a training is given up.

        Args:
            validation: The split that is validated on.
            steps: Optimiser steps of the whole training.
        """

        def judge(step: int, found: Evaluation) -> bool:
            if not self.patience * steps <= step < steps:
                return False
            if self.floor is None:
                return not learned(found, validation)
            return found.accuracy < self.floor

        return judge


def inference_seconds(
    model: nn.Module, split: Split, batch_size: int, device_name: str
) -> dict[str, float]:
    """Return the seconds a sample takes in a batch, under the name they have in measurements.

    On a CPU it is CPU time of this thread, on a GPU that of its events. The model is moved.
    """
    device = torch.device(device_name)
    model.to(device).eval()
    x = split.x[torch.arange(batch_size) % len(split)].to(device)
    with torch.inference_mode():
        times = time_program(
            functools.partial(model, x),
            measurements=LATENCY_REPEATS,
            warm_up=2,
            timer=cpu_timer_for(device),
        )
    return {"inference_seconds": times.seconds / batch_size}


def require_device(name: str) -> None:
    """Check that networks can be measured on a device.

    Raises:
        DeviceError: There is none of this name here.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        raise DeviceError(
            f"latency cannot be measured on {name!r} here ({first}); choose another device, or an "
            "objective other than latency"
        ) from error
