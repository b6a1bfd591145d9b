"""Proximal steps that take hidden units out of a network while it trains, the priciest first.

A smooth penalty makes units small, never zero: an optimiser's noise keeps them alive. A group
soft-threshold after every optimiser step makes them exactly zero, so that compaction can remove
them without changing the network's function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minaction.compaction.batches import samples_in
from minaction.compaction.copying import copy_of
from minaction.compaction.coupling import WEIGHTED, Coupling, Places, find_couplings
from minaction.energy.tape import run_model
from minaction.errors import InputError


class ProximalUnits:
    """Group soft-thresholding of a network's hidden units, priced by the MACs they cause.

    The weights that make a unit (its row, its bias, the slope and shift of a batch norm behind it)
    are one group, the weights that read it another. A step of strength `s` is, for each group
    `w` of a unit `u`,

        w <- w * max(0, 1 - s * p_u * r / ||w||_2),

    the proximal step of the penalty `p_u * r * ||w||_2`, with `r` the root mean square norm of the
    same groups of its layer when this object was made. The pressure on a unit is, up to a factor,

        p_u = c_u * max(sqrt(d) / r) over its two groups,

    `c_u` the MACs it causes (to compute it and to read it), `d` the number of weights in a group:
    an optimiser such as Adam moves every weight at one pace, so a group of four times as many
    resists twice as hard. Both groups shrink at one pace, because the larger would make up for the
    smaller. The factor makes the highest pressure 1: a unit that nothing needs is gone after about
    `1 / (s * p_u)` steps, whatever the width of the network. What is dead stays dead: an
    optimiser's momentum would bring it back, so every later step, also one of strength 0, sets it
    to 0 again.

    Units that must go together (residual sums, concatenation) share their groups, as in
    `minaction.compact`; layers that compaction does not cover are left alone.

    Args:
        model: The network; `step` changes its parameters in place.
        x: A small batch of its inputs, for a dry run.

    Raises:
        CompactionError: The model cannot be traced.

    Example:
        >>> proximal = ProximalUnits(model, x)
        >>> optimizer.step()
        >>> proximal.step(lr * lam)

    Reference:
        Yuan and Lin 2006, Model selection and estimation in regression with grouped variables.
    """

    def __init__(self, model: nn.Module, x: Any) -> None:
        copied = copy_of(model).eval()
        couplings, _ = find_couplings(copied, x)
        macs = _macs_by_layer(copied, x)
        prices = [_prices(coupling, macs) for coupling in couplings]
        modules = dict(model.named_modules())
        self._layers = [
            _Layer.of(coupling, modules, price)
            for coupling, price in zip(couplings, prices, strict=True)
        ]
        highest = max((float(layer.pressure.max()) for layer in self._layers), default=1.0)
        for layer in self._layers:
            layer.pressure.div_(highest or 1.0)

    @property
    def alive(self) -> int:
        """Number of units that are not dead."""
        return sum(int(layer.alive.sum()) for layer in self._layers)

    @torch.no_grad()
    def step(self, strength: float) -> None:
        """Shrink all groups once.

        Args:
            strength: Learning rate times lambda, >= 0.

        Raises:
            InputError: It is negative or not finite.
        """
        if not 0 <= strength < math.inf:
            raise InputError(f"strength is {strength}; expected a finite number >= 0")
        # all from the same weights: most make one unit and read another
        factors = [layer.factors(strength) for layer in self._layers]
        for layer, (making, reading) in zip(self._layers, factors, strict=True):
            layer.making.multiply(making)
            layer.reading.multiply(reading)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """A parameter that holds weights of units along one axis."""

    parameter: nn.Parameter
    axis: int
    places: Places

    def squares(self, units: int) -> Tensor:
        """Return the sum of squares of each unit's weights, `[units]`."""
        others = [axis for axis in range(self.parameter.ndim) if axis != self.axis]
        squares = self.parameter.detach().float().square()
        squares = squares.sum(others) if others else squares
        sums = torch.zeros(units, device=squares.device)
        return sums.index_add_(0, self.places.units, squares[self.places.channels])

    def sizes(self, units: int) -> Tensor:
        """Return how many weights each unit has here, `[units]`."""
        size = self.parameter.numel() / self.parameter.shape[self.axis]
        return size * self.places.units.bincount(minlength=units)

    def multiply(self, factors: Tensor) -> None:
        """Multiply each unit's weights by its factor."""
        every = torch.ones(self.parameter.shape[self.axis], device=factors.device)
        every[self.places.channels] = factors[self.places.units]
        shape = [1] * self.parameter.ndim
        shape[self.axis] = -1
        self.parameter.mul_(every.view(shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """The weights that make, or that read, the units of one coupling.

    `scale` is the root mean square norm they had at first.
    """

    parts: list[_Part]
    units: int
    scale: float

    @classmethod
    def of(cls, parts: list[_Part], units: int) -> _Group:
        """Take the scale from the weights as they are now."""
        group = cls(parts=parts, units=units, scale=1.0)
        return replace(group, scale=float(group.norms().square().mean().sqrt()))

    def norms(self) -> Tensor:
        """Return the norm of each unit's weights, `[units]`."""
        return torch.stack([part.squares(self.units) for part in self.parts]).sum(0).sqrt()

    def resistance(self) -> Tensor:
        """Return `sqrt(d) / r`, `[units]`; 0 where there is nothing to shrink."""
        sizes = torch.stack([part.sizes(self.units) for part in self.parts]).sum(0)
        return sizes.sqrt() / (self.scale or math.inf)

    def factors(self, strengths: Tensor) -> Tensor:
        """Return what the soft-threshold multiplies each unit's weights by, `[units]`."""
        ratio = strengths * self.scale / self.norms().clamp_min(1e-12)
        return (1 - ratio).clamp_min(0)

    def multiply(self, factors: Tensor) -> None:
        """Multiply each unit's weights by its factor."""
        for part in self.parts:
            part.multiply(factors)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """The groups of one coupling, the pressure on its units, and which of them are not dead."""

    making: _Group
    reading: _Group
    pressure: Tensor
    alive: Tensor

    @classmethod
    def of(cls, coupling: Coupling, modules: Mapping[str, nn.Module], prices: Tensor) -> _Layer:
        writers = {**coupling.writers, **coupling.norms}
        making = _Group.of(list(_parts(writers, modules, ("weight", "bias"), 0)), coupling.units)
        reading = _Group.of(list(_parts(coupling.readers, modules, ("weight",), 1)), coupling.units)
        return cls(
            making=making,
            reading=reading,
            pressure=prices * torch.maximum(making.resistance(), reading.resistance()),
            alive=torch.ones(coupling.units, dtype=torch.bool),
        )

    def factors(self, strength: float) -> tuple[Tensor, Tensor]:
        """Return the factors of both groups, and note which units died."""
        strengths = strength * self.pressure
        making, reading = self.making.factors(strengths), self.reading.factors(strengths)
        self.alive.logical_and_((making > 0) & (reading > 0))
        return making * self.alive, reading * self.alive


def _parts(
    layers: Mapping[str, Places],
    modules: Mapping[str, nn.Module],
    names: tuple[str, ...],
    axis: int,
) -> Iterator[_Part]:
    for layer, places in layers.items():
        module = modules[layer]
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        for name in names:
            parameter = getattr(module, name)
            if parameter is not None:
                turned = transposed and parameter.ndim > 1
                yield _Part(parameter=parameter, axis=1 - axis if turned else axis, places=places)


def _prices(coupling: Coupling, macs: Mapping[str, tuple[float, float]]) -> Tensor:
    """Return the MACs per sample that each unit of a coupling causes, `[units]`."""
    prices = torch.zeros(coupling.units)
    for side, layers in enumerate((coupling.writers, coupling.readers)):
        for layer, places in layers.items():
            price = macs.get(layer, (0.0, 0.0))[side]
            prices.index_add_(0, places.units, torch.full((len(places.units),), price))
    return prices


def _macs_by_layer(model: nn.Module, x: Any) -> dict[str, tuple[float, float]]:
    """Return the MACs per sample of each layer with weights: per channel written, and read."""
    found: dict[str, tuple[float, float]] = {}

    def listen(name: str, module: Any) -> None:
        linear = isinstance(module, nn.Linear)
        written = module.out_features if linear else module.out_channels
        read = module.in_features if linear else module.in_channels

        def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            spread = isinstance(module, nn.modules.conv._ConvTransposeNd)
            places = given[0] if spread else output
            macs = places.numel() * module.weight[0].numel() / samples_in(x)
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + macs / written, before[1] + macs / read)

        module.register_forward_hook(hook)

    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            listen(name, module)
    with torch.no_grad():
        run_model(model, x)
    return found
