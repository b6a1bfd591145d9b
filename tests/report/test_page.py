from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minaction.report.markup import escape, script_json
from minaction.report.page import render_page
from minaction.report.tables import compute_findings
from minaction.report.verify import parse_page
from minaction.study.read_study import parse_study

NASTY = "<script>alert('1')</script> \"quoted\" & <!-- --> ]]> 🔥\u2028\x00\r\n" + "é" * 10_000
VOID = {"meta", "br"}


class Strict(HTMLParser):
    """Fails on tags that are not closed in order; counts scripts, attributes and ids."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has {name}"
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href"):
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read_strictly(page):
    reader = Strict()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert reader.links == []
    return reader


def render(make, text=None, seeds=3, change=None):
    study = make.study(text or make.small, seeds=seeds)
    records = make.records(study, change)
    return render_page(study, compute_findings(study, records), records)


def test_the_page_is_well_formed_and_self_contained(make):
    page = render(make, make.sweep)
    reader = read_strictly(page)
    assert reader.tags.count("figure") == 10
    assert {"main", "header", "table", "caption", "figcaption"} <= set(reader.tags)
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)
    assert len(page) < 15e6


def test_the_same_journal_gives_the_same_bytes(make):
    study = make.study(make.sweep, seeds=3)
    records = make.records(study)
    first = render_page(study, compute_findings(study, records), records)
    backwards = records[::-1]
    assert render_page(study, compute_findings(study, backwards), backwards) == first


def test_headlines_come_first_and_numbers_are_written_for_people(make):
    page = render(make, make.sweep)
    assert page.index("All 60 runs are done (60 ok).") < page.index("<figure")
    content = parse_page(page)
    cells = dict(content.cells)
    row = content.findings["lambda_tables"][0]["rows"][4]
    assert re.fullmatch(
        r"1,\d{3}x 1,\d{3} to 1,\d{3}x", cells["lambda_tables.0.rows.4.fold_reduction"]
    )
    assert cells["lambda_tables.0.rows.0.lam"] == "0"
    assert cells["lambda_tables.0.rows.4.test_accuracy"].startswith(
        f"{100 * row['test_accuracy']['estimate']:.2f} %"
    )


def test_the_embedded_findings_are_the_findings(make):
    study = make.study()
    records = make.records(study)
    findings = compute_findings(study, records)
    content = parse_page(render_page(study, findings, records))
    assert content.findings == {k: v for k, v in findings.items() if k != "training"}
    assert list(content.records) == [run["run_id"] for run in findings["runs"]]
    for record in records:
        assert content.records[record.run_id] == json.loads(record.to_line())


def test_nothing_from_names_and_errors_becomes_markup(make):
    description = json.dumps(NASTY[:2000], ensure_ascii=False)
    text = f"[study]\nname = 'n'\nseeds = 3\ndescription = {description}\n"
    study = parse_study(text + "[factors]\ndataset = 'digits'\nmodel = 'mlp'\n", source="test")

    def poison(record):
        failed = make.ended(record, "failed", NASTY) if record.config["seed"] else record
        return replace(
            failed,
            provenance=record.provenance | {"cpu": NASTY, "versions": {NASTY: NASTY}},
        )

    strange = replace(make.records(study)[0], run_id=NASTY, config={"dataset": NASTY})
    records = [*make.records(study, poison), strange]
    findings = compute_findings(study, records)
    page = render_page(study, findings, records)
    records = make.records(study)
    plain = read_strictly(render_page(study, compute_findings(study, records), records))
    assert read_strictly(page).tags.count("script") == plain.tags.count("script")
    assert "<script>alert" not in page
    assert "\x00" not in page
    assert parse_page(page).findings == {k: v for k, v in findings.items() if k != "training"}
    page.encode("utf-8")


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_is_safe_in_markup_and_in_scripts(text):
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    escaped.encode("utf-8")
    block = script_json({"text": text})
    assert "<" not in block
    assert json.loads(block) == {"text": text}


@pytest.mark.parametrize(
    ("records", "says"),
    [(0, "No runs yet: 0 of 8 are done."), (5, "5 of 8 runs are done (5 ok), 3 not run yet")],
)
def test_an_unfinished_study_has_a_page(make, records, says):
    study = make.study(seeds=4)
    made = make.records(study)[:records]
    page = render_page(study, compute_findings(study, made), made)
    read_strictly(page)
    assert says in page
    assert ("<figure" in page) == (records > 0)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_no_run_was_ok(make, status):
    page = render(make, change=lambda record: make.ended(record, status, "why"))
    read_strictly(page)
    assert "no run to measure" in page
    assert "<figure" not in page


def test_one_seed_and_no_lambda_zero_say_what_is_absent(make):
    assert "1 seed, no interval" in render(make, seeds=1)
    page = render(make, make.small.replace("[0, 1e-3]", "[1e-4, 1e-3]"))
    read_strictly(page)
    assert "no λ = 0 to compare with" in page


def cells_of(page):
    return dict(parse_page(page).cells)


def test_both_energies_and_their_gap_are_in_every_table(make):
    cells = cells_of(render(make))
    for at in ("lambda_tables.0.rows.1", "lambda_tables.0.layers.2", "lambda_tables.0.choice"):
        for name in ("energy_percent", "gauge_fixed_percent", "rescaling_percent"):
            assert re.fullmatch(r"[\d.]+ % [\d.]+ to [\d.]+ %", cells[f"{at}.{name}"])
    assert re.match(r"[\d,.]+ [\d,.]+ to", cells["lambda_tables.0.rows.0.energy_gauge_fixed"])
    assert re.fullmatch(r"[\d,.]+", cells["runs.0.energy_gauge_fixed"])


def test_old_records_are_shown_as_not_recorded_and_never_as_blank_or_zero(make):
    page = render(make, change=make.old)
    cells = cells_of(page)
    shown = {path: text for path, text in cells.items() if "gauge_fixed" in path}
    assert len(shown) > 10
    assert all(re.search("not recorded|reference", text) for text in shown.values())
    assert cells["runs.0.energy_gauge_fixed"] == "not recorded"
    missing = cells["lambda_tables.0.gauge_missing.0"]
    assert missing == "No gauge-fixed energy in 6 ok runs: not recorded."


def test_a_reason_is_escaped_and_shown_once_per_table(make):
    page = render(make, change=lambda record: make.uncovered(record, NASTY[:60]))
    read_strictly(page)
    assert "<script>alert" not in page
    cells = cells_of(page)
    assert cells["lambda_tables.0.rows.1.energy_gauge_fixed"] == "— not covered"
    told = [path for path, text in cells.items() if "alert(" in text]
    assert told == [
        "warnings.0",
        "lambda_tables.0.gauge_missing.0",
        "lambda_tables.0.layer_gauge_missing.0",
        "lambda_tables.0.layer_gauge_missing.1",
    ]


def test_where_only_some_runs_have_it_their_number_stands_there(make):
    def mixed(record):
        return make.old(record) if record.config["seed"] == 0 else record

    cells = cells_of(render(make, change=mixed, seeds=4))
    assert cells["lambda_tables.0.rows.1.energy_gauge_fixed"].endswith(", n = 3")
    assert "n =" not in cells["lambda_tables.0.rows.1.energy"]
    assert cells["lambda_tables.0.gauge_missing.0"].startswith("No gauge-fixed energy in 2 ok runs")


def test_layer_names_are_escaped(make):
    def rename(record):
        return replace(record, layers={NASTY[:60]: record.layers["net.2"]})

    page = render(make, change=rename)
    read_strictly(page)
    assert "<script>alert" not in page


@pytest.mark.parametrize("lam", ["0", "1e-3"])
def test_a_study_of_one_lambda_has_one_table_and_no_curves_over_lambda(make, lam):
    page = render(make, make.sweep.replace("lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]", f"lam = {lam}"))
    read_strictly(page)
    cells = cells_of(page)
    assert "Means of each group" in page
    for absent in ("Chosen \u03bb", "What each \u03bb does", 'id="accuracy"', 'id="energy"'):
        assert absent not in page
    for group in range(4):
        for name in ("test_accuracy", "energy", "energy_gauge_fixed"):
            shown = cells[f"lambda_tables.{group}.rows.0.{name}"]
            assert re.fullmatch(r"[\d.,]+( %)? [\d.,]+ to [\d.,]+( %)?", shown)


def test_a_budget_has_its_row_and_its_result(make):
    page = render(make, make.budgeted)
    read_strictly(page)
    cells = cells_of(page)
    assert cells["lambda_tables.0.rows.2.lam"] == "budget"
    found = r"\d\.\d\de-3"
    assert re.search(rf"{found} {found} to {found}", cells["lambda_tables.0.rows.2.multiplier"])
    assert cells["lambda_tables.0.budget"].startswith(
        "accuracy held within 0.5 pp of λ = 0, aiming"
    )
    assert "the median over seeds" in page
    at = [run["lam"] for run in parse_page(page).findings["runs"]].index("budget")
    assert re.fullmatch(found, cells[f"runs.{at}.shadow_price"])
    assert cells["runs.0.shadow_price"] == "—"
    assert "multiplier found" not in render(make)


def test_a_large_run_table_has_every_run_and_lays_out_the_first_ones(make):
    page = render(make, make.sweep, seeds=30)
    read_strictly(page)
    content = parse_page(page)
    assert {f"runs.{i}.run_id" for i in range(600)} <= {path for path, _ in content.cells}
    assert len(re.findall(r'<tr data-row="runs\.\d+" hidden>', page)) == 500
    assert len(content.records) == len(content.findings["runs"]) == 600
    assert '<script type="application/zlib" id="findings"' in page
    assert "#run-table tr[hidden] { display: table-row; }" in page  # where scripts are off


def test_runs_are_counted_by_modality(make):
    text = make.sweep.replace('"fashion-mnist"', '"docstrings"').replace(', "cnn"', "")
    cells = cells_of(render(make, text, seeds=1))
    at = "counts.by_modality"
    assert [cells[f"{at}.{i}.level"] for i in (0, 1)] == ["vision", "text"]
    assert [cells[f"{at}.{i}.statuses.ok"] for i in (0, 1)] == ["5", "5"]
