from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from minaction.errors import InputError
from minaction.report.analysis.responses import LOGIT, sample_count, with_logit
from minaction.stats.transforms import logit_error


@pytest.mark.parametrize("samples", [7, 360, 10_000, 7_532])
def test_the_number_of_test_samples_is_found_from_accuracies(samples):
    right = np.random.default_rng(0).integers(0, samples + 1, 40)
    assert sample_count((right / samples).tolist()) == samples


def test_where_accuracies_are_no_counts_there_is_no_number():
    assert sample_count(np.random.default_rng(0).random(5).tolist()) is None
    assert sample_count([0.0, 1.0]) is None
    assert sample_count([0.5, 1.5]) is None
    assert sample_count([]) is None


def test_the_logit_is_that_of_counts_by_data_set():
    runs = pd.DataFrame(
        {"dataset": ["a", "a", "b", "b"], "test_accuracy": [0.97, 1.0, 0.5, 2 / 3]},
        index=[3, 1, 7, 5],
    )
    found = with_logit(runs)
    assert found[LOGIT].tolist() == [
        *logit_error([0.97, 1.0], 100).tolist(),
        *logit_error([0.5, 2 / 3], 6).tolist(),
    ]
    assert list(found.index) == [3, 1, 7, 5]


def test_a_recorded_number_of_samples_is_taken_where_all_runs_of_a_data_set_agree():
    runs = pd.DataFrame(
        {
            "dataset": ["a", "a", "b", "b"],
            "test_accuracy": [0.5, 0.75, 0.5, 0.75],
            "test_samples": [1000.0, 1000.0, 1000.0, np.nan],
        }
    )
    assert with_logit(runs)[LOGIT].tolist() == [
        *logit_error([0.5, 0.75], 1000).tolist(),
        *logit_error([0.5, 0.75], 4).tolist(),
    ]


def test_without_counts_the_plain_logit_is_taken():
    accuracy = np.random.default_rng(0).random(6)
    found = with_logit(pd.DataFrame({"dataset": "a", "test_accuracy": accuracy}))
    assert found[LOGIT].to_numpy() == pytest.approx(np.log((1 - accuracy) / accuracy))


def test_without_counts_an_accuracy_of_1_is_refused():
    runs = pd.DataFrame({"dataset": "a", "test_accuracy": [1.0, math.pi / 4]})
    with pytest.raises(InputError, match="a: an accuracy is 0 or 1"):
        with_logit(runs)
