from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published import tooth_growth, warp_breaks
from statsmodels.stats.multitest import multipletests

from minaction.errors import InputError
from minaction.stats.posthoc import games_howell, holm


def test_games_howell_on_doses_as_in_rstatix():
    # R: games_howell_test(ToothGrowth, len ~ dose).
    table = games_howell(tooth_growth(), "len", ["dose"]).set_index(["group_a", "group_b"])
    expected = {
        (1.0, 0.5): (9.130, 5.691986376, 12.568013624, 3.76e-07),
        (2.0, 0.5): (15.495, 12.288316871, 18.701683129, 0.0),
        (2.0, 1.0): (6.365, 3.194231942, 9.535768058, 5.57e-05),
    }
    for pair, (difference, low, high, p) in expected.items():
        row = table.loc[pair]
        assert row["difference"] == pytest.approx(difference)
        assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-7)
        assert row["p"] == pytest.approx(p, rel=2e-3, abs=1e-9)


def test_games_howell_on_unequal_variances_as_in_rstatix():
    # R: games_howell_test(warpbreaks, breaks ~ tension, detailed = TRUE); its standard error is
    # ours divided by sqrt(2).
    table = games_howell(warp_breaks(), "breaks", ["tension"])
    assert list(zip(table["group_a"], table["group_b"], strict=True)) == [
        ("L", "M"),
        ("L", "H"),
        ("M", "H"),
    ]
    assert table["df"].tolist() == pytest.approx([26.55353357, 25.22238355, 33.73996464])
    assert table["t"].tolist() == pytest.approx([2.255958790, 3.386175878, 1.619933780])
    assert table["low"].tolist() == pytest.approx([-1.001128322, 3.898658584, -2.423460123])
    assert table["p"].tolist() == pytest.approx([0.080, 0.006, 0.251], abs=5e-4)
    assert table["standard_error"][0] == pytest.approx(3.134395824 * 2**0.5)


def test_holm_adjusted_welch_tests_as_in_r():
    # R: pairwise.t.test(len, interaction(supp, dose), pool.sd = FALSE, p.adjust.method = "holm").
    table = games_howell(tooth_growth(), "len", ["supp", "dose"])
    p = table.set_index(["group_a", "group_b"])["p_holm"]
    assert p["OJ, 0.5", "VC, 0.5"] == pytest.approx(3.179303382e-02)
    assert p["OJ, 1.0", "VC, 0.5"] == pytest.approx(5.117289422e-07)
    assert p["VC, 2.0", "OJ, 2.0"] == pytest.approx(0.9638515887)
    assert p["OJ, 2.0", "OJ, 1.0"] == pytest.approx(0.156780568185)


def test_intervals_and_p_values_say_the_same():
    table = games_howell(tooth_growth(), "len", ["supp", "dose"], confidence=0.99)
    assert ((table["low"] > 0) == (table["p"] < 0.01)).all()
    assert (table["difference"] >= 0).all()


def test_a_pair_that_does_not_vary_has_no_error():
    frame = pd.DataFrame({"g": list("aaabbbccc"), "y": [1.0, 1, 1, 2, 2, 2, 3, 4, 5]})
    table = games_howell(frame, "y", ["g"]).set_index(["group_a", "group_b"])
    assert table.loc[("b", "a"), "low":].isna().all()
    assert table.loc[("c", "a"), ["low", "high", "p", "p_holm"]].notna().all()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"g": list("aab"), "y": [1.0, 2, 3]}), "the group 'b' has a single row"),
        (pd.DataFrame({"g": list("aaa"), "y": [1.0, 2, 3]}), "expected 2 to 300 groups, got 1"),
        (pd.DataFrame({"g": ["a", None, "b"], "y": [1.0, 2, 3]}), "g: 1 of 3 rows have no value"),
        (pd.DataFrame({"g": list("aab"), "y": [1.0, 2, np.nan]}), "y: 1 of 3 values are missing"),
        (pd.DataFrame({"h": list("aab"), "y": [1.0, 2, 3]}), "unknown column 'g'"),
    ],
)
def test_bad_input_gets_one_clear_line(frame, message):
    with pytest.raises(InputError, match=message):
        games_howell(frame, "y", ["g"])


def test_holm_as_in_r():
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.005, 0.2), "holm").
    adjusted = holm([0.01, 0.02, 0.03, 0.005, 0.2])
    assert adjusted.tolist() == pytest.approx([0.040, 0.060, 0.060, 0.025, 0.200])


@pytest.mark.parametrize("tests", [1, 2, 7, 40])
def test_holm_parity_with_statsmodels(tests):
    p = np.random.default_rng(tests).beta(0.3, 1, size=tests).round(2)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_does_not_count_what_was_not_tested():
    assert holm([0.01, np.nan, 0.04]).tolist() == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(InputError, match="p: expected values between 0 and 1"):
        holm([0.5, 1.5])
