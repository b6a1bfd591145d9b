"""The energy of what ran under a tape, differentiated or only measured."""

from __future__ import annotations

import torch
from torch import Tensor

from minaction.energy.functionals import Energy, layer_term, total
from minaction.energy.recorder import Recorder, Reduce
from minaction.energy.tape import Tape
from minaction.energy.trajectory import Activation


def reduction(energy: Energy, *, differentiate: bool) -> Reduce | None:
    """Return what a tape applies to each activation for `energy`; None: it needs the trajectory."""
    reduce = layer_term(energy)
    return reduce if reduce is None or differentiate else _constant(reduce)


def energy_of(
    energy: Energy, seen: Tape | Recorder, reduce: Reduce | None, *, differentiate: bool
) -> Tensor:
    """Return the energy, a scalar tensor, of what a tape with that reduction has seen."""
    if reduce is not None:
        return total(seen.reduced)
    with torch.set_grad_enabled(differentiate and torch.is_grad_enabled()):
        return energy(seen.trajectory)


def _constant(reduce: Reduce) -> Reduce:
    def reduce_detached(activation: Activation) -> Tensor:
        with torch.no_grad():
            return reduce(activation)

    return reduce_detached
