"""The eight energies: explicit, differentiable functionals of a trajectory.

Notation: `a_l^b` is the flattened activation of observed layer `l` for sample `b`, `L` the number
of observed layers, `B` the batch size. Every energy is a mean over the batch, is accumulated in
float32 (float64 activations in float64), returns a scalar tensor and lets gradients flow.

That learning under an energy resembles mechanics (action), statistical physics (free energy) and
variational inference is a design hypothesis, not a derivation.

Reference: Frasch 2026, arXiv:2604.24805.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, final

import torch
from torch import Tensor, nn

from minaction.energy.reductions import (
    accumulable,
    saturated_count,
    sum_of_sizes,
    sum_of_squares,
    sum_of_squares_per_unit,
)
from minaction.energy.sketch import sketch
from minaction.energy.tape import Layers
from minaction.energy.trajectory import Activation, Trajectory
from minaction.energy.wiring import trace_wiring
from minaction.errors import InputError


class Energy(ABC):
    """A scalar functional of a trajectory, with its breakdown by layer.

    Energies add and scale: `ActivationEnergy() + 0.1 * KineticEnergy()`.
    """

    @abstractmethod
    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return each layer's share; the shares sum to the energy."""

    def __call__(self, trajectory: Trajectory) -> Tensor:
        """Return the energy of `trajectory`, a scalar tensor."""
        return total(self.per_layer(trajectory))

    def __add__(self, other: Energy) -> Energy:
        if not isinstance(other, Energy):
            return NotImplemented
        return WeightedSum(terms=(*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> Energy:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        if not math.isfinite(factor):
            raise InputError(f"an energy can only be scaled by a finite number, got {factor}")
        return WeightedSum(terms=tuple((factor * w, energy) for w, energy in _terms(self)))

    __rmul__ = __mul__


class LayerEnergy(Energy):
    """An energy that is a sum of independent per-layer terms.

    It can be reduced layer by layer while the network runs, so that no activation is kept for it
    that autograd does not keep anyway.
    """

    @abstractmethod
    def term(self, activation: Activation) -> Tensor:
        """Return the term of one layer, a scalar tensor."""

    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return each layer's term."""
        return {layer.name: self.term(layer) for layer in trajectory.layers}


@final
@dataclass(frozen=True, kw_only=True)
class WeightedSum(Energy):
    """`sum_k w_k E_k`: what `+` and `*` build."""

    terms: tuple[tuple[float, Energy], ...]

    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return the weighted shares, added up by name."""
        return _weighted((weight, part.per_layer(trajectory)) for weight, part in self.terms)


@final
@dataclass(frozen=True)
class ActivationEnergy(LayerEnergy):
    """Internal activation energy: `E = mean_b sum_l ||a_l^b||_2^2`, summed over units.

    Invariances: 0 at 0; scales with `c^2` under `a -> c a`; additive over equal batch splits (as a
    mean); invariant under unit permutations.
    """

    def term(self, activation: Activation) -> Tensor:
        """Return `mean_b ||a_l^b||_2^2`."""
        return sum_of_squares(activation.value, 1 / activation.batch_size)


@final
@dataclass(frozen=True)
class L1Energy(LayerEnergy):
    """Sparse-coding energy: `E = mean_b sum_l ||a_l^b||_1`; for spiking layers the spike count.

    Invariances: 0 at 0; scales with `|c|`; additive over batch splits; permutation-invariant.
    """

    def term(self, activation: Activation) -> Tensor:
        """Return `mean_b ||a_l^b||_1`."""
        return sum_of_sizes(activation.value) / activation.batch_size


@final
@dataclass(frozen=True, kw_only=True)
class UnitEnergy(LayerEnergy):
    """Metabolic cost of keeping units alive: `E = sum_l sum_u c_u sqrt(mean_{b,pos} a_u^2 + eps)`.

    A group penalty per unit or channel: it drives whole units silent. At zero activations it is
    `sum_u c_u sqrt(eps)`. For `eps = 0` it scales with `|c|`. Not additive over batch splits (the
    root is taken of the batch mean). Permutation-invariant within a layer.

    Attributes:
        cost: `c_u` of the units of each layer by name, dimensionless; None means 1. Under
            `torch.compile`, where layers are named by order, costs are matched by order.
        eps: Keeps the gradient finite at zero, >= 0.

    Raises:
        InputError: A cost or `eps` is negative or not finite, or a layer has no cost.
    """

    cost: Mapping[str, float] | None = None
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_numbers("UnitEnergy: cost", self.cost or {})
        _check_numbers("UnitEnergy:", {"eps": self.eps})

    @classmethod
    def of(
        cls,
        model: nn.Module,
        x: Any,
        *,
        layers: Layers | None = None,
        eps: float = 1e-8,
        relative: bool = False,
    ) -> Self:
        """Take `c_u` as the MACs a unit causes (to compute it and to use it), by a dry run.

        Args:
            model: The model; not changed.
            x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
            layers: What is observed, as for `Tape`.
            eps: See the class.
            relative: Divide by those of the priciest unit: one lambda then suits networks of any
                size.
        """
        wiring = trace_wiring(model, x, layers)
        cost = {name: w.macs_in_per_unit + w.macs_out_per_unit for name, w in wiring}
        priciest = max(cost.values(), default=0.0) if relative else 1.0
        return cls(cost={name: c / (priciest or 1.0) for name, c in cost.items()}, eps=eps)

    def term(self, activation: Activation) -> Tensor:
        """Return `c_l sum_u sqrt(mean_{b,pos} a_u^2 + eps)`."""
        elements = activation.value.numel() // max(activation.units, 1)
        sums = sum_of_squares_per_unit(activation.value, activation.unit_axis)
        root = (sums / elements + self.eps).sqrt().sum()
        return root if self.cost is None else _matched(self.cost, activation) * root


@final
@dataclass(frozen=True, kw_only=True)
class SynapticEnergy(LayerEnergy):
    """Surrogate of the effective MACs: `E ~ mean_b sum_l sum_u fanout_l 1[a_u != 0]`.

    The indicator is replaced by `|a| / (|a| + width)`. `strict_count` gives the true count.
    0 at 0; bounded by the dense MACs; additive over batch splits; permutation-invariant.

    Attributes:
        fan_out: MACs (for spikes: ACs) one non-zero element of a layer causes, by layer name;
            matched by order under `torch.compile`, as for `UnitEnergy`.
        width: Activation size at which an element counts half, > 0.

    Raises:
        InputError: A fan-out is negative or not finite, `width` is not positive, or a layer has
            no fan-out.
    """

    fan_out: Mapping[str, float]
    width: float = 0.1

    def __post_init__(self) -> None:
        _check_numbers("SynapticEnergy: fan_out", self.fan_out)
        _check_numbers("SynapticEnergy:", {"width": self.width}, positive=True)

    @classmethod
    def of(
        cls, model: nn.Module, x: Any, *, layers: Layers | None = None, width: float = 0.1
    ) -> Self:
        """Take the fan-out of each layer from a dry run of `model` on `x`.

        Args:
            model: The model; not changed.
            x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
            layers: What is observed, as for `Tape`.
            width: See the class.
        """
        wiring = trace_wiring(model, x, layers)
        return cls(fan_out={name: w.macs_out_per_element for name, w in wiring}, width=width)

    def term(self, activation: Activation) -> Tensor:
        """Return `mean_b fanout_l sum_u |a_u| / (|a_u| + width)`."""
        alive = saturated_count(activation.value, self.width)
        return _matched(self.fan_out, activation) * alive / activation.batch_size

    def strict_count(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return `mean_b fanout_l #{u : a_u != 0}` by layer: MACs per sample, no gradient."""
        return {
            layer.name: _matched(self.fan_out, layer)
            * layer.value.count_nonzero()
            / layer.batch_size
            for layer in trajectory.layers
        }


@final
@dataclass(frozen=True, kw_only=True)
class FreeEnergy(LayerEnergy):
    """Variational free energy: `E = mean_b sum_l sum_u KL( N(a_u, s^2) || N(0, 1) )`.

    `KL = (a^2 + s^2 - 1 - ln s^2) / 2`: with `s` fixed, half the activation energy plus a constant
    per unit.

    Attributes:
        s: Standard deviation of the code, > 0, in units of the activation.

    Raises:
        InputError: `s` is not positive and finite.
    """

    s: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers("FreeEnergy:", {"s": self.s}, positive=True)

    def term(self, activation: Activation) -> Tensor:
        """Return `mean_b sum_u KL`."""
        per_unit = (self.s**2 - 1 - math.log(self.s**2)) / 2
        elements = math.prod(activation.value.shape[1:])
        return sum_of_squares(activation.value, 0.5 / activation.batch_size) + per_unit * elements


@final
@dataclass(frozen=True, kw_only=True)
class KineticEnergy(Energy):
    """Change of activations: `T = mean_b sum_l (dt/2) ||(a_{l+1} - a_l) / dt||^2`, dt = 1/L.

    Layers of equal size are compared exactly; of unequal size, both pass through a fixed, seeded
    orthonormal sketch to the smaller size. 0 where activations do not change (or with one layer);
    scales with `c^2`; additive over batch splits; invariant under a common permutation of equal
    layers' units.

    Attributes:
        relative: Use `sum_l ||a_{l+1} - a_l||^2 / ||a_l||^2` instead, a mean over samples, which
            no common rescaling can lower. `||a_l||^2` counts as `1e-12` where it is less.
        seed: Seed of the sketches.
    """

    relative: bool = False
    seed: int = 0

    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return `T_l` under the name of the layer arrived at."""
        layers = trajectory.layers
        dt = 1 / max(len(layers), 1)
        return {
            arrived.name: self._step(left, arrived, dt)
            for left, arrived in itertools.pairwise(layers)
        }

    def _step(self, left: Activation, arrived: Activation, dt: float) -> Tensor:
        before = accumulable(left.value).flatten(1)
        after = accumulable(arrived.value).flatten(1)
        if before.shape != after.shape:
            size = min(before.shape[1], after.shape[1])
            before, after = sketch(before, size, self.seed), sketch(after, size, self.seed + 1)
        change = (after - before).square().sum(1)
        if self.relative:
            norm = before.square().sum(1)
            return (change / norm.clamp_min(1e-12)).mean()
        return change.mean() / (2 * dt)


@final
@dataclass(frozen=True)
class PotentialEnergy(Energy):
    """Weight effects: `V = 1/2 sum_l ||W_l||_F^2` over the weights the forward pass used.

    Independent of the batch; 0 at zero weights; scales with `c^2` under `W -> c W`. Weights are
    those of linear, bilinear, convolutional, recurrent and attention layers; biases, normalisation
    scales and embedding tables are none.
    """

    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return `1/2 ||W||_F^2` by weight name."""
        return {name: sum_of_squares(w, 0.5) for name, w in trajectory.weights.items()}


@final
@dataclass(frozen=True, kw_only=True)
class ActionEnergy(Energy):
    """Integral over layer time: `S = sum_l (T_l + V_l) dt`, dt = 1/L.

    Attributes:
        form: `"sum"` integrates T + V, `"lagrangian"` T - V.
        kinetic: The kinetic energy inside.
    """

    form: Literal["sum", "lagrangian"] = "sum"
    kinetic: KineticEnergy = field(default_factory=KineticEnergy)

    def __post_init__(self) -> None:
        if self.form not in ("sum", "lagrangian"):
            raise InputError(f"ActionEnergy: form must be 'sum' or 'lagrangian', got {self.form!r}")

    def per_layer(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return `T_l dt` by layer and `±V_l dt` by weight."""
        return self.integral(len(trajectory)).per_layer(trajectory)

    def integral(self, layers: int) -> WeightedSum:
        """Return the sum that the integral over so many layers is."""
        dt = 1 / max(layers, 1)
        sign = 1 if self.form == "sum" else -1
        return WeightedSum(terms=((dt, self.kinetic), (sign * dt, PotentialEnergy())))


def per_layer_of_each(
    energies: Mapping[str, Energy], trajectory: Trajectory
) -> dict[str, dict[str, Tensor]]:
    """Return the shares of several energies by name; what they have in common is computed once."""
    known: list[tuple[Energy, dict[str, Tensor]]] = []

    def shares_of(energy: Energy) -> dict[str, Tensor]:
        if isinstance(energy, ActionEnergy):
            energy = energy.integral(len(trajectory))
        if isinstance(energy, WeightedSum):
            return _weighted((weight, shares_of(part)) for weight, part in energy.terms)
        for other, shares in known:
            if other == energy:
                return shares
        known.append((energy, energy.per_layer(trajectory)))
        return known[-1][1]

    return {name: shares_of(energy) for name, energy in energies.items()}


def reads_activations(energy: Energy) -> bool:
    """Return whether an energy depends on activations, and not on weights alone."""
    return any(not isinstance(part, PotentialEnergy) for _, part in _terms(energy))


def reads_names(energy: Energy) -> bool:
    """Return whether an energy knows costs by the names of layers."""
    parts = (part for _, part in _terms(energy))
    return any(
        isinstance(part, SynapticEnergy) or (isinstance(part, UnitEnergy) and part.cost is not None)
        for part in parts
    )


def layer_term(energy: Energy) -> Callable[[Activation], Tensor] | None:
    """Return the per-layer term of an energy that is a sum of such terms, else None."""
    if isinstance(energy, LayerEnergy):
        return energy.term
    terms = _terms(energy)
    if not all(isinstance(part, LayerEnergy) for _, part in terms):
        return None

    def weighted(activation: Activation) -> Tensor:
        parts = [w * part.term(activation) for w, part in terms if isinstance(part, LayerEnergy)]
        return _sum(parts)

    return weighted


def total(shares: Mapping[str, Tensor]) -> Tensor:
    """Add up the shares of an energy."""
    return _sum(list(shares.values())) if shares else torch.zeros(())


def _weighted(terms: Iterable[tuple[float, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    shares: dict[str, Tensor] = {}
    for weight, of_term in terms:
        for name, share in of_term.items():
            shares[name] = shares[name] + weight * share if name in shares else weight * share
    return shares


def _sum(parts: list[Tensor]) -> Tensor:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def _terms(energy: Energy) -> tuple[tuple[float, Energy], ...]:
    return energy.terms if isinstance(energy, WeightedSum) else ((1.0, energy),)


def _check_numbers(what: str, numbers: Mapping[str, float], *, positive: bool = False) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            wanted = "positive and finite" if positive else "finite and >= 0"
            raise InputError(f"{what} {name!r} must be {wanted}, got {number}")


def _matched(by_layer: Mapping[str, float], activation: Activation) -> float:
    if activation.named and activation.name in by_layer:
        return by_layer[activation.name]
    if not activation.named and activation.index < len(by_layer):
        return list(by_layer.values())[activation.index]
    raise InputError(
        f"no cost is known for layer {activation.name!r}; build the energy with .of(model, x) "
        "on the same model and layers"
    )
