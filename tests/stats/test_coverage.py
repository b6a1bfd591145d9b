"""How often intervals hold the truth and tests reject it, over simulated samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import special

from minaction.stats.aggregates import interquartile_mean, probability_of_improvement
from minaction.stats.costs import Costs, median_interval
from minaction.stats.dominance import cliffs_delta
from minaction.stats.equivalence import equivalence_test, noninferiority_test
from minaction.stats.intervals import Interval
from minaction.stats.pareto import hypervolume
from minaction.stats.pareto_membership import pareto_bootstrap
from minaction.stats.standardized_difference import hedges_g

pytestmark = pytest.mark.slow

ROUNDS = 2000  # standard error of a share of 95 %: 0.5 pp


def coverage(
    truth: float, interval: Callable[[np.random.Generator], Interval], rounds: int = ROUNDS
) -> float:
    generator = np.random.default_rng(11)
    found = [interval(generator) for _ in range(rounds)]
    return sum(one.low <= truth <= one.high for one in found) / rounds


def rejections(test: Callable[[np.random.Generator], bool]) -> float:
    generator = np.random.default_rng(11)
    return sum(test(generator) for _ in range(ROUNDS)) / ROUNDS


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("truth", [0.0, 1.0, 2.0])
def test_hedges_g_covers_the_true_difference(n, truth):
    assert 0.93 < coverage(
        truth, lambda rng: hedges_g(rng.normal(truth, 1, n), rng.normal(0, 1, n))
    ) < 0.97  # fmt: skip


@pytest.mark.parametrize("n", [4, 10])
def test_hedges_g_of_pairs_covers_the_true_difference(n):
    def interval(rng: np.random.Generator) -> Interval:
        return hedges_g(rng.normal(0.8, 1, n), np.zeros(n), paired=True)

    assert 0.93 < coverage(0.8, interval) < 0.97


@pytest.mark.parametrize(("n", "m"), [(10, 10), (8, 10), (5, 20), (30, 30)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_cliffs_delta_covers_the_true_dominance(n, m, shift):
    truth = 2 * special.ndtr(shift / math.sqrt(2)) - 1
    assert 0.93 < coverage(
        truth, lambda rng: cliffs_delta(rng.normal(shift, 1, n), rng.normal(0, 1, m))
    ) < 0.97  # fmt: skip


@pytest.mark.parametrize("deviation", [3.0, 5.0])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_cliffs_delta_covers_where_variances_differ(deviation, shift):
    truth = 2 * special.ndtr(shift * deviation / math.sqrt(1 + deviation**2)) - 1

    def interval(rng: np.random.Generator) -> Interval:
        return cliffs_delta(rng.normal(shift * deviation, deviation, 10), rng.normal(0, 1, 10))

    assert 0.92 < coverage(truth, interval) < 0.97


def test_few_values_have_few_deltas_so_that_coverage_jumps():
    truth = 2 * special.ndtr(1 / math.sqrt(2)) - 1
    assert 0.93 < coverage(
        truth, lambda rng: cliffs_delta(rng.normal(1, 1, 5), rng.normal(0, 1, 5))
    ) < 0.98  # fmt: skip


@pytest.mark.parametrize(("paired", "deviation"), [(True, 1.0), (False, 1.0), (False, 4.0)])
def test_a_true_loss_of_the_margin_passes_as_often_as_the_level_allows(paired, deviation):
    def treatment(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(-0.5, deviation, 10)

    def reference(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 1, 10)

    assert 0.04 < rejections(
        lambda rng: noninferiority_test(
            treatment(rng), reference(rng), margin=0.5, paired=paired
        ).non_inferior
    ) < 0.06  # fmt: skip


def test_a_true_difference_of_the_margin_is_seldom_called_equivalent():
    def equivalent(rng: np.random.Generator) -> bool:
        first, second = rng.normal(3, 1, 10), rng.normal(0, 1, 10)
        return equivalence_test(first, second, margin=3, paired=False).equivalent

    assert 0.04 < rejections(equivalent) < 0.06


def test_the_interquartile_mean_covers_its_expectation():
    # of symmetric scores it is the centre, whatever the number of runs
    def interval(rng: np.random.Generator) -> Interval:
        scores = rng.normal(np.arange(6) / 6, 1, (10, 6))
        return interquartile_mean(scores, generator=rng, resamples=400)

    assert 0.93 < coverage(2.5 / 6, interval) < 0.97


def test_the_probability_of_improvement_covers_its_expectation():
    def interval(rng: np.random.Generator) -> Interval:
        first, second = rng.normal(0.5, 1, (10, 6)), rng.normal(0, 1, (10, 6))
        return probability_of_improvement(first, second, generator=rng, resamples=400)

    assert 0.93 < coverage(float(special.ndtr(0.5 / math.sqrt(2))), interval) < 0.97


def test_the_median_cost_covers_its_expectation_with_a_third_censored():
    def interval(rng: np.random.Generator) -> Interval:
        reached_at, stopped_at = rng.exponential(1, 30), rng.exponential(2, 30)
        found = median_interval(
            Costs(cost=np.minimum(reached_at, stopped_at), reached=reached_at <= stopped_at)
        )
        # nothing bounds it above where the upper end is NaN
        return Interval(
            n=30, estimate=found.estimate, low=found.low, high=np.nan_to_num(found.high, nan=9e9)
        )

    assert 0.93 < coverage(math.log(2), interval) < 0.97


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("configurations", [3, 20])
def test_the_hypervolume_covers_that_of_the_true_means(configurations, shared):
    place = np.arange(configurations)
    cost, accuracy = 1 + 10 * place / configurations, np.log1p(place) / math.log1p(configurations)
    reference = (12.0, -1.0)

    def interval(rng: np.random.Generator) -> Interval:
        common = math.sqrt(0.6) * rng.normal(size=(2, 10)) if shared else np.zeros((2, 10))
        noise = math.sqrt(0.4 if shared else 1.0) * rng.normal(size=(2, configurations, 10))
        noise += common[:, None]
        frame = pd.DataFrame(
            {
                "model": np.repeat(place, 10),
                "seed": np.tile(np.arange(10), configurations),
                "cost_of_run": np.repeat(cost, 10) + 0.3 * noise[0].ravel(),
                "accuracy_of_run": np.repeat(accuracy, 10) + 0.1 * noise[1].ravel(),
            }
        )
        return pareto_bootstrap(
            frame,
            by=["model"],
            cost="cost_of_run",
            accuracy="accuracy_of_run",
            reference=reference,
            generator=rng,
            seed="seed" if shared else None,
            resamples=400,
        ).hypervolume

    truth = hypervolume(cost, accuracy, reference=reference)
    assert 0.93 < coverage(truth, interval, rounds=1000) < 0.97
