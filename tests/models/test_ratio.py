from __future__ import annotations

import math

import pytest

from minaction.errors import ModelError
from minaction.models.ratio import GOLDEN, narrowed, parse_ratio


@pytest.mark.parametrize(
    ("written", "value"),
    [("1/2", 0.5), ("2/3", 2 / 3), ("3/5", 0.6), (0.5, 0.5), ("0.25", 0.25), (2, 2), ("4", 4)],
)
def test_numbers_and_fractions(written, value):
    assert parse_ratio(written) == value


def test_golden_ratio():
    assert parse_ratio("golden") == GOLDEN
    assert math.isclose(GOLDEN, 1 / (1 + GOLDEN))


@pytest.mark.parametrize(
    "written", ["", "half", "1/0", 0, -0.5, "5", math.nan, math.inf, True, "1/2/3", "1e999"]
)
def test_anything_else_is_refused(written):
    with pytest.raises(ModelError, match=r"ratio is .*expected a number or fraction above 0"):
        parse_ratio(written)


def test_widths():
    assert [narrowed(9, 1 / 3), narrowed(10, 0.6), narrowed(1, 0.5)] == [3, 6, 1]
