from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from minaction.stats.studentized_range import StudentizedRange


@pytest.mark.parametrize(("k", "df"), [(2, 1.0), (3, 4.5), (10, 30.0), (24, 500.0)])
def test_it_agrees_with_scipy(k, df):
    q = np.array([0.0, 0.5, 2.0, 3.5, 5.0, 8.0, 30.0])
    ours = StudentizedRange(k).sf(q, np.full(q.size, df))
    np.testing.assert_allclose(ours, stats.studentized_range.sf(q, k, df), atol=1e-8)


@pytest.mark.parametrize(
    ("k", "df", "q"),
    [(2, 5, 3.64), (3, 10, 3.88), (5, 20, 4.23), (10, 60, 4.65), (20, 120, 5.13), (3, 1, 26.98)],
)
def test_quantiles_of_the_printed_tables(k, df, q):
    # Harter (1960), upper 5 % points, Tables of range and studentized range.
    assert StudentizedRange(k).isf(0.05, np.array([df]))[0] == pytest.approx(q, abs=0.0051)


def test_quantiles_are_exceeded_as_often_as_asked():
    df = np.array([1.0, 2.7, 15.0, 1e4])
    distribution = StudentizedRange(6)
    for probability in (0.5, 0.05, 0.001):
        q = distribution.isf(probability, df)
        np.testing.assert_allclose(distribution.sf(q, df), probability, rtol=1e-8)


def test_many_quantiles_are_interpolated_to_the_same():
    df = np.geomspace(1, 500, 200)
    distribution = StudentizedRange(6)
    np.testing.assert_allclose(distribution.isf(0.05, df), distribution.solve(0.05, df), rtol=1e-7)


def test_no_statistics_have_no_probabilities():
    none = np.empty(0)
    assert StudentizedRange(3).sf(none, none).size == 0
    assert StudentizedRange(3).isf(0.05, none).size == 0
