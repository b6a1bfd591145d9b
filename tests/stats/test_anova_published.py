"""Published experiments against R; published.py says which versions made the values."""

from __future__ import annotations

import pytest
from published import cars, kidney, moore, obrien_kaiser, peas, tooth_growth, warp_breaks

from minaction.errors import InputError
from minaction.stats import factorial_anova

EFFECT_SIZES = ["partial_eta_sq", "partial_eta_sq_low", "partial_eta_sq_high"]


def check(table, expected, columns, rel=1e-6):
    """Compare rows of a table with tuples of expected values, in the order of columns."""
    for effect, values in expected.items():
        assert table.loc[effect, columns].tolist() == pytest.approx(list(values), rel=rel), effect


@pytest.mark.parametrize("ss_type", [2, 3])
def test_tooth_growth_has_the_table_of_car(ss_type):
    # R: Anova(lm(len ~ supp * dose, ToothGrowth), type = 3); F and p as in rstatix's anova_test
    # and, rounded, in Kabacoff, R in Action, listing 9.6.
    table = factorial_anova(tooth_growth(), "len", ["supp", "dose"], ss_type)
    expected = {
        "supp": (205.350000, 1, 15.571979452, 2.311828098e-04),
        "dose": (2426.434333333, 2, 91.999964893, 4.046291196e-18),
        "supp:dose": (108.319000, 2, 4.106991094, 2.186026896e-02),
    }
    check(table, expected, ["sum_sq", "df", "F", "p"], rel=1e-8)
    check(table, {"Residual": (712.106, 54)}, ["sum_sq", "df"])
    assert list(table.index) == ["supp", "dose", "supp:dose", "Residual"]
    assert table.attrs["balanced"]


@pytest.mark.parametrize("ss_type", [2, 3])
def test_tooth_growth_has_the_effect_sizes_of_effectsize(ss_type):
    # R: eta_squared(Anova(m, type = 3), ci = 0.95, alternative = "two.sided"); rstatix's
    # anova_test(effect.size = "pes") prints .224, .773, .132.
    table = factorial_anova(tooth_growth(), "len", ["supp", "dose"], ss_type)
    expected = {
        "supp": (0.2238254478, 0.058648730038, 0.4020763090),
        "dose": (0.7731091768, 0.661661869989, 0.8382109912),
        "supp:dose": (0.1320279124, 0.001465562343, 0.2949720238),
    }
    check(table, expected, EFFECT_SIZES, rel=2e-3)
    check(table, {name: e[:1] for name, e in expected.items()}, EFFECT_SIZES[:1], rel=1e-9)
    omega = {"supp": (0.19540824261,), "dose": (0.75206604377,), "supp:dose": (0.09384697888,)}
    check(table, omega, ["omega_sq"], rel=1e-9)


@pytest.mark.parametrize("ss_type", [2, 3])
def test_tooth_growth_has_the_hc3_tests_of_car(ss_type):
    # R: Anova(m, type = 3, white.adjust = "hc3").
    table = factorial_anova(tooth_growth(), "len", ["supp", "dose"], ss_type)
    expected = {
        "supp": (4.416011677e-04,),
        "dose": (1.675564759e-16,),
        "supp:dose": (3.647085199e-02,),
    }
    check(table, expected, ["p_hc3"], rel=1e-8)


def test_the_unbalanced_moore_data_have_the_type_ii_table_of_car():
    # Printed on the help page of car's Anova.
    table = factorial_anova(moore(), "conformity", ["partner", "authoritarianism"], 2)
    expected = {
        "partner": (212.21377778, 1, 10.1206921895, 0.002874229911),
        "authoritarianism": (11.61470004, 2, 0.2769584644, 0.759564473545),
        "partner:authoritarianism": (175.48892785, 2, 4.1846232606, 0.022572441792),
    }
    check(table, expected, ["sum_sq", "df", "F", "p"], rel=1e-8)
    check(table, {"Residual": (817.76396104, 39)}, ["sum_sq", "df"], rel=1e-9)
    check(
        table,
        {
            "partner": (0.20603724700, 0.029048681580, 0.4136847175),
            "authoritarianism": (0.01400409799, 0.0, 0.1178362726),
            "partner:authoritarianism": (0.17668101428, 0.001578601249, 0.3720604929),
        },
        EFFECT_SIZES,
        rel=2e-3,
    )
    assert not table.attrs["balanced"]


