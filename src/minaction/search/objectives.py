"""What a search can be about: objectives by name, and where a candidate stands in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minaction.study.journal import Record, RunStatus


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Something to be raised or lowered.

    Attributes:
        metric: What records call it.
        title: What a reader is told, with its unit.
        is_cost: Lower is better; else it is a fraction, and higher is.
    """

    metric: str
    title: str
    is_cost: bool = True

    def level(self, value: float) -> float:
        """Return a value on the scale that is searched and measured on: lower is better.

        Costs span decades: log10. Of a fraction, minus its percentage.
        """
        return math.log10(value) if self.is_cost else -100 * value

    def value(self, level: float) -> float:
        """Return what `level` makes a level of."""
        return 10.0**level if self.is_cost else -level / 100


OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective(metric="val_accuracy", title="validation accuracy", is_cost=False),
    "energy_gauge_fixed": Objective(metric="energy_gauge_fixed", title="gauge-fixed energy"),
    "macs": Objective(metric="macs_dense", title="MACs per sample"),
    "latency": Objective(metric="inference_seconds", title="seconds per sample"),
    "parameters": Objective(metric="parameters", title="parameters"),
}
"""Objectives by the names that a search file has for them."""


def levels_of(record: Record, objectives: Sequence[str]) -> tuple[float, ...] | None:
    """Return where a candidate stands, lower is better, see `Objective.level`.

    None where it did not end well, or lacks one of the objectives.
    """
    if record.status is not RunStatus.OK:
        return None
    levels = []
    for name in objectives:
        objective = OBJECTIVES[name]
        value = (record.metrics or {}).get(objective.metric)
        if value is None or (objective.is_cost and value <= 0):
            return None
        levels.append(objective.level(value))
    return tuple(levels)
