"""Which units do nothing, or almost nothing, to the layers that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from minaction.compaction.coupling import Coupling, Places
from minaction.compaction.readings import Reading

Kind = Literal["silent", "constant", "unread", "near-silent", "least"]

PADDED = "it is read through padding with zeros, so it is not constant at the borders"
TRANSPOSED = "it is read by a transposed convolution, which spreads it unevenly"
LAST = "its layer has no other unit left"


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the readings say about the units of one coupling; each tensor is `[units]`.

    Attributes:
        read: Whether any layer reads the unit; one that none reads goes with another unit.
        silent: It was 0 wherever it is read.
        exact: Removing it changes nothing, because it is constant wherever a weight reads it.
        unread: All weights that read it are 0.
        one_value: It was the same wherever it is read, padding aside.
        folds: All layers that read it can take a constant into their bias, borders aside.
        effect: What its removal takes from a layer that reads it, relative to the largest such
            effect among the units: root mean square of the activation minus the constant that
            replaces it, times the norm of the weights that read it.
        mean: Its mean where it is read.
    """

    read: Tensor
    silent: Tensor
    exact: Tensor
    unread: Tensor
    one_value: Tensor
    folds: Tensor
    effect: Tensor
    mean: Tensor

    def kind(self, unit: int, otherwise: Kind) -> Kind:
        """Return in which way a unit can be removed exactly, or `otherwise` if in none."""
        if not self.exact[unit]:
            return otherwise
        return "silent" if self.silent[unit] else "unread" if self.unread[unit] else "constant"

    def chosen(self, tolerance: float) -> list[int]:
        """Return the units to remove: those without effect, and those with one below `tolerance`.

        The one with the largest effect stays if it is the last: no layer can be empty.
        """
        wanted = self.read & (self.exact | (self.effect < tolerance))
        if bool((wanted == self.read).all()):
            effect = torch.where(self.read, self.effect + self.mean.abs() * 1e-30, -1.0)
            wanted[effect.argmax()] = False
        return wanted.nonzero().flatten().tolist()

    def stuck(self, tolerance: float) -> dict[int, str]:
        """Return the constant units that are not among `chosen`, and why."""
        chosen = set(self.chosen(tolerance))
        constant = (self.read & (self.exact | self.one_value)).nonzero().flatten().tolist()
        return {unit: self._why(unit) for unit in constant if unit not in chosen}

    def _why(self, unit: int) -> str:
        if self.exact[unit]:
            return LAST
        return PADDED if self.folds[unit] else TRANSPOSED


def judge(
    coupling: Coupling, modules: Mapping[str, nn.Module], readings: Mapping[str, Reading]
) -> Judgement:
    """Judge the units of a coupling by what the layers that read them read."""
    units = coupling.units
    read = torch.zeros(units, dtype=torch.bool)
    silent, exact, unread, one_value, folds = (torch.ones_like(read) for _ in range(5))
    effect, total = torch.zeros(units).double(), torch.zeros(units).double()
    places = torch.zeros(units).double()
    for name, where in coupling.readers.items():
        reading, norms = readings[name], column_norms(modules[name])
        read[where.units] = True
        silent &= _everywhere(reading.is_zero, where, units)
        exact &= _everywhere(reading.is_constant | (norms == 0), where, units)
        unread &= _everywhere(norms == 0, where, units)
        one_value &= _everywhere(reading.is_one_value, where, units)
        folds[where.units] &= reading.folds
        squares = (reading.deviation * norms)[where.channels].square()
        here = torch.zeros(units).double().index_add_(0, where.units, squares).sqrt()
        effect = torch.maximum(effect, here / here.max().clamp_min(1e-300))
        total.index_add_(0, where.units, reading.mean[where.channels])
        places.index_add_(0, where.units, torch.ones(len(where.units)).double())
    return Judgement(
        read=read,
        silent=silent,
        exact=exact,
        unread=unread,
        one_value=one_value,
        folds=folds,
        effect=effect,
        mean=total / places.clamp_min(1),
    )


def column_norms(module: nn.Module) -> Tensor:
    """Return the norm of the weights that read each input channel, `[channels]`, float64."""
    weight = module.weight.detach().double().cpu()  # pyright: ignore[reportCallIssue]
    axis = 0 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 1
    return weight.movedim(axis, 0).flatten(1).norm(dim=1)


def _everywhere(condition: Tensor, where: Places, units: int) -> Tensor:
    """Return for each unit whether a condition on channels holds at all of its places."""
    broken = torch.zeros(units, dtype=torch.bool)
    broken[where.units[~condition[where.channels]]] = True
    return ~broken
