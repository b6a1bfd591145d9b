"""Train networks under an explicit internal energy and measure what that really saves."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minaction import stats
    from minaction.compaction.compact import Compaction, compact
    from minaction.data.dataset import Dataset, DataSpec, Split
    from minaction.data.load import load_dataset
    from minaction.energy.functionals import (
        ActionEnergy,
        ActivationEnergy,
        Energy,
        FreeEnergy,
        KineticEnergy,
        L1Energy,
        PotentialEnergy,
        SynapticEnergy,
        UnitEnergy,
    )
    from minaction.energy.gauge import GaugeReport, gauge_fix
    from minaction.energy.tape import Tape
    from minaction.energy.trajectory import Trajectory
    from minaction.errors import MinActionError
    from minaction.measure.audit import audit
    from minaction.measure.audit_result import Audit
    from minaction.measure.flops import count_macs
    from minaction.measure.mac_count import MacCount
    from minaction.models.build import build_model
    from minaction.objective.budget import Budget
    from minaction.objective.lam import Fixed, Schedule
    from minaction.objective.objective import EnergyObjective, Terms

__version__ = "0.1.0.dev0"

_HOME = {
    "ActionEnergy": "minaction.energy.functionals",
    "ActivationEnergy": "minaction.energy.functionals",
    "Audit": "minaction.measure.audit_result",
    "Budget": "minaction.objective.budget",
    "Compaction": "minaction.compaction.compact",
    "DataSpec": "minaction.data.dataset",
    "Dataset": "minaction.data.dataset",
    "Energy": "minaction.energy.functionals",
    "EnergyObjective": "minaction.objective.objective",
    "Fixed": "minaction.objective.lam",
    "FreeEnergy": "minaction.energy.functionals",
    "GaugeReport": "minaction.energy.gauge",
    "KineticEnergy": "minaction.energy.functionals",
    "L1Energy": "minaction.energy.functionals",
    "MacCount": "minaction.measure.mac_count",
    "MinActionError": "minaction.errors",
    "PotentialEnergy": "minaction.energy.functionals",
    "Schedule": "minaction.objective.lam",
    "Split": "minaction.data.dataset",
    "SynapticEnergy": "minaction.energy.functionals",
    "Tape": "minaction.energy.tape",
    "Terms": "minaction.objective.objective",
    "Trajectory": "minaction.energy.trajectory",
    "UnitEnergy": "minaction.energy.functionals",
    "audit": "minaction.measure.audit",
    "build_model": "minaction.models.build",
    "compact": "minaction.compaction.compact",
    "count_macs": "minaction.measure.flops",
    "gauge_fix": "minaction.energy.gauge",
    "load_dataset": "minaction.data.load",
}
_ROOMS = ("stats",)

__all__ = [
    "ActionEnergy",
    "ActivationEnergy",
    "Audit",
    "Budget",
    "Compaction",
    "DataSpec",
    "Dataset",
    "Energy",
    "EnergyObjective",
    "Fixed",
    "FreeEnergy",
    "GaugeReport",
    "KineticEnergy",
    "L1Energy",
    "MacCount",
    "MinActionError",
    "PotentialEnergy",
    "Schedule",
    "Split",
    "SynapticEnergy",
    "Tape",
    "Terms",
    "Trajectory",
    "UnitEnergy",
    "audit",
    "build_model",
    "compact",
    "count_macs",
    "gauge_fix",
    "load_dataset",
    "stats",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: importing the command line must not import torch."""
    if name in _ROOMS:
        return importlib.import_module(f"minaction.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'minaction' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
