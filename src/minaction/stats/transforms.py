"""Responses brought to a scale on which effects add."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minaction.errors import InputError


def logit_error(accuracy: npt.ArrayLike, n: npt.ArrayLike) -> np.ndarray:
    """Return the empirical logit of the error rate, log((w + 1/2) / (n - w + 1/2)).

    w = n (1 - accuracy), the samples that were wrong. Accuracy saturates: from 99.0 to 99.5 % is as
    far as from 90.5 to 95 % in odds of error, and an analysis of variance of plain accuracies would
    call the one change small. The half (Haldane's and Anscombe's correction) is added at every
    accuracy, so that the scale has no jump: accuracy 1 becomes -log(2 n + 1), and 0 its negative.

    Args:
        accuracy: Fractions from 0 to 1, any shape.
        n: Number of samples each accuracy was measured on, 1 or more; one number or as many.

    Returns:
        float64 of the common shape, smaller for a higher accuracy.

    Raises:
        InputError: An accuracy is not between 0 and 1, or n is below 1.

    Reference: Anscombe (1956), On estimating binomial response relations, Biometrika 43; Gart and
        Zweifel (1967), On the bias of various estimators of the logit, Biometrika 54.
    """
    try:
        share, samples = np.asarray(accuracy, np.float64), np.asarray(n, np.float64)
    except (TypeError, ValueError):
        raise InputError("accuracy, n: expected numbers") from None
    if not ((share >= 0) & (share <= 1)).all():
        raise InputError("accuracy: expected fractions from 0 to 1; leave missing ones out")
    if not ((samples >= 1) & np.isfinite(samples)).all():
        raise InputError("n: expected the number of test samples, 1 or more")
    return np.log(samples * (1 - share) + 0.5) - np.log(samples * share + 0.5)
