"""Building an energy of the catalogue for a model."""

from __future__ import annotations

import importlib

from torch import Tensor, nn

from minaction.energy.catalog import ENERGIES
from minaction.energy.functionals import Energy, SynapticEnergy, UnitEnergy
from minaction.errors import UnknownNameError


def build_energy(name: str, model: nn.Module, x: Tensor) -> Energy:
    """Build an energy of the catalogue.

    "unit" prices all units alike, "unit_macs" by the MACs they cause, relative to the priciest.

    Args:
        name: A name in `minaction.energy.catalog.ENERGIES`.
        model: The model it will be used on; energies that need its wiring run it once.
        x: A small batch of inputs for that.

    Raises:
        UnknownNameError: No such energy.
    """
    if name not in ENERGIES:
        raise UnknownNameError("energy", name, ENERGIES)
    module, _, cls = ENERGIES[name].partition(":")
    energy = getattr(importlib.import_module(module), cls)
    if name == "unit_macs":
        return UnitEnergy.of(model, x, relative=True)
    return energy.of(model, x) if energy is SynapticEnergy else energy()
