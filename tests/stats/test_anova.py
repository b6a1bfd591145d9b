from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import moore, tooth_growth
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from minaction.errors import InputError, UnknownNameError
from minaction.stats.anova import COLUMNS, factorial_anova


def crossed(levels, rows, seed=0, drop=0):
    """A table with every cell `rows` times, less some rows of cells that keep others."""
    generator = np.random.default_rng(seed)
    grid = pd.MultiIndex.from_product(
        [range(k) for k in levels], names=list("abcde")[: len(levels)]
    )
    frame = grid.repeat(rows).to_frame(index=False)
    frame["seed"] = np.tile(np.arange(rows), len(grid))
    frame["y"] = generator.normal(size=len(frame)) + frame["a"] * frame["b"] / 2
    spare = frame.index[frame["seed"] > 0].to_numpy()
    gone = generator.choice(spare, size=min(drop, len(spare)), replace=False)
    return frame.drop(gone).sample(frac=1, random_state=seed)


@settings(max_examples=25)
@given(
    levels=st.lists(st.integers(2, 3), min_size=2, max_size=3),
    rows=st.integers(2, 4),
    drop=st.integers(0, 7),
    seed=st.integers(0, 10_000),
    ss_type=st.sampled_from([2, 3]),
)
def test_parity_with_statsmodels_on_random_designs(levels, rows, drop, seed, ss_type):
    frame = crossed(levels, rows, seed, drop)
    factors = list("abc")[: len(levels)]
    fit = ols("y ~ " + " * ".join(f"C({name}, Sum)" for name in factors), frame).fit()
    if fit.df_resid < 1:
        return
    expected = anova_lm(fit, typ=ss_type)
    expected.index = [re.sub(r"C\((.), Sum\)", r"\1", name) for name in expected.index]
    table = factorial_anova(frame, "y", factors, ss_type)
    expected = expected.reindex(table.index)
    for ours, theirs in {"sum_sq": "sum_sq", "df": "df", "F": "F", "p": "PR(>F)"}.items():
        np.testing.assert_allclose(table[ours], expected[theirs], rtol=1e-7, atol=1e-9)


@settings(max_examples=10)
@given(drop=st.integers(0, 6), seed=st.integers(0, 10_000))
def test_parity_of_hc3_and_blocks_with_statsmodels(drop, seed):
    frame = crossed([2, 3], 4, seed, drop)
    fit = ols("y ~ C(a, Sum) * C(b, Sum) + C(seed, Sum)", frame).fit()
    # where a row determines its own fit, statsmodels divides 0 by 0
    assume(fit.get_influence().hat_matrix_diag.max() < 1 - 1e-9)
    expected = anova_lm(fit, typ=3, robust="hc3")
    table = factorial_anova(frame, "y", ["a", "b"], blocks="seed")
    names = {"a": "C(a, Sum)", "b": "C(b, Sum)", "a:b": "C(a, Sum):C(b, Sum)"}
    for ours, theirs in {**names, "seed": "C(seed, Sum)"}.items():
        assert table.loc[ours, "p_hc3"] == pytest.approx(expected.loc[theirs, "PR(>F)"], rel=1e-6)


def test_columns_and_attributes_are_those_promised():
    table = factorial_anova(tooth_growth(), "len", ["supp", "dose"])
    assert tuple(table.columns) == COLUMNS
    assert table.index.name == "effect"
    assert table.loc["Residual", "F":].isna().all()
    assert json.loads(json.dumps(table.attrs)) == {
        "response": "len",
        "factors": ["supp", "dose"],
        "blocks": None,
        "ss_type": 3,
        "max_order": 2,
        "n": 60,
        "balanced": True,
        "confidence": 0.95,
        "convention": "effectsize",
        "partial_eta_sq_interval": "nc / (nc + df_error)",
        "omega_sq_interval": "nc / (nc + n)",
        "permutations": 0,
        "notes": [],
    }


def test_one_factor_is_the_one_way_analysis():
    frame = tooth_growth()
    fit = anova_lm(ols("len ~ C(dose)", frame).fit())
    table = factorial_anova(frame, "len", "dose")
    assert table.loc["dose", "F"] == pytest.approx(fit.loc["C(dose)", "F"])
    assert list(table.index) == ["dose", "Residual"]


