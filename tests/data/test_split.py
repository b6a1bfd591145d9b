from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minaction.data.split import stratified_holdout

LABELS = st.lists(st.integers(0, 9), max_size=300).map(lambda v: np.array(v, dtype=np.uint8))


@settings(deadline=None)
@given(LABELS, st.integers(1, 20))
def test_holds_out_one_in_every_overall_and_within_each_class(labels, every):
    held_out = stratified_holdout(labels, every)
    assert held_out.sum() == -(-len(labels) // every)
    for label in np.unique(labels):
        in_class = int((labels == label).sum())
        assert in_class // every <= held_out[labels == label].sum() <= -(-in_class // every)


def test_is_the_same_on_every_machine():
    labels = np.arange(1000) % 10
    digest = hashlib.sha256(np.packbits(stratified_holdout(labels, 10)).tobytes()).hexdigest()
    assert digest == GOLDEN


def test_ignores_and_keeps_the_global_random_state():
    labels = np.arange(100) % 10
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = stratified_holdout(labels, 10)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, stratified_holdout(labels, 10))


def test_choice_is_spread_over_the_file():
    # Files may be sorted by writer or day: the held-out part must not be one stretch of it.
    chosen = np.flatnonzero(stratified_holdout(np.zeros(10_000, dtype=int), 10))
    counts = np.histogram(chosen, bins=10, range=(0, 10_000))[0]
    assert counts.min() > 70
    assert counts.max() < 130


GOLDEN = "0a7c7d81bee908a4c5c82f2098aaf7c76f91e26ce329696d42a8b1009fc0d1a7"