def test_the_unbalanced_moore_data_have_the_type_iii_table_of_car():
    # Printed on the help page of car's Anova; HC3 from Anova(m, type = 3, white.adjust = "hc3").
    table = factorial_anova(moore(), "conformity", ["partner", "authoritarianism"], 3)
    expected = {
        "partner": (239.56236979, 11.424974525, 1.657112680e-03, 3.749019682e-03),
        "authoritarianism": (36.01870563, 0.858884462, 4.314916102e-01, 4.104971770e-01),
        "partner:authoritarianism": (175.48892785, 4.184623261, 2.257244179e-02, 7.121750494e-02),
    }
    check(table, expected, ["sum_sq", "F", "p", "p_hc3"], rel=1e-7)
    check(
        table,
        {
            "partner": (0.22657372923, 0.039310602281, 0.4331325082),
            "authoritarianism": (0.04218720646, 0.0, 0.1904547168),
            "partner:authoritarianism": (0.17668101428, 0.001578601249, 0.3720604929),
        },
        EFFECT_SIZES,
        rel=2e-3,
    )


def test_the_unbalanced_kidney_data_have_the_published_tables():
    # statsmodels/stats/tests/test_anova.py, results of R: TestAnova2, TestAnova3, TestAnova3HC3.
    second = factorial_anova(kidney(), "log_days", ["duration", "weight"], 2)
    third = factorial_anova(kidney(), "log_days", ["duration", "weight"], 3)
    columns = ["sum_sq", "F", "p"]
    interaction = (0.1905093, 0.1760025, 0.8391231)
    expected = {
        "duration": (3.067066, 5.667033, 0.02106078),
        "weight": (13.27205, 12.26141, 4.487909e-05),
        "duration:weight": interaction,
    }
    check(second, expected, columns)
    expected = {
        "duration": (2.904723, 5.367071, 0.02457384),
        "weight": (13.45718, 12.43245, 3.999431e-05),
        "duration:weight": interaction,
    }
    check(third, expected, columns)
    hc3 = {"duration": (0.03883841,), "weight": (0.0001228716,), "duration:weight": (0.8768817,)}
    check(third, hc3, ["p_hc3"])


def test_the_unbalanced_obrien_kaiser_data_have_the_published_effect_sizes():
    # Type III: partial eta squared in effectsize's tests/testthat/test-eta_squared.R ("car MLM");
    # F 3.94, 3.66, 2.86 in the manual of afex. Type II and the limits from R.
    third = factorial_anova(obrien_kaiser(), "value", ["treatment", "gender"], 3)
    expected = {
        "treatment": (3.940494501, 5.470692693e-02, 0.4407468, 0.0, 0.7093069097),
        "gender": (3.659120501, 8.480025386e-02, 0.2678884, 0.0, 0.6154226644),
        "treatment:gender": (2.855472674, 1.044692340e-01, 0.3635011, 0.0, 0.6610504716),
    }
    check(third, expected, ["F", "p", *EFFECT_SIZES], rel=1e-3)
    check(third, {name: e[2:3] for name, e in expected.items()}, EFFECT_SIZES[:1], rel=1e-6)
    second = factorial_anova(obrien_kaiser(), "value", ["treatment", "gender"], 2)
    expected = {
        "treatment": (14.085766423, 4.632347058, 0.0376868129),
        "gender": (3.885766423, 2.555802520, 0.1409735495),
        "treatment:gender": (8.682752095, 2.855472674, 0.1044692340),
    }
    check(second, expected, ["sum_sq", "F", "p"], rel=1e-8)


def test_warp_breaks():
    # R: Anova(lm(breaks ~ wool * tension, warpbreaks), type = 3); F as in example(warpbreaks).
    table = factorial_anova(warp_breaks(), "breaks", ["wool", "tension"])
    expected = {
        "wool": (450.6666667, 3.765288361, 5.821297596e-02, 7.354573008e-02),
        "tension": (2034.2592593, 8.498046648, 6.926209367e-04, 3.553467600e-03),
        "wool:tension": (1002.7777778, 4.189068967, 2.104419073e-02, 4.227938760e-02),
    }
    check(table, expected, ["sum_sq", "F", "p", "p_hc3"], rel=1e-8)
    expected = {
        "wool": (0.07273770668, 0.0, 0.2433022162),
        "tension": (0.26149407502, 0.062286045641, 0.4393795588),
        "wool:tension": (0.14860614843, 0.002144243005, 0.3236087222),
    }
    check(table, expected, EFFECT_SIZES, rel=2e-3)