@pytest.mark.parametrize("ss_type", [2, 3])
def test_order_of_rows_names_of_levels_and_units_do_not_matter(ss_type):
    frame = moore()
    table = factorial_anova(frame, "conformity", ["partner", "authoritarianism"], ss_type)
    kinds = pd.CategoricalDtype(["none", "high", "medium", "low"])
    other = frame.sample(frac=1, random_state=1).assign(
        partner=frame["partner"].map({"low": 7.5, "high": "x"}),
        authoritarianism=frame["authoritarianism"].astype(kinds),
        conformity=1 - 1e-3 * frame["conformity"],
    )
    again = factorial_anova(other, "conformity", ["authoritarianism", "partner"], ss_type)
    again.index = ["authoritarianism", "partner", "partner:authoritarianism", "Residual"]
    again = again.reindex(table.index)
    np.testing.assert_allclose(
        again.drop(columns="sum_sq"), table.drop(columns="sum_sq"), rtol=1e-6
    )


def test_a_large_offset_does_not_cost_digits():
    frame = moore()
    factors = ["partner", "authoritarianism"]
    table = factorial_anova(frame, "conformity", factors)
    again = factorial_anova(
        frame.assign(conformity=frame["conformity"] + 2.0**30), "conformity", factors
    )
    np.testing.assert_allclose(again, table, rtol=1e-10)


def test_shared_seeds_as_blocks_take_their_variance_out_of_the_error():
    frame = crossed([2, 2], 8)
    frame["y"] += 20 * np.random.default_rng(3).normal(size=8)[frame["seed"]]
    plain = factorial_anova(frame, "y", ["a", "b"])
    blocked = factorial_anova(frame, "y", ["a", "b"], blocks="seed")
    assert blocked.loc["a", "sum_sq"] == pytest.approx(plain.loc["a", "sum_sq"])
    assert blocked.loc["Residual", "sum_sq"] < 0.01 * plain.loc["Residual", "sum_sq"]
    assert blocked.loc["Residual", "df"] == plain.loc["Residual", "df"] - 7


def test_a_study_with_one_run_per_cell_and_seed_is_analysed():
    frame = crossed([3, 2], 5)
    table = factorial_anova(frame, "y", ["a", "b"], blocks="seed")
    assert table.loc["Residual", "df"] == 20
    assert table["p_hc3"].drop("Residual").notna().all()


def test_hc3_says_why_it_is_missing_where_a_row_is_alone_in_its_cell():
    frame = crossed([2, 2], 2, drop=1)
    table = factorial_anova(frame, "y", ["a", "b"])
    assert table["p_hc3"].isna().all()
    assert table["p"].drop("Residual").notna().all()
    assert table.attrs["notes"] == [
        "p_hc3: not defined where a row is alone in its cell or block; add replicates"
    ]


def test_hc3_says_why_it_is_missing_where_cells_do_not_vary():
    frame = crossed([2, 3], 4)
    frame.loc[frame["b"] < 2, "y"] = frame["b"].astype(float)
    table = factorial_anova(frame, "y", ["a", "b"])
    assert np.isnan(table.loc["b", "p_hc3"])
    assert table.attrs["notes"] == ["p_hc3: not defined for b, a:b; some cells show no variation"]


def test_leaving_out_interactions_gives_them_to_the_error():
    frame = crossed([2, 2, 2], 3)
    full = factorial_anova(frame, "y", ["a", "b", "c"])
    main = factorial_anova(frame, "y", ["a", "b", "c"], max_order=1)
    assert list(main.index) == ["a", "b", "c", "Residual"]
    interactions = [name for name in full.index if ":" in name]
    pooled = full.loc[[*interactions, "Residual"], "sum_sq"].sum()
    assert main.loc["Residual", "sum_sq"] == pytest.approx(pooled)


FRAME = crossed([2, 3], 3)


def without_cells():
    frame = FRAME.assign(lam=FRAME["b"].map({0: 0.0, 1: 1e-4, 2: 0.1}))
    frame["model"] = frame["a"].map({0: "mlp", 1: "cnn"})
    return frame[~((frame["model"] == "mlp") & (frame["lam"] > 0))]


