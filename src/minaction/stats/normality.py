"""Tests of normality; those of scipy.stats cost half a second of import."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import polynomial
from scipy import special

SHAPIRO_LIMIT = 5000
"""Most values for which the p value of Shapiro and Wilk's test is known."""

LAST = (0.0, 0.221157, -0.147981, -2.07119, 4.434685, -2.706056)
LAST_BUT_ONE = (0.0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)
"""What Royston's two outermost coefficients add to the normal scores', in powers of 1/sqrt(n)."""
FEW = {"gamma": (-2.273, 0.459), "mean": (0.544, -0.39978, 0.025054, -6.714e-4)}
FEW_SCALE = (1.3822, -0.77857, 0.062767, -0.0020322)
MANY_MEAN, MANY_SCALE = (-1.5861, -0.31082, -0.083751, 0.0038915), (-0.4803, -0.082676, 0.0030302)
"""Moments of a transform of 1 - W, in powers of n up to 11 values and of log n above."""
FEW_VALUES = 11


def shapiro_wilk(values: np.ndarray) -> tuple[float, float]:
    """Return Shapiro and Wilk's W and its p value: small where values are not normal.

    W = (sum of a_i x_(i))^2 / sum of (x_i - mean)^2, with Royston's coefficients a.

    Args:
        values: Shape [n], 3 to 5,000, not all equal.

    Reference: Shapiro and Wilk (1965), Biometrika 52; Royston (1995), Remark AS R94, Applied
        Statistics 44(4).
    """
    x = np.sort(values)
    deviations = x - x.mean()
    weights = coefficients(x.size)
    w = min(float((weights @ deviations) ** 2 / (deviations @ deviations)), 1.0)
    return w, p_of(w, x.size)


def coefficients(n: int) -> np.ndarray:
    """Return the coefficients of the ordered values, shape [n]."""
    if n == 3:
        return np.array([-1.0, 0.0, 1.0]) / math.sqrt(2)
    scores = special.ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25))
    total, u = float(scores @ scores), 1 / math.sqrt(n)
    outer = [float(scores[-1]) / math.sqrt(total) + evaluate(LAST, u)]
    if n > 5:
        outer.append(float(scores[-2]) / math.sqrt(total) + evaluate(LAST_BUT_ONE, u))
    k = len(outer)
    replaced = 2 * sum(float(score) ** 2 for score in scores[-k:])
    inner = math.sqrt((total - replaced) / (1 - 2 * sum(a * a for a in outer)))
    weights = scores / inner
    weights[-k:] = outer[::-1]
    weights[:k] = -np.array(outer)
    return weights


def p_of(w: float, n: int) -> float:
    """Return the p value of W."""
    if n == 3:
        return max(0.0, 6 / math.pi * (math.asin(math.sqrt(w)) - math.asin(math.sqrt(0.75))))
    if w == 1:
        return 1.0
    y = math.log1p(-w)
    if n <= FEW_VALUES:
        gamma = evaluate(FEW["gamma"], n)
        if y >= gamma:
            return 0.0
        y, mean = -math.log(gamma - y), evaluate(FEW["mean"], n)
        scale = math.exp(evaluate(FEW_SCALE, n))
    else:
        mean, scale = evaluate(MANY_MEAN, math.log(n)), math.exp(evaluate(MANY_SCALE, math.log(n)))
    return float(special.ndtr((mean - y) / scale))


def evaluate(powers: tuple[float, ...], x: float) -> float:
    """Return a polynomial, its coefficients by ascending power, at x."""
    return float(polynomial.polyval(x, powers))


def dagostino_pearson(values: np.ndarray) -> tuple[float, float]:
    """Return D'Agostino and Pearson's K^2 and its p value: small where values are not normal.

    The sum of squares of two statistics that are standard normal for normal values: of the skewness
    (D'Agostino) and of the kurtosis (Anscombe and Glynn); chi squared with 2 degrees of freedom.

    Args:
        values: Shape [n], 20 or more, not all equal.

    Reference: D'Agostino and Pearson (1973), Biometrika 60(3); D'Agostino (1970), Biometrika 57(3);
        Anscombe and Glynn (1983), Biometrika 70(1).
    """
    deviations = values - values.mean()
    second, third, fourth = (float(np.mean(deviations**k)) for k in (2, 3, 4))
    n = float(values.size)
    k2 = skewness_z(third / second**1.5, n) ** 2 + kurtosis_z(fourth / second**2, n) ** 2
    return k2, math.exp(-k2 / 2)


def skewness_z(skewness: float, n: float) -> float:
    """Return the skewness of n values as a standard normal deviate."""
    y = skewness * math.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    kurtosis = 3 * (n * n + 27 * n - 70) * (n + 1) * (n + 3)
    kurtosis /= (n - 2) * (n + 5) * (n + 7) * (n + 9)
    width = math.sqrt(2 * (kurtosis - 1)) - 1
    return math.asinh(y / math.sqrt(2 / (width - 1))) / math.sqrt(math.log(width) / 2)


def kurtosis_z(kurtosis: float, n: float) -> float:
    """Return the kurtosis of n values as a standard normal deviate."""
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - 3 * (n - 1) / (n + 1)) / math.sqrt(variance)
    skew = 6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9))
    skew *= math.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / skew * (2 / skew + math.sqrt(1 + 4 / skew**2))
    root = float(np.cbrt((1 - 2 / a) / (1 + x * math.sqrt(2 / (a - 4)))))
    return (1 - 2 / (9 * a) - root) / math.sqrt(2 / (9 * a))
