"""How well one quantity tells another: scipy is the oracle, a slow bootstrap the twin."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from minaction.errors import InputError
from minaction.stats.association import associations, drawn_weights, midranks

STRATA = ["a"] * 12 + ["b"] * 18


def sample(seed=0, n=30):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    x = np.column_stack([y + rng.normal(size=n), -(y**3), rng.integers(0, 4, n)])
    return x, y


def found(x, y, strata=STRATA, seed=1, **options):
    generator = np.random.default_rng(seed)
    return associations(x, y, strata=strata, generator=generator, resamples=200, **options)


def test_estimates_are_those_of_scipy_with_ties_and_without():
    x, y = sample()
    for column, one in zip(x.T, found(x, y), strict=True):
        rho = scipy.stats.spearmanr(column, y).statistic
        r = scipy.stats.pearsonr(column, y).statistic
        assert one.spearman.estimate == pytest.approx(rho, abs=1e-12)
        assert one.r_squared.estimate == pytest.approx(r**2, abs=1e-12)
        assert one.spearman.n == 30


def test_intervals_are_those_of_samples_drawn_row_by_row_within_strata():
    x, y = sample()
    weights = drawn_weights(STRATA, range(30), np.random.default_rng(1), 200).astype(int)
    assert (weights[:, :12].sum(1) == 12).all()
    assert (weights[:, 12:].sum(1) == 18).all()
    rows = [np.repeat(np.arange(30), one) for one in weights]
    for column, one in zip(x.T, found(x, y), strict=True):
        rho = [scipy.stats.spearmanr(column[r], y[r]).statistic for r in rows]
        squares = [scipy.stats.pearsonr(column[r], y[r]).statistic ** 2 for r in rows]
        for values, interval in ((rho, one.spearman), (squares, one.r_squared)):
            expected = np.quantile(values, [0.025, 0.975])
            assert [interval.low, interval.high] == pytest.approx(expected, abs=1e-12)


def test_ranks_of_a_resample_are_those_of_its_rows():
    values, weights = np.array([3.0, 1.0, 3.0, 2.0]), np.array([[2, 0, 1, 3]])
    ranks = midranks(values, weights.astype(float))
    drawn = scipy.stats.rankdata(np.repeat(values, weights[0]))
    assert ranks[0, [0, 2, 3]].tolist() == [drawn[0], drawn[2], drawn[3]]


def test_the_same_generator_gives_the_same_intervals():
    x, y = sample()
    first = found(x, y)
    assert found(x, y) == first
    assert found(x, y, seed=2) != first


def test_a_constant_tells_nothing_and_is_no_error():
    x, y = sample()
    constant = np.column_stack([np.full(30, 0.1), x[:, 0]])
    first, second = found(constant, y)
    assert np.isnan([first.spearman.estimate, first.r_squared.estimate]).all()
    assert not np.isnan([second.spearman.low, second.r_squared.high]).any()
    assert np.isnan(found(x, np.full(30, 7.0))[0].spearman.estimate)


def test_an_interval_without_spread_in_many_resamples_has_no_ends():
    x = np.array([[0.0]] * 5 + [[1.0]])
    (one,) = found(x, np.arange(6.0), strata=["a"] * 6)
    assert not np.isnan(one.spearman.estimate)
    assert np.isnan([one.spearman.low, one.spearman.high]).all()
    # of five clusters one in 5**4 resamples is of one alone
    x, y = np.repeat([[3.0], [1.0], [2.0], [5.0], [4.0]], 4, axis=0), np.arange(20.0)
    (one,) = found(x, y, strata=["a"] * 20, clusters=list(x[:, 0]))
    assert one.spearman.low < one.spearman.estimate < one.spearman.high


def test_clusters_are_drawn_whole_within_their_stratum():
    strata, clusters = ["a"] * 4 + ["b"] * 4, [1, 1, 2, 2, 3, 3, 3, 4]
    weights = drawn_weights(strata, clusters, np.random.default_rng(0), 50)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()
    assert (weights[:, 4] + weights[:, 7] == 2).all()


def test_strata_of_one_cluster_are_drawn_from_together():
    weights = drawn_weights([*"aabbcc"], [1] * 6, np.random.default_rng(0), 400)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights[:, ::2].sum(1) == 3).all()
    assert set(map(tuple, weights[:, ::2].astype(int))) > {(3, 0, 0), (0, 3, 0), (1, 1, 1)}
    # the only one is drawn from with the smallest of the others, which is the second here
    weights = drawn_weights([*"aaabb", "c"], [*range(6)], np.random.default_rng(0), 400)
    assert (weights[:, :3].sum(1) == 3).all()
    assert (weights[:, 3:].sum(1) == 3).all()
    assert set(weights[:, 5]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("strata", "clusters", "ends"),
    [
        ([0] * 30, [0] * 30, False),
        ([0] * 30, [i % 4 for i in range(30)], False),
        ([0] * 30, [i % 5 for i in range(30)], True),
        ([i % 2 for i in range(30)], [i // 2 % 2 for i in range(30)], False),
        ([i % 2 for i in range(30)], [i // 2 % 3 for i in range(30)], True),
        ([i % 4 for i in range(30)], [0] * 30, False),
        ([i % 5 for i in range(30)], [0] * 30, True),
    ],
)
def test_few_clusters_have_an_estimate_and_no_interval(strata, clusters, ends):
    x, y = sample()
    for one in found(x, y, strata=strata, clusters=clusters):
        assert not np.isnan([one.spearman.estimate, one.r_squared.estimate]).any()
        assert np.isfinite([one.spearman.low, one.r_squared.high]).all() == ends
        assert not ends or one.r_squared.low < one.r_squared.high


def test_copies_of_rows_make_an_interval_no_narrower_where_they_are_a_cluster():
    x, y = sample()
    alone = found(x, y, strata=[0] * 30)
    copies = found(
        np.repeat(x, 5, axis=0), np.repeat(y, 5), strata=[0] * 150, clusters=np.repeat(range(30), 5)
    )
    for one, other in zip(alone, copies, strict=True):
        assert other.r_squared.low == pytest.approx(one.r_squared.low, abs=1e-9)
        assert other.r_squared.high == pytest.approx(one.r_squared.high, abs=1e-9)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # for a bivariate normal with r = 0.6: rho_s = 6 / pi * asin(r / 2)
    truth, held = 6 / np.pi * np.arcsin(0.3), 0
    rng = np.random.default_rng(5)
    for _ in range(200):
        x, e = rng.normal(size=(2, 60))
        y = 0.6 * x + 0.8 * e
        (one,) = found(x[:, None], y, strata=[0] * 60)
        held += one.spearman.low <= truth <= one.spearman.high
    assert 0.88 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("x", "y", "strata", "problem"),
    [
        (np.ones((3, 1)), np.ones(4), [0] * 4, "one length, got 3, 4, 4, 4"),
        (np.ones((3, 1)), np.ones(3), [0] * 2, "one length, got 3, 3, 2, 3"),
        (np.ones((2, 1)), np.ones(2), [0] * 2, "3 or more rows"),
        (np.full((3, 1), np.nan), np.ones(3), [0] * 3, "x: expected finite numbers"),
    ],
)
def test_what_cannot_be_used_is_one_line(x, y, strata, problem):
    with pytest.raises(InputError, match=problem):
        found(x, y, strata=strata)