BAD = {
    "missing column": (FRAME, {"factors": ["a", "bb"]}, "unknown column 'bb'"),
    "no table": ([1, 2], {}, "frame: expected a pandas DataFrame, got list"),
    "no factors": (FRAME, {"factors": []}, "factors: expected one or more"),
    "factor twice": (FRAME, {"factors": ["a", "a"]}, "'a': expected each column in one role"),
    "response as factor": (FRAME, {"factors": ["a", "y"]}, "'y': expected each column in one"),
    "names that are no text": (
        FRAME.rename(columns={"a": 0}),
        {"factors": [0, "b"]},
        "0: expected column names that are text",
    ),
    "levels that are lists": (
        FRAME.assign(b=[[1], [2], [3]] * 6),
        {},
        "b: expected levels such as words or numbers",
    ),
    "fraction of an order": (FRAME, {"max_order": 1.5}, "max_order: expected a number from 1 to 2"),
    "no rows": (FRAME.iloc[:0], {}, "frame: has no rows"),
    "two columns of a name": (
        pd.concat([FRAME, FRAME[["y"]]], axis=1),
        {},
        "frame: has more than one column named 'y'",
    ),
    "NaN": (
        FRAME.assign(y=FRAME["y"].where(FRAME["b"] != 0)),
        {},
        r"y: 6 of 18 values are missing or infinite \(rows \d+, .*, …\)",
    ),
    "infinite": (FRAME.assign(y=FRAME["y"].where(FRAME["b"] != 0, np.inf)), {}, "y: 6 of 18"),
    "words": (FRAME.assign(y="good"), {}, "y: expected numbers, got a column of type"),
    "truth values": (FRAME.assign(y=FRAME["y"] > 0), {}, "y: expected numbers, got a column of"),
    "constant": (FRAME.assign(y=0.1), {}, "y: is constant, 0.1 in every row"),
    "huge": (FRAME.assign(y=FRAME["y"] * 1e200), {}, "y: squares of its values leave the range"),
    "constant in cells": (
        FRAME.assign(y=FRAME["a"] / 3 + FRAME["b"] / 7),
        {},
        "y: does not vary within the cells",
    ),
    "one level": (FRAME.assign(b="x"), {}, "b: has the one level x; expected two or more"),
    "missing level": (FRAME.assign(b=FRAME["b"].where(FRAME["b"] > 0)), {}, "b: 6 of 18 rows have"),
    "no error left": (crossed([2, 3], 1), {}, "y: 6 rows for 6 parameters leave no degrees"),
    "measurements as factor": (
        pd.DataFrame({"a": range(9000), "b": range(9000), "y": np.arange(9000.0)}),
        {"factors": ["a"]},
        "too large .levels: a 9000.; expected categories, not measurements",
    ),
    "type": (FRAME, {"ss_type": 1}, "ss_type: expected 2 or 3, got 1"),
    "order": (FRAME, {"max_order": 3}, "max_order: expected a number from 1 to 2, got 3"),
    "confidence": (FRAME, {"confidence": 95}, "confidence: expected a number between 0 and 1"),
    "convention": (FRAME, {"convention": "effectsiz"}, "did you mean 'effectsize'"),
    "no generator": (FRAME, {"permutations": 9}, "generator: expected a numpy Generator"),
    "legacy generator": (
        FRAME,
        {"permutations": 9, "generator": np.random.RandomState(0)},
        "generator: expected a numpy Generator",
    ),
    "permutations": (
        FRAME,
        {"permutations": -1},
        "permutations: expected a whole number, 1 or more, got -1",
    ),
    "empty cells": (
        without_cells(),
        {"factors": ["model", "lam"]},
        r"2 of 6 cells have no row: \(model=mlp, lam=0.0001\), \(model=mlp, lam=0.1\)",
    ),
    "blocks with one level": (
        FRAME.assign(seed=0),
        {"blocks": "seed"},
        "seed: has the one level 0",
    ),
    "blocks within cells": (
        FRAME.assign(seed=FRAME["a"] * 10 + FRAME["seed"]),
        {"blocks": "seed"},
        "blocks: 'seed' is confounded with the factors",
    ),
    "reserved name": (
        FRAME.rename(columns={"a": "Residual"}),
        {"factors": ["Residual", "b"]},
        "'Residual': is the error's name",
    ),
    "ambiguous names": (
        FRAME.assign(**{"a:b": FRAME["seed"]}),
        {"factors": ["a", "b", "a:b"], "max_order": 2},
        "two effects would be named 'a:b'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_line(case):
    frame, options, message = BAD[case]
    with pytest.raises(InputError, match=message) as raised:
        factorial_anova(frame, "y", **{"factors": ["a", "b"]} | options)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_a_missing_column_is_an_unknown_name():
    with pytest.raises(UnknownNameError, match="unknown column 'suppp'; did you mean 'supp'"):
        factorial_anova(tooth_growth(), "len", ["suppp", "dose"])


def test_many_empty_cells_are_counted_and_the_first_named():
    frame = pd.DataFrame({"a": range(200), "b": range(200), "c": range(200), "y": range(200)})
    with pytest.raises(InputError, match=r"7999800 of 8000000 cells .*a=0, b=0, c=1.*…; add"):
        factorial_anova(frame, "y", ["a", "b", "c"])
