"""The Lagrangian network: its forward pass is a mechanical system in motion."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from minaction.data.dataset import DataSpec
from minaction.models.catalog import Init
from minaction.models.init import initialise
from minaction.models.leapfrog import EnergyBound, Path, Potential, leapfrog
from minaction.models.power import unit_power
from minaction.models.ratio import narrowed
from minaction.models.sizing import Builder, fit_two, fit_width
from minaction.models.stem import has_positions, stem

STEPS = 3
STEP = 0.5  # times STEPS about a quarter of the potential's initial period: q and p mix fully


class Lagrangian(nn.Module):
    """The forward pass as a discretised trajectory with momentum, potential and constraint.

    With `f` what the senses make of a sample (strided convolutions with ReLU where it has
    positions; elsewhere the sample scaled to a mean square of 1, so that C has something to bound
    however small embeddings start):

        (q_0, p_0) = C(A f + a)                       the sample sets the start
        q' = q_k + h/2 p_k                            T = ||p||^2 / 2: momentum carries q
        p' = p_k - h grad V(q')                       V = 1/2 sum_j c_j relu(w_j . q + b_j)^2
        (q_{k+1}, p_{k+1}) = C(q' + h/2 p', p')       C: onto (||q||^2 + ||p||^2) / 2 <= e

    and `logits = B (q_S, p_S) + d`. Without C the steps are symplectic: of second order, and the
    energy T + V stays within a bound of order h^2. `path` gives T and V along the trajectory, from
    which the action follows in closed form.

    Args:
        reader: Reads a sample.
        convolutions: Applied to it in turn, each followed by a ReLU.
        features: Elements of what comes out, flattened.
        width: Dimension of q and of p.
        hidden: Terms of the potential.
        classes: Number of classes.
        constrained: Project onto the constraint set; False leaves C out.
        init: How the convolutions start, He's way unless said otherwise; all else has its own.

    Shapes: `[batch, ...]` -> logits `[batch, classes]`.
    """

    def __init__(
        self,
        reader: nn.Module,
        convolutions: list[nn.Module],
        features: int,
        width: int,
        hidden: int,
        classes: int,
        *,
        constrained: bool = True,
        init: Init = "he",
    ) -> None:
        super().__init__()
        self.reader = reader
        layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
        self.senses = nn.Sequential(*layers, nn.Flatten())
        self.convolved = len(convolutions) > 0
        self.start = nn.Linear(features, 2 * width)
        self.potential = Potential(width, hidden)
        self.bound = EnergyBound(width) if constrained else None
        self.readout = nn.Linear(2 * width, classes)
        for convolution in convolutions:
            initialise(convolution, init)
        nn.init.normal_(self.start.weight, std=1 / math.sqrt(features))
        nn.init.zeros_(self.start.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        q, p = self._started(x)
        for _ in range(STEPS):
            q, p = self._moved(q, p)
        return self.readout(torch.cat([q, p], 1))

    def path(self, x: Tensor) -> Path:
        """Return the trajectory of each sample with its kinetic and potential energies."""
        states = [self._started(x)]
        for _ in range(STEPS):
            states.append(self._moved(*states[-1]))
        positions = torch.stack([q for q, _ in states], 1)
        momenta = torch.stack([p for _, p in states], 1)
        return Path(
            positions=positions,
            momenta=momenta,
            kinetic=momenta.square().sum(2) / 2,
            potential=self.potential(positions),
            step=STEP,
        )

    def _started(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.senses(self.reader(x))
        q, p = self.start(f if self.convolved else unit_power(f)).chunk(2, 1)
        return (q, p) if self.bound is None else self.bound(q, p)

    def _moved(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        q, p = leapfrog(q, p, self.potential.force, STEP)
        return (q, p) if self.bound is None else self.bound(q, p)


def sized_lagrangian(
    spec: DataSpec, parameters: int, ratio: float | None = None, init: Init = "he"
) -> Builder:
    """Size a Lagrangian network.

    Samples with positions get convolutions of `c` and `2c` channels and states of about `2c`
    positions and momenta; others get states as the budget allows. The potential has `ratio` times
    (default: once) as many terms as there are positions; with a `ratio`, the channels too follow
    each other by it, and the positions the channels. The convolutions' own way to start is He's;
    the potential, whose terms pass a ReLU too, always starts as `Potential` says.
    """
    share = 1.0 if ratio is None else ratio

    def build(channels: tuple[int, int], width: int) -> nn.Module:
        reader, convolutions, features = stem(spec, parameters, channels)
        hidden = narrowed(width, share)
        return Lagrangian(reader, convolutions, features, width, hidden, spec.classes, init=init)

    if not has_positions(spec):
        return functools.partial(
            build, (0, 0), fit_width(lambda width: build((0, 0), width), parameters)
        )
    if ratio is None:
        return fit_two(lambda c, width: build((c, 2 * c), width), parameters, lambda c: 2 * c)

    def narrowing(c: int) -> nn.Module:
        second = narrowed(c, ratio)
        return build((c, second), narrowed(second, ratio))

    return functools.partial(narrowing, fit_width(narrowing, parameters))
