from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from minaction.errors import InputError
from minaction.stats.costs import (
    Costs,
    Curve,
    common_horizon,
    cost_to_target,
    gain,
    median_cost,
    median_interval,
    restricted_mean,
    survival,
    survival_band,
)


def costs(*values: float | str) -> Costs:
    """Costs of runs; a text such as "30+" is a censored one."""
    return Costs(
        cost=np.array([float(str(value).removesuffix("+")) for value in values]),
        reached=np.array([not str(value).endswith("+") for value in values]),
    )


def curve(*pairs: tuple[float, float]) -> Curve:
    spent, accuracy = zip(*pairs, strict=True) if pairs else ((), ())
    return Curve(spent=np.array(spent, np.float64), accuracy=np.array(accuracy, np.float64))


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# remission in weeks under 6-mercaptopurine, Freireich et al. (1963), Blood 21(6), table 1; its
# estimate is in every textbook, such as Kleinbaum and Klein, Survival Analysis, chapter 2
REMISSION = costs(
    *(6, 6, 6, "6+", 7, "9+", 10, "10+", "11+", 13, 16, "17+", "19+", "20+", 22, 23, "25+"),
    *("32+", "32+", "34+", "35+"),
)


def test_cost_is_that_of_the_first_validation_at_or_above_the_target():
    found = cost_to_target(
        [
            curve((10, 0.5), (20, 0.8), (30, 0.7), (40, 0.9)),  # a later dip changes nothing
            curve((10, 0.81), (40, 0.9)),
            curve((10, 0.5), (40, 0.79)),
        ],
        0.8,
    )
    assert found.cost.tolist() == [20, 10, 40]
    assert found.reached.tolist() == [True, True, False]
    assert (found.n, found.censored) == (3, 1)


def test_a_run_that_broke_off_is_censored_at_the_length_of_the_others():
    found = cost_to_target([curve((10, 0.1), (40, 0.2)), curve((10, 0.1)), curve()], 0.8)
    assert found.cost.tolist() == [40, 40, 40]
    assert found.censored == 3


def test_a_validation_without_an_accuracy_reaches_nothing():
    assert cost_to_target([curve((10, math.nan), (20, 0.9))], 0.8).cost.tolist() == [20]


@pytest.mark.parametrize("curves", [[], [curve()]])
def test_no_validation_at_all_is_an_error(curves):
    with pytest.raises(InputError, match="costs: expected"):
        cost_to_target(curves, 0.8)


def test_survival_by_hand():
    # 5 at risk at 1; 4 at 2; the one censored at 2 leaves 2 at 3
    points, share = survival(costs(1, 2, "2+", 3, "4+"))
    assert points.tolist() == [1, 2, 3]
    assert share.tolist() == pytest.approx([4 / 5, 4 / 5 * 3 / 4, 4 / 5 * 3 / 4 * 1 / 2])


def test_survival_of_the_textbook():
    points, share = survival(REMISSION)
    assert points.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert share.tolist() == pytest.approx(
        [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], abs=5e-5
    )
    assert median_cost(REMISSION) == 23


def test_standard_errors_as_published():
    # R's survfit for the 6-MP arm (drug6mp of KMsurv): n.risk and Greenwood's std.err
    band = survival_band(REMISSION)
    assert band["at_risk"].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert band["standard_error"].tolist() == pytest.approx(
        [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346], abs=5e-5
    )


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bands_and_medians_agree_with_statsmodels(confidence):
    model = SurvfuncRight(REMISSION.cost, REMISSION.reached)
    band = survival_band(REMISSION, confidence)
    assert band["standard_error"].to_numpy() == pytest.approx(model.surv_prob_se)
    found = median_interval(REMISSION, confidence)
    low, high = model.quantile_ci(0.5, alpha=1 - confidence, method="cloglog")
    assert (found.n, found.estimate) == (21, 23)
    assert found.low == low
    assert found.high == high if np.isfinite(high) else math.isnan(found.high)


@given(cost=st.lists(st.integers(1, 9), min_size=1, max_size=12), late=st.integers(1, 9))
def test_a_band_lies_around_its_curve_and_ends_where_nothing_is_left(cost, late):
    arm = Costs(cost=np.array(cost, np.float64), reached=np.array(cost) <= late)
    band = survival_band(arm)
    inside = band[band["share"] > 0]
    assert ((inside["low"] >= 0) & (inside["low"] < inside["share"])).all()
    assert ((inside["share"] < inside["high"]) & (inside["high"] <= 1)).all()
    spent = band[band["share"] == 0]
    assert np.isnan(spent[["standard_error", "low", "high"]].to_numpy()).all()


def test_a_median_that_is_not_reached_has_no_upper_end():
    found = median_interval(costs(1, "9+", "9+", "9+"))
    assert math.isnan(found.estimate)
    assert math.isnan(found.high)


def test_medians():
    assert median_cost(costs(3, 1, 2)) == 2
    assert median_cost(costs(1, 2, 3, 4)) == 2  # by then half have reached it
    assert median_cost(costs(1, "9+", "9+", 2)) == 2
    assert math.isnan(median_cost(costs(1, "9+", "9+")))
    assert math.isnan(median_cost(costs("9+")))


def test_restricted_means_by_hand():
    found = costs(1, 2, "2+", 3, "4+")
    assert restricted_mean(found, 4) == pytest.approx(1 + 0.8 + 0.6 + 0.3)
    assert restricted_mean(found, 2.5) == pytest.approx(1 + 0.8 + 0.5 * 0.6)
    assert restricted_mean(found, 0.5) == 0.5
    assert restricted_mean(costs(2, 4, 9)) == 5
    assert restricted_mean(costs(2, "4+"), 4) == 3


