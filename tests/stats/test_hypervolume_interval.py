from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from minaction.stats.hypervolume_interval import hypervolume_interval
from minaction.stats.pareto import gradient

FIRST = np.array([[1.0, 0.5], [1.2, 0.7], [0.8, 0.6]])
SECOND = np.array([[2.0, 0.8], [2.3, 0.9], [1.7, 1.0]])
REFERENCE = (4.0, 0.0)
AREA = 1.0 * 0.6 + 2.0 * 0.9


def ends(runs, drawn, **options):
    options = {"shared": False, "confidence": 0.95} | options
    cost, accuracy = np.array([one.mean(0) for one in runs]).T
    slopes = gradient(cost, accuracy, REFERENCE)
    return hypervolume_interval(AREA, np.array(drawn), runs, slopes=slopes, **options)


def by_hand():
    """What each run moves the area by: strips of the gradient times its distance from the mean."""
    first = -0.6 * (FIRST[:, 0] - 1) + 1.0 * (FIRST[:, 1] - 0.6)
    second = -(0.9 - 0.6) * (SECOND[:, 0] - 2) + 2.0 * (SECOND[:, 1] - 0.9)
    return first, second


def test_runs_that_share_seeds_move_the_area_together():
    first, second = by_hand()
    half = special.stdtrit(2, 0.975) * (first + second).std(ddof=1) / np.sqrt(3)
    assert ends([FIRST, SECOND], [AREA], shared=True) == pytest.approx(
        (max(0, AREA - half), AREA + half)
    )


def test_runs_of_their_own_add_their_variances():
    parts = [move.var(ddof=1) / 3 for move in by_hand()]
    degrees = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    half = special.stdtrit(degrees, 0.975) * np.sqrt(sum(parts))
    assert ends([FIRST, SECOND], [AREA]) == pytest.approx((max(0, AREA - half), AREA + half))


def test_what_resampling_adds_is_taken_off():
    low, high = ends([FIRST, SECOND], [AREA, AREA], confidence=0.5)
    moved = ends([FIRST, SECOND], [AREA, AREA + 0.2], confidence=0.5)
    assert moved == pytest.approx((low - 0.1, high - 0.1))


def test_no_area_is_below_0():
    assert ends([FIRST, SECOND], [3 * AREA])[0] == 0
    assert ends([FIRST, SECOND], [30 * AREA]) == (0, 0)


def test_runs_that_do_not_differ_have_no_width():
    same = [np.repeat(FIRST[:1], 3, 0), np.repeat(SECOND[:1], 3, 0)]
    assert ends(same, [AREA]) == (AREA, AREA)
