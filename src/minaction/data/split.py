"""Held-out parts that are the same on every machine and for every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# One fixed seed for every data set: a validation part that moved with a run's seed would mix
# the noise of the split with the noise of the training that a study measures.
SPLIT_SEED = 20260424


def stratified_holdout(labels: NDArray[np.integer], every: int) -> NDArray[np.bool_]:
    """Return the mask of a fixed, stratified held-out part: one sample in `every`.

    Samples are ordered by class and, within a class, by a fixed random key; each `every`-th of
    that order is held out. So ceil(n / every) samples are held out in all, and of a class with
    n_c samples floor(n_c / every) or ceil(n_c / every). The keys are raw words of PCG64, a
    stream that NumPy guarantees for all versions and machines (unlike `Generator.permutation`).

    Args:
        labels: integer labels [n].
        every: the inverse of the held-out fraction; 10 holds out 10 %.

    Returns:
        Boolean mask [n], True where held out.

    Reference:
        NumPy Enhancement Proposal 19, Random number generator policy.
    """
    keys = np.random.PCG64(SPLIT_SEED).random_raw(len(labels))
    order = np.lexsort((keys, labels))
    held_out = np.zeros(len(labels), dtype=np.bool_)
    held_out[order[::every]] = True
    return held_out
