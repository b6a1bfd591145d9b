"""Energies by name, for study files and the command line. Imports no torch."""

from __future__ import annotations

ENERGIES: dict[str, str] = {
    "activation": "minaction.energy.functionals:ActivationEnergy",
    "l1": "minaction.energy.functionals:L1Energy",
    "unit": "minaction.energy.functionals:UnitEnergy",
    "unit_macs": "minaction.energy.functionals:UnitEnergy",
    "synaptic": "minaction.energy.functionals:SynapticEnergy",
    "kinetic": "minaction.energy.functionals:KineticEnergy",
    "potential": "minaction.energy.functionals:PotentialEnergy",
    "action": "minaction.energy.functionals:ActionEnergy",
    "free": "minaction.energy.functionals:FreeEnergy",
}
"""Name of each energy and the class that computes it, as `module:class`.

Names are parts of metric names, hence identifiers.
"""
