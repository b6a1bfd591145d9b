from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published import moore, peas, tooth_growth
from scipy import stats
from statsmodels.formula.api import ols

from minaction.errors import InputError
from minaction.stats.assumptions import check_assumptions


def test_tooth_growth_meets_them_as_in_r():
    # R: leveneTest(len ~ supp * dose), shapiro.test(residuals(m)); sthda.com, two-way anova test.
    table = check_assumptions(tooth_growth(), "len", ["supp", "dose"])
    assert table.loc["equal variances"].tolist() == [
        "Brown-Forsythe",
        pytest.approx(1.70858, abs=1e-5),
        pytest.approx(0.14836, abs=1e-5),
        60,
    ]
    assert table.loc["normal residuals"].tolist() == [
        "Shapiro-Wilk",
        pytest.approx(0.98498843, abs=1e-8),
        pytest.approx(0.6694242, abs=1e-6),
        60,
    ]
    assert table.attrs["sd_ratio"] == pytest.approx(4.797731 / 2.515309, rel=1e-5)


def test_levene_about_means_as_in_r():
    # R: leveneTest(m, center = mean).
    table = check_assumptions(tooth_growth(), "len", ["supp", "dose"], center="mean")
    assert table.loc["equal variances", "test"] == "Levene"
    assert table.loc["equal variances", "statistic"] == pytest.approx(1.94013, abs=1e-5)
    assert table.loc["equal variances", "p"] == pytest.approx(0.10273, abs=1e-5)


def test_unbalanced_cells_as_in_r():
    # R: leveneTest(lm(conformity ~ partner.status * fcategory, Moore)).
    table = check_assumptions(moore(), "conformity", ["partner", "authoritarianism"])
    assert table.loc["equal variances", "statistic"] == pytest.approx(1.46942, abs=1e-5)
    assert table.loc["equal variances", "p"] == pytest.approx(0.22193, abs=1e-5)


def test_blocks_are_taken_out_first():
    frame = peas()
    table = check_assumptions(frame, "pounds", ["N", "P"], blocks="block")
    residuals = ols("pounds ~ C(N) * C(P) + C(block)", frame).fit().resid
    expected = stats.levene(
        *[cell.to_numpy() for _, cell in residuals.groupby([frame["N"], frame["P"]])]
    )
    assert table.loc["equal variances", "statistic"] == pytest.approx(expected.statistic)
    assert table.loc["normal residuals", "statistic"] == pytest.approx(stats.shapiro(residuals)[0])


def test_many_residuals_are_all_used_by_another_test():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.repeat([0, 1, 2], 2000), "y": generator.gamma(9, size=6000)})
    table = check_assumptions(frame, "y", ["a"])
    assert table.loc["normal residuals", "test"] == "D'Agostino-Pearson"
    assert table.loc["normal residuals", "n"] == 6000
    assert table.loc["normal residuals", "p"] < 1e-6


def test_small_cells_are_left_out_and_counted():
    frame = pd.DataFrame({"a": [0, 0, 0, 1, 1, 1, 2, 2], "y": [1.0, 2, 4, 5, 3, 9, 7, 8]})
    table = check_assumptions(frame, "y", ["a"])
    assert table.loc["equal variances", "n"] == 6
    assert table.loc["normal residuals", "n"] == 8


def test_cells_too_small_for_a_test_give_none():
    frame = pd.DataFrame({"a": [0, 0, 1, 1], "y": [1.0, 2, 4, 5]})
    table = check_assumptions(frame, "y", ["a"])
    assert table.loc["equal variances", ["statistic", "p"]].isna().all()
    assert table.loc["equal variances", "n"] == 0
    assert np.isnan(table.attrs["sd_ratio"])


def test_an_unknown_centre_is_refused():
    with pytest.raises(InputError, match="center: expected 'median' or 'mean', got 'mode'"):
        check_assumptions(tooth_growth(), "len", ["supp", "dose"], center="mode")
