from __future__ import annotations

import csv
import io
from inspect import signature

import pytest

from minaction.report.paper.anova_table import CONVENTION
from minaction.report.paper.captions import Captioned, latex_captions, macro, markdown_captions
from minaction.report.paper.drawing import Missing
from minaction.report.paper.table import Column, PaperTable, as_csv, as_latex, bare
from minaction.report.paper.tables import BUDGET_NOTE
from minaction.stats.anova import factorial_anova


def rows_of(table: PaperTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(table))))


@pytest.fixture
def sweep(press, make):
    return press.tables(make.sweep, change=make.validated)


def test_a_sweep_has_every_table_but_gains(press, sweep):
    assert press.drawn(sweep) == [
        *("run-counts", "lambda", "anova-test-accuracy", "anova-logit-error", "posthoc-letters"),
        *("posthoc-pairs", "pareto", "pareto-points", "target-cost"),
    ]
    assert isinstance(sweep["efficiency-gains"], Missing)


def test_csv_has_every_number_in_full(press, make, sweep):
    findings, analysis = press.results(make.sweep, change=make.validated)
    written = rows_of(sweep["lambda"])
    rows = [row for table in findings["lambda_tables"] for row in table["rows"]]
    assert [float(row["lam"]) for row in written] == [row["lam"] for row in rows]
    for name in ("test_accuracy", "energy", "gauge_fixed_percent"):
        for line, row in zip(written, rows, strict=True):
            for end, key in (("", "estimate"), ("_low", "low"), ("_high", "high"), ("_n", "n")):
                value = row[name][key]
                assert line[name + end] == ("" if value is None else str(value))
    effects = rows_of(sweep["anova-test-accuracy"])
    assert [float(row["sum_sq"]) for row in effects] == [
        row["sum_sq"] for row in analysis["factorial"][0]["rows"]
    ]


def test_what_is_printed_of_a_lambda_table(press, make):
    text = as_latex(press.tables(make.small)["lambda"])
    assert r"\multicolumn{8}{l}{\emph{digits $\cdot$ mlp $\cdot$ activation}} \\" in text
    zero, chosen = text.splitlines()[-4:-2]
    assert zero.startswith("0 &  & 4 & --- & --- & --- & ")
    assert chosen.startswith("$10^{-3}$ & ")
    assert chosen.count("[") == 5


def test_a_budget_says_which_lambda_it_found(press, make):
    table = press.tables(make.budgeted)["lambda"]
    assert r"$\lambda$ found" in as_latex(table)
    assert BUDGET_NOTE in table.caption


def test_the_anova_names_its_convention(sweep):
    caption = sweep["anova-test-accuracy"].caption
    for part in ("Type III", "sum-to-zero", "nc / (nc + df_error)", "HC3", "seeds as additive"):
        assert part in caption


def test_the_convention_named_is_the_one_in_use():
    assert signature(factorial_anova).parameters["convention"].default == CONVENTION


def test_counts_add_up(sweep):
    rows = rows_of(sweep["run-counts"])
    assert rows[0]["planned"] == rows[0]["ok"] == "80"
    for part in ("modality", "data set", "model"):
        assert sum(int(row["ok"]) for row in rows if row["by"] == part) == 80


def test_models_that_differ_have_different_letters(sweep):
    letters = {(r["label"], r["model"]): r["letters"] for r in rows_of(sweep["posthoc-letters"])}
    pairs = rows_of(sweep["posthoc-pairs"])
    for row in pairs:
        one, other = letters[row["label"], row["model_a"]], letters[row["label"], row["model_b"]]
        assert (float(row["p"]) < 0.05) == (not set(one) & set(other))


def test_names_that_latex_would_run_are_text():
    table = PaperTable(
        name="t",
        caption="c",
        columns=[Column(key="name", heading="a & b"), Column(key="n", heading="n", write=str)],
        rows=[{"name": "\\input{/etc/passwd}", "n": None}, {"name": "x" * 10_000, "n": 1}],
    )
    text = as_latex(table)
    assert r"\textbackslash{}input\{/etc/passwd\} & --- \\" in text
    assert r"a \& b & n \\" in text
    assert max(map(len, text.splitlines())) < 400
    assert rows_of(table)[1]["name"] == "x" * 10_000


def test_units_stand_in_the_heading_alone():
    assert bare(lambda value: f"{value} %")(3) == "3"
    assert bare(lambda value: f"{value} pp")(3) == "3"


def test_an_open_end_is_infinite():
    table = PaperTable(
        name="t",
        caption="",
        columns=[Column(key="cost", heading="cost", write=str)],
        rows=[{"cost": {"estimate": 3, "low": 2, "high": None, "n": 5}}],
    )
    assert r"3 [2, $\infty$]" in as_latex(table)
    assert as_csv(table).splitlines() == ["cost,cost_low,cost_high,cost_n", "3,2,,5"]


MADE = [Captioned(kind="figure", name="target-cost-steps", caption="50 % of a_b")]


def test_captions_are_macros():
    assert macro(MADE[0]) == "captionFigureTargetCostSteps"
    assert r"\newcommand{\captionFigureTargetCostSteps}{50 \% of a\_b}" in latex_captions(MADE)


def test_captions_to_read_say_what_is_missing():
    text = markdown_captions(
        "<b>s</b>\n# x", "All done.", MADE, [Missing(name="pareto", reason="one point")], ["w"]
    )
    assert text.startswith(r"# Figures and tables of \<b\>s\</b\> \# x")
    assert "## Figure: target-cost-steps\n\n50 % of a\\_b\n" in text
    assert "## What this study does not allow\n\n- pareto: one point\n" in text
    assert text.endswith("## What to beware of\n\n- w\n")
