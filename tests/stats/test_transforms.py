from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import InputError
from minaction.stats.transforms import logit_error


def test_it_is_the_log_odds_of_error_with_half_a_sample_added():
    assert logit_error(0.99, 10_000) == pytest.approx(math.log(100.5 / 9900.5))


def test_accuracies_of_zero_and_one_follow_the_same_rule():
    assert logit_error([1.0, 0.0], 100).tolist() == pytest.approx([-math.log(201), math.log(201)])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.integers(1, 10**6))
def test_a_higher_accuracy_is_never_a_larger_value(accuracy, n):
    assert (np.diff(logit_error(sorted(accuracy), n)) <= 0).all()


def test_sizes_may_differ_by_run():
    assert logit_error([0.5, 0.5], [10, 1000]).tolist() == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("accuracy", [99.2, -0.1, math.nan])
def test_what_is_no_fraction_is_refused(accuracy):
    with pytest.raises(InputError, match="accuracy: expected fractions from 0 to 1"):
        logit_error([0.5, accuracy], 100)


def test_words_are_refused():
    with pytest.raises(InputError, match="accuracy, n: expected numbers"):
        logit_error(["high"], 100)


@pytest.mark.parametrize("n", [0, -1, math.nan, math.inf])
def test_no_samples_are_refused(n):
    with pytest.raises(InputError, match="n: expected the number of test samples"):
        logit_error(0.5, n)
