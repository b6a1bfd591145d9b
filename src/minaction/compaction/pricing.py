"""What each unit costs in MACs, and which units are worth the least for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minaction.compaction.coupling import WEIGHTED, Coupling, Places
from minaction.measure.flops import count_macs


class MacBudget:
    """The MACs of a network's layers, and what is left of them as units go.

    Args:
        model: The network, in evaluation mode.
        batch: One batch, on which they are counted.

    Attributes:
        left: MACs per sample.
    """

    def __init__(self, model: nn.Module, batch: Any) -> None:
        count = count_macs(model, [batch], training=False)
        self.left = count.macs_dense
        self._layers: defaultdict[str, float] = defaultdict(float)
        for layer in count.layers:
            self._layers[layer.name] += layer.macs_dense
        modules = {n: m for n, m in model.named_modules() if isinstance(m, WEIGHTED)}
        self._outputs = {name: _channels(module)[1] for name, module in modules.items()}
        self._inputs = {name: _channels(module)[0] for name, module in modules.items()}

    def prices(self, coupling: Coupling) -> Tensor:
        """Return the MACs that go with each unit of a coupling, `[units]`, float64."""
        total = torch.zeros(coupling.units).double()
        for places, channels in self._sides(coupling):
            for name, where in places.items():
                share = torch.full((len(where.units),), self._layers[name] / channels[name])
                total.index_add_(0, where.units, share.double())
        return total

    def remove(self, coupling: Coupling, unit: int) -> None:
        """Take the MACs of a unit off what is left."""
        for places, channels in self._sides(coupling):
            for name, where in places.items():
                gone = int((where.units == unit).sum())
                macs = self._layers[name]
                self._layers[name] = macs * (channels[name] - gone) / channels[name]
                self.left -= macs - self._layers[name]
                channels[name] -= gone

    def _sides(self, coupling: Coupling) -> tuple[tuple[Mapping[str, Places], dict[str, int]], ...]:
        return (coupling.writers, self._outputs), (coupling.readers, self._inputs)


def least_for_their_macs(
    changes: Sequence[tuple[Coupling, Tensor, Tensor]], budget: MacBudget, goal: float
) -> dict[str, list[int]]:
    """Return the units to remove until no more than `goal` MACs are left, by layer.

    Those go first that change the outputs least for each MAC they cost. The one that changes them
    most stays in every layer.

    Args:
        changes: Couplings with the change of the outputs for each unit, `[units]`, and whether it
            may go, `[units]`.
        budget: The network's MACs; the units chosen are taken off.
        goal: MACs per sample.
    """
    ranked = []
    for index, (coupling, change, may_go) in enumerate(changes):
        may_go = may_go.clone()
        may_go[torch.where(may_go, change, -1.0).argmax()] = False
        price = budget.prices(coupling)
        worth = change / price
        units = (may_go & (price > 0) & worth.isfinite()).nonzero().flatten().tolist()
        ranked += [(float(worth[unit]), index, unit) for unit in units]
    chosen: dict[str, list[int]] = {}
    for _, index, unit in sorted(ranked):
        if budget.left <= goal:
            break
        coupling = changes[index][0]
        budget.remove(coupling, unit)
        chosen.setdefault(coupling.layer, []).append(unit)
    return {layer: sorted(units) for layer, units in chosen.items()}


def _channels(module: Any) -> tuple[int, int]:
    """Return how many channels a layer reads and writes."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return module.in_channels, module.out_channels
