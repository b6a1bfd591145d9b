"""The studentised range distribution for many statistics at once.

scipy.stats has it too, at 10 ms a value and 200 ms a quantile; all pairs of 24 groups take 276.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import special

SPAN = 8.5
"""Normal deviates beyond it have probabilities below 1e-17."""
KNOTS = 2049
CELLS = 12
ORDER = 12
"""Inner rule: panels, and points of the Gauss-Legendre rule on each."""
PANELS = 32
"""Panels of the outer rule."""
TAIL = 1e-15
ITERATIONS = 60
CLOSE = 1e-10
NODES = 32
"""Quantiles that are computed; more are interpolated between as many."""
BATCH = 1024


@dataclass(frozen=True, eq=False)
class StudentizedRange:
    """Range of k standard normals over an independent estimate of their standard deviation.

    The range itself is tabulated once and interpolated by cubic Hermite splines; each probability
    is then one integral over the distribution of the estimate. The absolute error is below 1e-9
    from 3 degrees of freedom on, and below 1e-6 for fewer (k up to 100).

    Attributes:
        k: Number of groups, 2 or more.

    Reference: Copenhaver and Holland (1988), Computation of the distribution of the maximum
        studentized range statistic, Journal of Statistical Computation and Simulation 30(1).
    """

    k: int
    exceeds: np.ndarray = field(init=False, repr=False)
    density: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        x = np.linspace(0, 2 * SPAN, KNOTS)[:, None]
        z, weights = rule(np.array([-SPAN]), np.array([SPAN]), CELLS)
        phi = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        ahead = np.exp(-((z + x) ** 2) / 2) / np.sqrt(2 * np.pi)
        between = special.ndtr(z + x) - special.ndtr(z)
        within = self.k * np.sum(weights * phi * between ** (self.k - 1), axis=1)
        slope = (
            self.k * (self.k - 1) * np.sum(weights * phi * ahead * between ** (self.k - 2), axis=1)
        )
        object.__setattr__(self, "exceeds", 1 - within)
        object.__setattr__(self, "density", slope)

    def range_sf(self, x: np.ndarray) -> np.ndarray:
        """Return the probability that the range of k standard normals exceeds x >= 0."""
        step = 2 * SPAN / (KNOTS - 1)
        place = np.minimum(x / step, KNOTS - 1 - 1e-9)
        i = place.astype(np.int64)
        t = place - i
        f0, f1 = self.exceeds[i], self.exceeds[i + 1]
        d0, d1 = -step * self.density[i], -step * self.density[i + 1]
        c = 3 * (f1 - f0) - 2 * d0 - d1
        d = d0 + d1 - 2 * (f1 - f0)
        return np.clip(f0 + t * (d0 + t * (c + t * d)), 0.0, 1.0)

    def sf(self, q: np.ndarray, df: np.ndarray) -> np.ndarray:
        """Return the probability of exceeding q, for df degrees of freedom, each `[m]`, df >= 1."""
        q, df = np.broadcast_arrays(np.asarray(q, np.float64), np.asarray(df, np.float64))
        parts = range(0, max(q.size, 1), BATCH)
        return np.concatenate([self.batch_sf(q[i : i + BATCH], df[i : i + BATCH]) for i in parts])

    def batch_sf(self, q: np.ndarray, df: np.ndarray) -> np.ndarray:
        """Return what `sf` does, with all points of integration in memory at a time."""
        low = np.log(2 * special.gammaincinv(df / 2, TAIL) / df) / 2
        high = np.log(2 * special.gammainccinv(df / 2, TAIL) / df) / 2
        u, weights = rule(low, high, PANELS)
        nu = df[:, None]
        log_density = (
            np.log(2)
            + nu / 2 * np.log(nu / 2)
            - special.gammaln(nu / 2)
            + nu * u
            - nu / 2 * np.exp(2 * u)
        )
        tail = self.range_sf(q[:, None] * np.exp(u))
        return np.clip(np.sum(weights * np.exp(log_density) * tail, axis=1), 0.0, 1.0)

    def isf(self, probability: float, df: np.ndarray) -> np.ndarray:
        """Return the values exceeded with a probability between 0 and 1, for df `[m]`, df >= 1.

        Of many they are interpolated: log q is a smooth function of 1 / df.
        """
        df = np.asarray(df, np.float64)
        if df.size <= NODES or df.min() == df.max():
            return self.solve(probability, df)
        curve = np.polynomial.Chebyshev.interpolate(
            lambda inverse: np.log(self.solve(probability, 1 / inverse)),
            NODES - 1,
            domain=[1 / df.max(), 1 / df.min()],
        )
        return np.exp(curve(1 / df))

    def solve(self, probability: float, df: np.ndarray) -> np.ndarray:
        """Return the values exceeded with a probability by regula falsi, Illinois variant."""
        low, high = np.zeros(df.shape), np.full(df.shape, 2.0)
        while (short := self.sf(high, df) > probability).any():
            low, high = np.where(short, high, low), np.where(short, 2 * high, high)
        at_low, at_high = (self.sf(end, df) - probability for end in (low, high))
        for _ in range(ITERATIONS):
            middle = low + (high - low) * at_low / (at_low - at_high)
            at_middle = self.sf(middle, df) - probability
            crossed = at_middle * at_high < 0
            low = np.where(crossed, high, low)
            at_low = np.where(crossed, at_high, at_low / 2)
            high, at_high = middle, at_middle
            if np.abs(at_high).max(initial=0) < CLOSE * probability:
                break
        return high


def rule(low: np.ndarray, high: np.ndarray, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of the composite Gauss-Legendre rule on intervals `[m]`."""
    x, w = np.polynomial.legendre.leggauss(ORDER)
    x = ((np.arange(panels)[:, None] + (x + 1) / 2) / panels).ravel()
    w = np.tile(w / 2 / panels, panels)
    width = (high - low)[:, None]
    return low[:, None] + width * x, width * w
