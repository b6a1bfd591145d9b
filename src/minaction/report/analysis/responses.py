"""What the factors of a study are to explain: the test accuracy, and the logit of the error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pandas as pd

from minaction.errors import InputError
from minaction.report.analysis.crossing import RESPONSE
from minaction.stats.transforms import logit_error

LOGIT = "logit_error"
RESPONSES = {
    RESPONSE: "test accuracy",
    LOGIT: "logit of the test error",
}
MOST_SAMPLES = 1_000_000
"""Most test samples that are looked for behind an accuracy."""
EXACT = 4e-16
"""How far a float64 in [0, 1] may lie from the fraction it stands for."""


def with_logit(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the logit of their error as a column of its own.

    It needs the number of test samples of each data set. Where records do not hold it, as older
    ones, it is taken to be the smallest that makes all accuracies whole counts; where there is
    none, the plain logit of the error is taken, which needs no number.

    Args:
        runs: Columns `dataset`, `test_accuracy` and, where records hold it, `test_samples`.

    Raises:
        InputError: An accuracy is no fraction, or is 0 or 1 where no number of samples is found.
    """
    column = pd.Series(np.nan, index=runs.index, name=LOGIT)
    for dataset, of_set in runs.groupby("dataset", sort=False):
        accuracy = of_set[RESPONSE].to_numpy(np.float64)
        samples = recorded_count(of_set) or sample_count(accuracy.tolist())
        if samples is not None:
            column[of_set.index] = logit_error(accuracy, samples)
        elif ((accuracy > 0) & (accuracy < 1)).all():
            column[of_set.index] = np.log1p(-accuracy) - np.log(accuracy)
        else:
            raise InputError(
                f"{dataset}: an accuracy is 0 or 1 or beyond, and how many test samples it stands "
                "for cannot be told from the others"
            )
    return runs.assign(**{LOGIT: column})


def recorded_count(runs: pd.DataFrame) -> int | None:
    """Return the number of test samples that all runs have in common, None if there is none."""
    counts = set(runs["test_samples"]) if "test_samples" in runs else set()
    count = counts.pop() if len(counts) == 1 else math.nan
    return int(count) if count > 0 else None


def sample_count(accuracies: Iterable[float]) -> int | None:
    """Return the smallest number of samples of which all accuracies are counts, None if none is.

    Accuracies 0 and 1 alone say nothing of it.
    """
    samples = 1
    for accuracy in set(accuracies):
        if not 0 <= accuracy <= 1:
            return None
        share = Fraction(accuracy).limit_denominator(MOST_SAMPLES)
        if abs(float(share) - accuracy) > EXACT:
            return None
        samples = math.lcm(samples, share.denominator)
        if samples > MOST_SAMPLES:
            return None
    return samples if samples > 1 else None
