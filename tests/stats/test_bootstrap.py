from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import InputError
from minaction.stats import bootstrap
from minaction.stats.bootstrap import counts, percentiles, resample


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(runs=st.integers(2, 6), tasks=st.integers(1, 4), seed=st.integers(0, 99))
def test_counts_say_how_often_each_run_was_drawn(runs, tasks, seed):
    picks = seeded(seed).integers(0, runs, (5, runs, tasks))
    found = counts(picks)
    for sample in range(5):
        for task in range(tasks):
            drawn = picks[sample, :, task].tolist()
            assert found[sample, :, task].tolist() == [drawn.count(run) for run in range(runs)]


def test_runs_are_drawn_within_each_task_and_sample():
    # 2 runs of a task: both the first, both the second or each once, chances 1/4, 1/4, 1/2
    drawn = resample(lambda picks: counts(picks)[:, 0], [(2, 3)], seeded(), 4000)
    assert drawn.shape == (4000, 3)
    for task in range(3):
        shares = np.bincount(drawn[:, task].astype(int), minlength=3) / 4000
        assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05


def test_several_samples_are_drawn_independently():
    drawn = resample(
        lambda one, other: np.stack([counts(one)[:, 0], counts(other)[:, 0]], 1),
        [(2,), (3,)],
        seeded(),
        4000,
    )
    assert drawn.mean(0) == pytest.approx([1, 1], abs=0.05)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05


def test_memory_is_bounded_by_drawing_in_chunks(monkeypatch):
    monkeypatch.setattr(bootstrap, "CHUNK", 30)
    sizes = []

    def record(picks):
        sizes.append(picks.size)
        return counts(picks)[:, 0, 0]

    assert resample(record, [(2, 5)], seeded(), 10).shape == (10,)
    assert sizes == [30, 30, 30, 10]


def test_percentiles_are_those_of_all_resamples():
    assert percentiles(np.arange(101.0), 0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize("resamples", [0, -1])
def test_there_has_to_be_a_resample(resamples):
    with pytest.raises(InputError, match="resamples: expected 1 or more"):
        resample(counts, [(2,)], seeded(), resamples)


@pytest.mark.parametrize("generator", [0, None, np.random.RandomState(0)])
def test_there_has_to_be_a_generator(generator):
    with pytest.raises(InputError, match="generator: expected a numpy Generator, got"):
        resample(counts, [(2,)], generator, 5)
