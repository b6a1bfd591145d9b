from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minaction.errors import InputError
from minaction.stats.equivalence import noninferiority_test
from minaction.stats.lambda_selection import COLUMNS, select_lambda

# Student (1908), R's data set `sleep`: differences of the two drugs, ten patients.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def frame_of(cells, status=None):
    """Rows of one group: `cells` maps lambda to the validation accuracies of seeds 0, 1, …"""
    rows = [
        {"dataset": "d", "lam": lam, "seed": seed, "status": "ok", "val_accuracy": accuracy}
        for lam, accuracies in cells.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    for row in rows:
        row["status"] = (status or {}).get((row["lam"], row["seed"]), "ok")
    return pd.DataFrame(rows)


def select(cells, status=None, margin=0.005, alpha=0.05):
    table = select_lambda(frame_of(cells, status), by=["dataset"], margin=margin, alpha=alpha)
    return table.set_index("lam")


def chosen(table):
    return table.index[table["selected"].astype(bool)].tolist()


def test_bound_of_the_sleep_data():
    # mean 1.58, s 1.229995; t(0.95; 9) = 1.8331129 by table: 1.58 - 1.8331129 * 0.3889587.
    reference = np.linspace(0.5, 0.6, 10)
    table = select({0.0: reference, 1e-3: reference + np.array(SLEEP)})
    assert table.loc[1e-3, "difference"] == pytest.approx(1.58)
    assert table.loc[1e-3, "lower"] == pytest.approx(0.8669947, abs=1e-6)


def test_largest_and_not_most_accurate_is_chosen():
    table = select(
        {0.0: [0.99, 0.98, 0.985], 1e-4: [0.995, 0.985, 0.99], 1e-3: [0.989, 0.979, 0.984]}
    )
    assert chosen(table) == [1e-3]
    assert table["eligible"].all()


def test_a_loss_within_the_margin_that_is_not_shown_is_not_enough():
    table = select({0.0: [0.99, 0.98, 0.985], 1e-3: [0.999, 0.965, 0.984]})
    assert table.loc[1e-3, "difference"] > -0.005
    assert not table.loc[1e-3, "eligible"]
    assert table.loc[1e-3, "reason"] == "not shown non-inferior"
    assert chosen(table) == [0.0]


@pytest.mark.parametrize("status", ["collapsed", "diverged", "failed", "missing"])
def test_a_lambda_with_a_run_that_is_not_ok_is_not_eligible(status):
    accuracies = [0.99, 0.98, 0.985]
    table = select({0.0: accuracies, 1e-4: accuracies, 1e-2: accuracies}, {(1e-2, 1): status})
    assert chosen(table) == [1e-4]
    assert table.loc[1e-2, "reason"] == f"1 run {status}"
    assert table.loc[1e-2, "n"] == 2


def test_a_broken_reference_makes_the_choice_impossible():
    table = select({0.0: [0.99, 0.98], 1e-4: [0.99, 0.98]}, {(0.0, 0): "diverged"})
    assert chosen(table) == []
    assert set(table["reason"]) == {"λ = 0: 1 run diverged"}


def test_one_seed_gives_no_choice():
    table = select({0.0: [0.99], 1e-4: [0.99]})
    assert chosen(table) == []
    assert set(table["reason"]) == {"1 seed: no test is possible"}
    assert table["p"].isna().all()


def test_no_lambda_zero_gives_no_choice():
    table = select({1e-5: [0.99, 0.98], 1e-4: [0.99, 0.98]})
    assert chosen(table) == []
    assert set(table["reason"]) == {"the design has no λ = 0 to compare with"}


def test_a_missing_accuracy_is_a_defect():
    table = select({0.0: [0.99, 0.98], 1e-4: [0.99, np.nan]})
    assert table.loc[1e-4, "reason"] == "1 without a validation accuracy"
    assert chosen(table) == [0.0]


def test_differences_without_spread():
    table = select({0.0: [0.5, 0.5], 1e-4: [0.5, 0.5], 1e-3: [0.25, 0.25]})
    assert (table.loc[1e-4, "p"], table.loc[1e-3, "p"]) == (0.0, 1.0)
    assert chosen(table) == [1e-4]


def test_groups_are_chosen_apart_and_keep_their_order():
    first = frame_of({0.0: [0.9, 0.8], 1e-3: [0.9, 0.8]}).assign(dataset="z")
    second = frame_of({0.0: [0.9, 0.8], 1e-3: [0.5, 0.4]}).assign(dataset="a")
    table = select_lambda(pd.concat([first, second]), by=["dataset"], margin=0.005)
    picks = table[table["selected"].astype(bool)]
    assert picks["dataset"].tolist() == ["z", "a"]
    assert picks["lam"].tolist() == [1e-3, 0.0]
    assert table.columns.tolist() == ["dataset", *COLUMNS]


def test_an_empty_table_gives_an_empty_table():
    empty = frame_of({0.0: [0.9]}).iloc[:0]
    assert select_lambda(empty, by=["dataset"], margin=0.005).empty


@pytest.mark.parametrize("bad", [{"margin": 0}, {"margin": 1}, {"alpha": 0.5}, {"rule": "best"}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        select_lambda(frame_of({0.0: [0.9]}), by=["dataset"], **({"margin": 0.005} | bad))


@pytest.mark.parametrize("column", ["dataset", "lam", "seed", "status", "val_accuracy"])
def test_a_missing_column_is_named(column):
    with pytest.raises(InputError, match=f"frame: there is no column '{column}'"):
        select_lambda(frame_of({0.0: [0.9]}).drop(columns=column), by=["dataset"], margin=0.005)


def test_something_has_to_tell_the_groups_apart():
    with pytest.raises(InputError, match="by: expected one or more columns"):
        select_lambda(frame_of({0.0: [0.9]}), by=[], margin=0.005)


def test_a_lambda_is_eligible_where_the_test_of_non_inferiority_says_so():
    reference, treatment = np.array([0.9, 0.91, 0.92, 0.93]), np.array([0.9, 0.9, 0.92, 0.925])
    row = select({0.0: reference, 1e-3: treatment}, margin=0.01).loc[1e-3]
    found = noninferiority_test(treatment, reference, margin=0.01, paired=True)
    assert (row["difference"], row["lower"], row["p"]) == (found.difference, found.lower, found.p)
    assert row["eligible"] == found.non_inferior


accuracy = st.floats(0.01, 1.0)


@given(
    st.lists(st.tuples(accuracy, accuracy), min_size=2, max_size=12),
    st.floats(0.001, 0.2),
    st.floats(0.01, 0.2),
)
def test_equals_the_one_sided_test_of_scipy(pairs, margin, alpha):
    reference, treatment = (np.array(column) for column in zip(*pairs, strict=True))
    differences = treatment - reference
    if differences.std() < 1e-6:
        return
    row = select({0.0: reference, 1e-3: treatment}, margin=margin, alpha=alpha).loc[1e-3]
    oracle = stats.ttest_1samp(differences, -margin, alternative="greater")
    assert row["p"] == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-12)
    assert row["lower"] == pytest.approx(oracle.confidence_interval(1 - alpha).low, abs=1e-9)
    if abs(row["p"] - alpha) > 1e-9:
        assert row["eligible"] == (oracle.pvalue < alpha)


@given(st.lists(accuracy, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(accuracies, random):
    frame = frame_of({0.0: accuracies, 1e-3: [a * 0.999 for a in accuracies]})
    rows = list(range(len(frame)))
    random.shuffle(rows)
    shuffled = select_lambda(frame.iloc[rows], by=["dataset"], margin=0.005)
    pd.testing.assert_frame_equal(shuffled, select_lambda(frame, by=["dataset"], margin=0.005))
