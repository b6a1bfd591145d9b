"""Hamiltonian dynamics with a learned scalar potential: force, integrator, constraint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.errors import ModelError


class Potential(nn.Module):
    """A learned scalar potential and its negative gradient, both in closed form.

    `V(q) = 1/2 sum_j c_j relu(w_j . q + b_j)^2`, hence `-grad V(q) = -W' (c * relu(W q + b))`.
    It starts with `c = 1`: convex, bounded below, with frequencies of about 1.

    Args:
        width: Dimension of `q`.
        hidden: Number of terms.

    Shapes: `[batch, width]` -> V `[batch]`, force `[batch, width]`.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden, width) / math.sqrt(max(hidden, width) / 2))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.stiffness = nn.Parameter(torch.ones(hidden))
        self.relu = nn.ReLU()

    def forward(self, q: Tensor) -> Tensor:
        """Return V."""
        return self._terms(q).square() @ self.stiffness / 2

    def force(self, q: Tensor) -> Tensor:
        """Return the force, `-grad V`."""
        return -F.linear(self.stiffness * self._terms(q), self.weight.t())

    def _terms(self, q: Tensor) -> Tensor:
        return self.relu(F.linear(q, self.weight, self.bias))


class EnergyBound(nn.Module):
    """Projection of a state onto the learned set `(||q||^2 + ||p||^2) / 2 <= e`.

    The nearest point of the set: states inside stay, others move straight towards 0.

    Args:
        width: Dimension of `q` and of `p`.
        start: Initial bound per dimension, `e / width`.

    Shapes: two tensors `[batch, width]` -> the same.
    """

    def __init__(self, width: int, start: float = 0.25) -> None:
        super().__init__()
        self.log_bound = nn.Parameter(torch.tensor(math.log(start * width)))

    def forward(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projected state."""
        # the logarithm keeps gradients finite where the state, and so its norm, is 0
        energy = ((q.square() + p.square()).sum(1, keepdim=True) / 2).clamp_min(1e-30)
        scale = ((self.log_bound - energy.log()) / 2).clamp_max(0).exp()
        return q * scale, p * scale


def leapfrog(
    q: Tensor, p: Tensor, force: Callable[[Tensor], Tensor], step: float
) -> tuple[Tensor, Tensor]:
    """Return the state after one leapfrog step: half a drift, a kick, half a drift.

    `q' = q + h/2 p`, `p' = p + h F(q')`, `q'' = q' + h/2 p'`: symplectic, reversible, of second
    order, and one force per step.

    Args:
        q: Positions `[batch, width]`.
        p: Momenta, the same shape; masses are 1.
        force: Negative gradient of the potential.
        step: h, in units of time.

    Reference: Hairer, Lubich and Wanner 2003, doi:10.1017/S0962492902000144.
    """
    q = q + step / 2 * p
    p = p + step * force(q)
    return q + step / 2 * p, p


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """A discretised trajectory and its energies.

    Attributes:
        positions: q_0 … q_S, `[batch, S + 1, width]`.
        momenta: p_0 … p_S, the same shape.
        kinetic: `||p||^2 / 2`, `[batch, S + 1]`.
        potential: V(q), `[batch, S + 1]`.
        step: Time between two points.
    """

    positions: Tensor
    momenta: Tensor
    kinetic: Tensor
    potential: Tensor
    step: float

    def action(self, form: Literal["sum", "lagrangian"] = "sum") -> Tensor:
        """Return `mean_b integral (T + V) dt`, or T - V as `"lagrangian"`, by the trapezoid rule.

        Raises:
            ModelError: `form` is neither.
        """
        if form not in ("sum", "lagrangian"):
            raise ModelError(f"action: form must be 'sum' or 'lagrangian', got {form!r}")
        sign = 1 if form == "sum" else -1
        integrand = self.kinetic + sign * self.potential
        return torch.trapezoid(integrand, dx=self.step, dim=1).mean()