def test_three_unbalanced_factors():
    # R: the first five and the last four runs of each cell of warpbreaks as a third factor.
    frame = warp_breaks()
    frame["run"] = ([1] * 5 + [2] * 4) * 6
    second = factorial_anova(frame, "breaks", ["wool", "tension", "run"], 2)
    expected = {
        "wool": (450.66666667, 3.7578669420),
        "tension": (2034.25925926, 8.4812969176),
        "run": (461.51481481, 3.8483238147),
        "wool:tension": (1002.77777778, 4.1808122721),
        "wool:run": (70.53333333, 0.5881395303),
        "tension:run": (90.14074074, 0.3758175774),
        "wool:tension:run": (86.02222222, 0.3586465220),
        "Residual": (5036.9,),
    }
    check(second, {name: e[:1] for name, e in expected.items()}, ["sum_sq"], rel=1e-9)
    check(second, {name: e[1:] for name, e in list(expected.items())[:-1]}, ["F"], rel=1e-8)
    third = factorial_anova(frame, "breaks", ["wool", "tension", "run"], 3)
    expected |= {
        "wool": (485.34814815,),
        "tension": (2104.06666667,),
        "wool:tension": (929.42962963,),
    }
    check(third, {name: e[:1] for name, e in expected.items()}, ["sum_sq"], rel=1e-9)
    p_hc3 = {
        "wool": (8.363599374e-02,),
        "tension": (7.389603642e-03,),
        "run": (9.133148113e-02,),
        "wool:tension": (6.748024886e-02,),
        "wool:run": (5.030330830e-01,),
        "tension:run": (7.722674422e-01,),
        "wool:tension:run": (8.090199246e-01,),
    }
    check(third, p_hc3, ["p_hc3"], rel=1e-8)


@pytest.mark.parametrize("ss_type", [2, 3])
def test_peas_in_blocks(ss_type):
    # summary(aov(yield ~ block + N*P*K, npk)) on R's help page of npk; HC3 and limits from R.
    table = factorial_anova(peas(), "pounds", ["N", "P", "K"], ss_type, blocks="block", max_order=2)
    expected = {
        "N": (189.2816667, 1, 12.25873421365, 0.004371811826),
        "P": (8.4016667, 1, 0.54412981686, 0.474904092674),
        "K": (95.2016667, 1, 6.16568920232, 0.028795053500),
        "N:P": (21.2816667, 1, 1.37829669341, 0.263165282877),
        "N:K": (33.1350000, 1, 2.14597200734, 0.168647878500),
        "P:K": (0.4816667, 1, 0.03119490519, 0.862752085685),
        "block": (343.2950000, 5, 4.44666642680, 0.015938790208),
    }
    check(table, expected, ["sum_sq", "df", "F", "p"], rel=1e-7)
    check(table, {"Residual": (185.2866667, 12)}, ["sum_sq", "df"], rel=1e-8)
    assert list(table.index) == [*expected, "Residual"]
    p_hc3 = {"N": (2.918415524e-02,), "P:K": (9.026786169e-01,), "block": (9.155260064e-02,)}
    check(table, p_hc3, ["p_hc3"], rel=1e-7)
    check(table, {"N": (0.505332805, 0.0843506997, 0.7405937509)}, EFFECT_SIZES, rel=2e-3)


def test_unbalanced_blocks():
    # R: Anova(lm(yield ~ N * P + block, npk[-c(1, 10), ])) of types 2 and 3.
    frame = peas().drop([0, 9])
    second, third = (
        factorial_anova(frame, "pounds", ["N", "P"], ss_type, blocks="block") for ss_type in (2, 3)
    )
    shared = {
        "P": (0.1102083333, 0.005795052867),
        "N:P": (8.6785714286, 0.456342807491),
        "block": (399.8151130952, 4.204672455339),
    }
    check(second, {"N": (216.75, 11.397302463623)} | shared, ["sum_sq", "F"], rel=1e-8)
    check(third, {"N": (202.7410714, 10.66067503)} | shared, ["sum_sq", "F"], rel=1e-8)
    p_hc3 = {"N": (1.843728076e-02,), "P": (9.556150172e-01,), "block": (9.575975896e-02,)}
    check(third, p_hc3, ["p_hc3"], rel=1e-7)


def test_an_interaction_confounded_with_the_blocks_is_refused():
    # R leaves N:P:K of npk out: "1 out of 13 effects not estimable".
    with pytest.raises(InputError, match="'block' is confounded with the factors"):
        factorial_anova(peas(), "pounds", ["N", "P", "K"], blocks="block")


def test_type_iii_does_not_depend_on_how_r_happens_to_code_its_factors():
    # Type II as printed at riptutorial.com/r/example/12989. Its type III, made with treatment
    # contrasts, has sums of squares 4.0124 and 1.7389, which test something else; R with
    # contr.sum has these.
    second, third = (factorial_anova(cars(), "wt", ["cyl", "am"], ss_type) for ss_type in (2, 3))
    expected = {
        "cyl": (7.22780347466, 11.5265604565, 0.0002606076468),
        "am": (3.28445308129, 10.4757820659, 0.0032895198949),
        "cyl:am": (0.06677714815, 0.1064930498, 0.8993713732501),
    }
    check(second, expected, ["sum_sq", "F", "p"], rel=1e-8)
    expected |= {
        "cyl": (5.99029713228, 9.5530436445, 7.755262375e-04),
        "am": (3.14476123504, 10.0302341158, 3.908804896e-03),
    }
    check(third, expected, ["sum_sq", "F", "p"], rel=1e-8)
