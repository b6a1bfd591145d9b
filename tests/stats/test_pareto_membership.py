from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from minaction.errors import InputError
from minaction.stats.pareto_membership import pareto_bootstrap


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def frame_of(**configurations) -> pd.DataFrame:
    """Runs by seed: each configuration has a list of (cost, accuracy)."""
    return pd.DataFrame(
        [
            {"model": model, "seed": seed, "energy": float(energy), "accuracy": accuracy}
            for model, runs in configurations.items()
            for seed, (energy, accuracy) in enumerate(runs)
        ]
    )


def bootstrap(frame, **options):
    options = {"resamples": 2000, "reference": (10.0, 0.0), "by": ["model"]} | options
    return pareto_bootstrap(
        frame, cost="energy", accuracy="accuracy", generator=seeded(), **options
    )


def members(found) -> dict[str, float]:
    return dict(zip(found.table["model"], found.table["membership"], strict=True))


CLEAR = frame_of(cheap=[(1, 0.6), (1, 0.7)], good=[(2, 0.9), (3, 0.8)], bad=[(9, 0.1), (8, 0.2)])


def test_the_table_by_hand():
    found = bootstrap(CLEAR)
    assert found.table.columns.tolist() == [
        *("model", "n", "cost", "accuracy", "on_front", "membership")
    ]
    assert found.table["model"].tolist() == ["cheap", "good", "bad"]
    assert found.table["n"].tolist() == [2, 2, 2]
    assert found.table["cost"].tolist() == [1, 2.5, 8.5]
    assert found.table["accuracy"].tolist() == pytest.approx([0.65, 0.85, 0.15])
    assert found.table["on_front"].tolist() == [True, True, False]
    assert members(found) == {"cheap": 1, "good": 1, "bad": 0}
    # 1.5 * 0.65 + 7.5 * 0.85
    assert found.hypervolume.estimate == pytest.approx(7.35)
    assert (found.hypervolume.n, found.reference) == (3, (10.0, 0.0))
    assert found.hypervolume.low < 7.35 < found.hypervolume.high


def test_membership_is_the_share_of_resamples():
    # of equal cost the more accurate one is on the front, where equal both are; of the means
    # 0.4, 0.5, 0.6 with chances 1/4, 1/2, 1/4 against always 0.5
    found = bootstrap(frame_of(varying=[(1, 0.4), (1, 0.6)], steady=[(1, 0.5), (1, 0.5)]))
    assert members(found) == pytest.approx({"varying": 0.75, "steady": 0.75}, abs=0.03)


def test_shared_seeds_are_blocks():
    # seed 1 is better for both alike: the second never overtakes
    frame = frame_of(first=[(1, 0.4), (1, 0.8)], second=[(2, 0.3), (2, 0.7)])
    assert members(bootstrap(frame, seed="seed")) == {"first": 1, "second": 0}
    assert members(bootstrap(frame))["second"] > 0.1
    mixed = frame.sample(frac=1, random_state=3)
    assert members(bootstrap(mixed, seed="seed")) == {"first": 1, "second": 0}


def test_equal_means_are_equal_whatever_the_order_of_their_sums():
    accuracies = [0.1, 0.7, 0.8, 0.95, 0.3]  # sums differ in the last digit
    runs = {
        f"m{cost}": [(cost, accuracy) for accuracy in np.roll(accuracies, cost).tolist()]
        for cost in range(1, 6)
    }
    assert len({sum(accuracy for _, accuracy in one) for one in runs.values()}) > 1
    assert bootstrap(frame_of(**runs)).table["on_front"].tolist() == [True] + [False] * 4


@pytest.mark.parametrize("seed", [None, "seed"])
def test_rounding_puts_nothing_on_the_front(seed):
    # all have the same accuracy in every run, so that only the cheapest is not dominated
    frame = frame_of(
        **{f"m{cost}": [(cost + run / 10, 0.93) for run in range(7)] for cost in range(1, 9)}
    )
    shares = members(bootstrap(frame, seed=seed))
    assert shares.pop("m1") == 1
    assert set(shares.values()) == {0.0}


def test_configurations_may_have_different_numbers_of_runs():
    frame = pd.concat([CLEAR, frame_of(good=[(2.5, 0.85)])])
    assert bootstrap(frame).table["n"].tolist() == [2, 3, 2]


def test_configurations_are_told_apart_by_several_columns():
    frame = pd.concat([CLEAR.assign(lam=0.0), CLEAR.assign(lam=0.1, energy=CLEAR["energy"] / 2)])
    found = bootstrap(frame, by=["model", "lam"])
    assert len(found.table) == 6
    assert found.table.loc[found.table["on_front"], "lam"].unique().tolist() == [0.1]


@pytest.mark.parametrize("seed", [None, "seed"])
def test_the_same_seed_gives_the_same_frequencies_whatever_the_global_state(seed):
    generator = seeded(4)
    frame = frame_of(
        **{f"m{k}": generator.normal([k, k / 9], 1, (5, 2)).tolist() for k in range(6)}
    )
    np.random.seed(1)  # noqa: NPY002
    one = bootstrap(frame, seed=seed, resamples=300)
    np.random.seed(2)  # noqa: NPY002
    other = bootstrap(frame, seed=seed, resamples=300)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert one.hypervolume == other.hypervolume


def test_unit_and_origin_of_the_cost_do_not_matter():
    frame = frame_of(
        **{f"m{k}": seeded(k).normal([k, k / 9], 1, (5, 2)).tolist() for k in range(6)}
    )
    moved = frame.assign(energy=(frame["energy"] + 3) * 4)
    one, other = bootstrap(frame), bootstrap(moved, reference=(52.0, 0.0))
    assert members(one) == members(other)
    assert other.hypervolume.estimate == pytest.approx(4 * one.hypervolume.estimate)
    assert other.hypervolume.low == pytest.approx(4 * one.hypervolume.low)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (CLEAR.iloc[:0], {}, "frame: expected one row per run, got none"),
        (CLEAR, {"by": []}, "by: expected columns other than n, cost.* got none"),
        (CLEAR, {"by": ["network"]}, "frame: there is no column 'network'"),
        (CLEAR.drop(columns="energy"), {}, "frame: there is no column 'energy'"),
        (CLEAR, {"seed": "run"}, "frame: there is no column 'run'"),
        (CLEAR.rename(columns={"model": "cost"}), {"by": ["cost"]}, "other than n, cost"),
        (CLEAR.iloc[:-1], {}, "bad: expected 2 or more runs"),
        (CLEAR.assign(accuracy=math.nan), {}, "cheap, energy and accuracy: expected finite"),
        (CLEAR.assign(seed=0), {"seed": "seed"}, "cheap: expected one run per seed"),
        (
            pd.concat([CLEAR, frame_of(good=[(1, 0.5)] * 3).iloc[2:]]),
            {"seed": "seed"},
            "good: expected the same seeds as cheap has",
        ),
        (CLEAR, {"reference": (1.0,)}, "reference: expected a cost and an accuracy"),
        (CLEAR, {"resamples": 0}, "resamples: expected 1 or more"),
        (CLEAR, {"confidence": 1.0}, "confidence: expected a number between 0 and 1"),
    ],
)
def test_runs_that_cannot_be_used_are_refused_in_one_line(frame, options, message):
    with pytest.raises(InputError, match=message) as caught:
        bootstrap(frame, **options)
    assert "\n" not in str(caught.value)