def test_nothing_is_known_beyond_the_last_censored_run():
    with pytest.raises(InputError, match=r"at most 4"):
        restricted_mean(costs(1, "4+"), 5)
    with pytest.raises(InputError, match=r"at most 4"):
        restricted_mean(costs("4+"))


@given(cost=st.lists(st.floats(0.1, 1e3), min_size=1, max_size=12), horizon=st.floats(0.1, 1e3))
def test_without_censoring_before_the_horizon_it_is_a_plain_mean(cost, horizon):
    spent = np.array(cost)
    late = Costs(cost=spent, reached=spent < horizon)
    expected = np.minimum(spent, horizon).mean()
    assert restricted_mean(late, min(horizon, spent.max())) == pytest.approx(expected)


def test_the_common_horizon_is_the_first_censoring_of_any_arm():
    assert common_horizon(costs(10, "30+", "40+"), costs(5, 90)) == 30
    assert common_horizon(costs(10, "30+"), costs("20+")) == 20
    assert common_horizon(costs(10), costs(5)) == math.inf


def test_gains_by_hand():
    half = gain([(costs(2, 4), costs(6, 6))], generator=seeded())
    assert (half.n, half.estimate) == (2, pytest.approx(0.5))
    # up to 30, where a candidate is censored: (10 + 20 + 30) / (20 + 30 + 30)
    censored = gain([(costs(10, 20, "30+"), costs(20, 40, 40))], generator=seeded())
    assert censored.estimate == pytest.approx(0.25)
    both = gain([(costs(1, 1), costs(2, 2)), (costs(1, 1), costs(8, 8))], generator=seeded())
    assert (both.estimate, both.n) == (pytest.approx(1 - math.sqrt(1 / 2 * 1 / 8)), 4)


def test_a_gain_without_spread_has_an_interval_without_width():
    found = gain([(costs(3, 3, 3), costs(4, 4, 4))], generator=seeded())
    assert (found.low, found.estimate, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_the_interval_is_that_of_all_resamples():
    # two runs an arm: means 1, 2 or 3 with chances 1/4, 1/2, 1/4, against exactly 4
    found = gain([(costs(1, 3), costs(4, 4))], generator=seeded(), confidence=0.4)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    wide = gain([(costs(1, 3), costs(4, 4))], generator=seeded(), confidence=0.95)
    assert (wide.low, wide.high) == pytest.approx((0.25, 0.75))


def test_one_run_has_no_interval():
    found = gain([(costs(1), costs(2, 3))], generator=seeded())
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_same_seed_gives_the_same_interval_whatever_the_global_state():
    arms = [(costs(*seeded(5).gamma(9, 1, 8)), costs(*seeded(6).gamma(9, 2, 8)))]
    np.random.seed(1)  # noqa: NPY002
    one = gain(arms, generator=seeded(7))
    np.random.seed(2)  # noqa: NPY002
    assert gain(arms, generator=seeded(7)) == one
    assert gain(arms, generator=seeded(8)) != one


def test_the_interval_covers_as_often_as_it_says():
    data, hits, rounds = seeded(3), 0, 300
    for _ in range(rounds):
        candidate, reference = (
            Costs(cost=data.gamma(9, mean / 9, 20), reached=np.ones(20, np.bool_))
            for mean in (60, 100)
        )
        found = gain([(candidate, reference)], generator=data, resamples=400)
        hits += found.low <= 0.4 <= found.high
    assert 0.89 < hits / rounds < 0.98


@pytest.mark.parametrize(
    ("cost", "reached"), [([], []), ([1.0, 2.0], [True]), ([0.0], [True]), ([math.nan], [False])]
)
def test_unusable_costs(cost, reached):
    with pytest.raises(InputError, match="costs: expected"):
        Costs(cost=np.array(cost), reached=np.array(reached, np.bool_))


def test_who_reached_it_is_told_by_truth_values():
    with pytest.raises(InputError, match="for each whether it reached"):
        Costs(cost=np.array([1.0, 2.0]), reached=np.array([1, 0]))


@pytest.mark.parametrize(
    ("spent", "accuracy", "message"),
    [
        ([1.0, 2.0], [0.5], "an accuracy for each cost"),
        ([2.0, 1.0], [0.5, 0.6], "ascending order"),
        ([1.0, math.nan], [0.5, 0.6], "finite costs"),
    ],
)
def test_unusable_curves(spent, accuracy, message):
    with pytest.raises(InputError, match=message):
        Curve(spent=np.array(spent), accuracy=np.array(accuracy))


def test_unusable_questions():
    with pytest.raises(InputError, match="target: expected an accuracy, got nan"):
        cost_to_target([curve((10, 0.5))], math.nan)
    with pytest.raises(InputError, match="at least one data set"):
        gain([], generator=seeded())
    with pytest.raises(InputError, match="confidence"):
        gain([(costs(1), costs(2))], generator=seeded(), confidence=1)
    with pytest.raises(InputError, match="resamples"):
        gain([(costs(1), costs(2))], generator=seeded(), resamples=0)
    with pytest.raises(InputError, match="confidence"):
        survival_band(costs(1, 2), confidence=0)
    with pytest.raises(InputError, match="horizon: expected a positive number"):
        restricted_mean(costs(1, 2), 0)
