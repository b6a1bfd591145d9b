"""The difference of two means with its standard error, and one-sided t tests against any bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes most of a second to import

from minaction.stats.intervals import standard_error


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """The mean of treatment - reference.

    Attributes:
        estimate: Difference of the means.
        standard_error: Of the estimate; where it is 0, p-values are the limits 0 and 1.
        df: Degrees of freedom of its t distribution.
    """

    estimate: float
    standard_error: float
    df: float

    @staticmethod
    def paired(differences: np.ndarray) -> MeanDifference:
        """Return that of pairs, from their differences of shape [n], n >= 2."""
        return MeanDifference(
            estimate=float(differences.mean()),
            standard_error=standard_error(differences),
            df=float(differences.size - 1),
        )

    @staticmethod
    def welch(treatment: np.ndarray, reference: np.ndarray) -> MeanDifference:
        """Return that of two independent samples of unequal variances, each of 2 or more values.

        df = 1 / (u² / (n - 1) + v² / (m - 1)), u and v the shares of both means in the squared
        standard error.

        Reference: Welch (1947), The generalization of Student's problem, Biometrika 34.
        """
        first, second = standard_error(treatment), standard_error(reference)
        both = math.hypot(first, second)
        # shares of the whole: their powers neither overflow nor vanish as those of values would
        u, v = (first / both, second / both) if both else (1.0, 1.0)
        return MeanDifference(
            estimate=float(treatment.mean() - reference.mean()),
            standard_error=both,
            df=1 / (u**4 / (treatment.size - 1) + v**4 / (reference.size - 1)),
        )

    def t(self, bound: float) -> float:
        """Return (estimate - bound) / standard error; infinite or NaN where that is 0."""
        gap = self.estimate - bound
        if self.standard_error:
            return gap / self.standard_error
        return math.copysign(math.inf, gap) if gap else math.nan

    def p_above(self, bound: float) -> float:
        """Return p of H0: the difference is at most the bound."""
        return self.tail(-self.t(bound))

    def p_below(self, bound: float) -> float:
        """Return p of H0: the difference is at least the bound."""
        return self.tail(self.t(bound))

    def tail(self, t: float) -> float:
        """Return the probability of a t below this one; 1 where nothing is known (0 / 0)."""
        return 1.0 if math.isnan(t) else float(special.stdtr(self.df, t))

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower 1 - alpha bound of the difference."""
        return self.estimate - float(special.stdtrit(self.df, 1 - alpha)) * self.standard_error

    def upper(self, alpha: float) -> float:
        """Return the one-sided upper 1 - alpha bound of the difference."""
        return self.estimate + float(special.stdtrit(self.df, 1 - alpha)) * self.standard_error
