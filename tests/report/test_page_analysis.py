"""The analysis on the page: the same numbers as `minaction analyse`, or why there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minaction.report.analysis.analyse import compute_analysis
from minaction.report.page import render_page
from minaction.report.tables import compute_findings
from minaction.report.verify import parse_page

SHARED = ("findings", "crossing", "factorial", "efficiency", "posthoc")


@pytest.fixture(scope="module")
def sweep(make_once):
    study = make_once.study(make_once.sweep, seeds=4)
    records = make_once.records(study)
    findings = compute_findings(study, records)
    return study, records, findings, render_page(study, findings, records)


def page_of(make, text, change=None, seeds=3):
    study = make.study(text, seeds=seeds)
    records = make.records(study, change)
    return render_page(study, compute_findings(study, records), records)


def cells_of(page):
    return dict(parse_page(page).cells)


def test_the_page_holds_the_analysis_that_the_command_prints(sweep):
    study, records, findings, page = sweep
    analysis = compute_analysis(study, records)
    assert list(findings["analysis"]) == list(SHARED)
    assert findings["analysis"] == {name: analysis[name] for name in SHARED}
    assert findings["warnings"] == analysis["warnings"]
    assert parse_page(page).findings["analysis"] == findings["analysis"]


def test_verdicts_are_above_everything_but_the_progress_with_the_numbers_that_decide(sweep):
    _, _, findings, page = sweep
    cells = cells_of(page)
    order = ["headlines.0", "analysis.findings.0.verdict", "headlines.1", "warnings.0"]
    places = [page.index(f'data-path="{path}"') for path in order]
    assert places == sorted(places)
    assert places[-1] < page.index("<figure")
    for index, found in enumerate(findings["analysis"]["findings"]):
        at = f"analysis.findings.{index}"
        assert cells[f"{at}.verdict"] == found["verdict"]
        assert cells[f"{at}.claim"] == found["claim"]
        shown = [text for path, text in cells.items() if path.startswith(f"{at}.because.")]
        assert shown == [" ".join(reason.split()) for reason in found["because"]]
        assert (f"{at}.rule" in cells) == bool(found["numbers"])
    assert cells["analysis.findings.2.verdict"] == "not tested by this study"


def test_effects_have_their_tests_sizes_and_intervals(sweep):
    _, _, findings, page = sweep
    cells = cells_of(page)
    rows = findings["analysis"]["factorial"][1]["rows"]
    at = "analysis.factorial.1.rows"
    assert [cells[f"{at}.{i}.effect"] for i in range(3)] == ["data set", "model", "\u03bb"]
    assert cells[f"{at}.3.effect"] == "data set \u00d7 model"
    row = rows[1]
    assert cells[f"{at}.1.partial_eta_sq"] == (
        f"{row['partial_eta_sq']:.3f} {row['partial_eta_sq_low']:.3f} to "
        f"{row['partial_eta_sq_high']:.3f}"
    )
    last = len(rows) - 1
    assert cells[f"{at}.{last}.effect"] == "residual"
    assert cells[f"{at}.{last}.F"] == cells[f"{at}.{last}.p"] == "—"
    assert "2 dataset \u00d7 2 model \u00d7 5 lam; type III" in cells["analysis.crossing"]


def test_letters_and_pairs_stand_for_every_data_set(sweep):
    _, _, findings, page = sweep
    cells = cells_of(page)
    for index, display in enumerate(findings["analysis"]["posthoc"]):
        for number, model in enumerate(display["models"]):
            at = f"analysis.posthoc.{index}.models.{number}"
            assert cells[f"{at}.letters"] == model["letters"].strip()
            assert cells[f"{at}.model"] == model["model"]
        assert cells[f"analysis.posthoc.{index}.pairs.0.difference_pp"].count("pp") == 3


def test_a_study_of_one_network_has_no_letters_and_says_why_there_is_no_table(make):
    text = make.small.replace("[0, 1e-3]", "[0]")
    page = page_of(make, text)
    assert "Which networks differ" not in page
    assert cells_of(page)["analysis.factorial.0.reason"].startswith(
        "No analysis of variance: there is one cell only"
    )


@pytest.mark.parametrize(
    ("change", "seeds", "says"),
    [
        (None, 1, "there is one seed only"),
        ("failed", 3, "no ok run has a test accuracy"),
        ("constant", 3, "constant"),
    ],
)
def test_what_cannot_be_computed_is_said(make, change, seeds, says):
    def changed(record):
        if change == "failed":
            return make.ended(record, "failed", "no luck")
        if change == "constant":
            return replace(record, metrics=record.metrics | {"test_accuracy": 0.5})
        return record

    page = page_of(make, make.sweep, changed, seeds)
    assert says in cells_of(page)["analysis.factorial.0.reason"]
    assert "What explains the accuracy: effect sizes" not in page


def test_before_the_first_run_there_are_no_verdicts(make):
    study = make.study(make.sweep)
    page = render_page(study, compute_findings(study, []), [])
    assert not any(path.startswith("analysis") for path in cells_of(page))
    assert "verdicts" not in page.split("<body>")[1].split("<script")[0]


def test_collapsed_runs_have_a_table_beside(make):
    def collapse(record):
        lost = record.config["seed"] == 1 and record.config["lam"] == 1e-2
        return make.ended(record, "collapsed") if lost else record

    cells = cells_of(page_of(make, make.sweep, collapse, seeds=4))
    assert cells["analysis.factorial.0.with_collapsed.collapsed"] == (
        "The same with 4 collapsed runs"
    )
    assert cells["analysis.factorial.0.with_collapsed.rows.0.effect"] == "data set"


def efficient(make):
    def change(record):
        fast = record.config["model"] == "lagrangian"
        return make.validated(record, reached=1 if fast else 2)

    text = make.sweep.replace('"cnn"]', '"lagrangian"]').replace("[0, 1e-5, 1e-4, 1e-3, 1e-2]", "0")
    return page_of(make, text, change, seeds=6)


def test_gains_are_there_by_modality_and_by_data_set(make):
    page = efficient(make)
    content = parse_page(page)
    gains = content.findings["analysis"]["efficiency"]["gains"]
    cells = dict(content.cells)
    assert {row["dataset"] for row in gains} == {None, "mnist", "fashion-mnist"}
    for index, row in enumerate(gains):
        scope = cells[f"analysis.efficiency.gains.{index}.dataset"]
        assert scope == (row["dataset"] or "all of vision")
    assert cells["analysis.findings.2.verdict"] == gains_word(content)
    assert "gains-steps-data" in content.plots


def gains_word(content):
    return content.findings["analysis"]["findings"][2]["verdict"]


def test_a_study_without_costs_says_why(make):
    cells = cells_of(page_of(make, make.sweep))
    assert cells["analysis.efficiency.reason"] == (
        "No gains in training efficiency: the study has conventional models only, none to compare "
        "with them."
    )
