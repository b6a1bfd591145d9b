from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published import moore, tooth_growth

from minaction.stats import factorial_anova


def p_values(frame, seed=0, permutations=1999, **options):
    generator = np.random.default_rng(seed)
    table = factorial_anova(
        frame, "y", ["a", "b"], permutations=permutations, generator=generator, **options
    )
    return table["p_permutation"]


def renamed(frame, response, a, b):
    return frame.rename(columns={response: "y", a: "a", b: "b"})


@pytest.mark.parametrize("ss_type", [2, 3])
def test_permutation_agrees_with_the_f_test_where_errors_are_about_normal(ss_type):
    frame = renamed(moore(), "conformity", "partner", "authoritarianism")
    table = factorial_anova(
        frame, "y", ["a", "b"], ss_type, permutations=4999, generator=np.random.default_rng(1)
    )
    np.testing.assert_allclose(
        table["p_permutation"].drop("Residual"), table["p"].drop("Residual"), atol=0.02
    )


def test_the_smallest_p_value_counts_the_observed_statistic():
    frame = renamed(tooth_growth(), "len", "supp", "dose")
    assert p_values(frame, permutations=99)["b"] == 1 / 100


def test_the_same_generator_gives_the_same_p_whatever_the_global_state():
    frame = renamed(tooth_growth(), "len", "supp", "dose")
    first = p_values(frame, seed=3)
    np.random.seed(0)  # noqa: NPY002
    assert p_values(frame, seed=3).equals(first)
    assert not p_values(frame, seed=4).equals(first)


def test_the_exact_distribution_is_met_in_a_small_design():
    # of the 70 splits of 1 to 8 into two groups of four, four have a sum of 12 or less in the first
    # group and four one of 24 or more
    y = [1.0, 2.0, 3.0, 6.0, 4.0, 5.0, 7.0, 8.0]
    frame = pd.DataFrame({"y": y, "a": [0] * 4 + [1] * 4})
    table = factorial_anova(
        frame, "y", ["a"], permutations=20_000, generator=np.random.default_rng(0)
    )
    assert table.loc["a", "p_permutation"] == pytest.approx(8 / 70, abs=0.01)


def test_permutations_stay_within_blocks():
    # two blocks of two: within blocks each difference can only change its sign, so p is at least
    # 1/2 for a difference of one sign in both
    frame = pd.DataFrame({"y": [0.0, 5.0, 100.0, 104.0], "a": [0, 1, 0, 1], "seed": [0, 0, 1, 1]})
    table = factorial_anova(
        frame, "y", ["a"], blocks="seed", permutations=4000, generator=np.random.default_rng(0)
    )
    assert table.loc["a", "p_permutation"] == pytest.approx(0.5, abs=0.03)
    assert np.isnan(table.loc["seed", "p_permutation"])
    assert table.attrs["permutations"] == 4000
