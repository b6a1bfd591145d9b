"""The tests of normality against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from minaction.stats.normality import coefficients, dagostino_pearson, shapiro_wilk

DRAWS = {
    "normal": lambda generator, n: generator.normal(3, 2, n),
    "uniform": lambda generator, n: generator.random(n),
    "heavy tails": lambda generator, n: generator.standard_t(2, n),
    "skew": lambda generator, n: generator.exponential(1, n),
    "ties": lambda generator, n: np.concatenate([generator.integers(0, 5, n - 2), [7, 8]]) + 0.0,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 11, 12, 50, 300, 5000])
def test_shapiro_wilk_is_scipys(n, draw):
    # scipy's normal scores are those of an approximation of 1977, good to seven digits
    values = draw(np.random.default_rng(n), n)
    w, p = shapiro_wilk(values)
    expected = stats.shapiro(values)
    assert w == pytest.approx(expected.statistic, abs=2e-7)
    assert p == pytest.approx(expected.pvalue, rel=2e-5, abs=1e-12)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
@pytest.mark.parametrize("n", [20, 100, 5001, 20_000])
def test_dagostino_pearson_is_scipys(n, draw):
    values = draw(np.random.default_rng(n), n)
    k2, p = dagostino_pearson(values)
    expected = stats.normaltest(values)
    assert k2 == pytest.approx(expected.statistic, rel=1e-9)
    assert p == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 20, 5000])
def test_the_coefficients_are_those_of_a_unit_vector_without_a_mean(n):
    weights = coefficients(n)
    assert weights.sum() == pytest.approx(0, abs=1e-9)
    assert weights @ weights == pytest.approx(1)


def test_neither_place_nor_scale_matters():
    values = np.random.default_rng(0).gamma(2, size=40)
    moved = 1e-6 * values + 1e3
    assert shapiro_wilk(moved) == pytest.approx(shapiro_wilk(values), rel=1e-5)
    assert dagostino_pearson(moved) == pytest.approx(dagostino_pearson(values), rel=1e-4)


def test_normal_scores_pass_and_an_outlier_does_not():
    scores = stats.norm.ppf((np.arange(20) + 0.5) / 20)
    assert shapiro_wilk(scores)[1] > 0.99
    assert shapiro_wilk(np.append(scores, 30.0))[1] < 1e-6
    assert shapiro_wilk(np.array([0.0] * 9 + [1.0]))[1] < 1e-4
    assert dagostino_pearson(np.append(scores, 30.0))[1] < 1e-6
