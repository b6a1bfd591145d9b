"""The interval of the area that a front of means dominates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special  # scipy.stats takes most of a second to import


def hypervolume_interval(
    area: float,
    drawn: np.ndarray,
    runs: Sequence[np.ndarray],
    *,
    slopes: np.ndarray,
    shared: bool,
    confidence: float,
) -> tuple[float, float]:
    """Return the ends of the interval of a hypervolume of means.

    centre ± t se, cut off at 0. The centre is 2 area - mean of the resampled areas: noise adds
    area, for a front takes whatever it favours, and resampling adds as much again. The standard
    error is that of the delta method: each run moves the area by its distance from its mean times
    the area's gradient. t has n - 1 degrees of freedom where seeds are shared, else those of
    Satterthwaite.

    Args:
        area: That of the means.
        drawn: Areas of bootstrap resamples, shape [resamples].
        runs: Objectives of each configuration's runs, shape [n, objectives], in the order of seeds
            where they are shared.
        slopes: Derivatives of the area by the means of each configuration, shape [configurations,
            objectives].
        shared: Whether a seed's runs of all configurations go together.
        confidence: Coverage, between 0 and 1.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 10.2 (bias);
        Davison and Hinkley (1997), Bootstrap Methods and their Application, section 2.7 (delta
        method); Satterthwaite (1946), Biometrics Bulletin 2(6).
    """
    means = np.array([one.mean(0) for one in runs])
    moves = [(one - mean) @ slope for one, mean, slope in zip(runs, means, slopes, strict=True)]
    parts = [np.sum(moves, axis=0)] if shared else moves
    variances = np.array([one.var(ddof=1) / one.size for one in parts])
    freedom = np.array([one.size - 1 for one in parts])
    variance, spread = variances.sum(), (variances**2 / freedom).sum()
    degrees = variance**2 / spread if spread else freedom.min()
    half = special.stdtrit(degrees, 0.5 + confidence / 2) * np.sqrt(variance)
    centre = 2 * area - drawn.mean()
    return max(0.0, float(centre - half)), max(0.0, float(centre + half))
