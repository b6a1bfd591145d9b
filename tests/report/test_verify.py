from __future__ import annotations

import functools
import json
import operator
import re
import shutil
from dataclasses import replace

import pytest

from minaction.errors import InputError
from minaction.report.build import write_report
from minaction.report.markup import packed_block, unpack
from minaction.report.verify import parse_page, verify_report
from minaction.study.journal import JOURNAL_NAME


@pytest.fixture(scope="module")
def written(make_once):
    """A study with its report, written once: each test alters a copy."""
    study = make_once.study()
    directory = make_once.write(study, make_once.records(study))
    write_report(directory)
    return directory


@pytest.fixture
def directory(written, tmp_path):
    return shutil.copytree(written, tmp_path / "study")


def alter(directory, pattern, replacement):
    page = directory / "report.html"
    text, count = re.subn(pattern, replacement, page.read_text("utf-8"), count=1)
    assert count == 1
    page.write_text(text, "utf-8")


def differing(directory):
    return [difference.path for difference in verify_report(directory).differences]


@pytest.mark.parametrize("runs", [0, 3, 8])
def test_a_fresh_report_holds(make, runs):
    study = make.study()
    directory = make.write(study, make.records(study)[:runs])
    write_report(directory)
    outcome = verify_report(directory)
    assert outcome.differences == []
    assert outcome.checked > 150


def test_a_report_with_every_kind_of_text_holds(make):
    study = make.study()
    error = "a <b>bold</b>\r\n\tclaim & \x07 more 🔥  spaces"
    records = make.records(
        study, lambda r: make.ended(r, "failed", error) if r.config["seed"] == 1 else r
    )
    directory = make.write(study, records)
    write_report(directory)
    outcome = verify_report(directory)
    assert outcome.differences == []
    assert any("1 failed of 4 runs" in warning for warning in outcome.warnings)


def test_a_report_of_old_new_and_uncovered_records_holds(make):
    def mixed(record):
        changes = [make.old, lambda r: make.uncovered(r, "<b> & softmax"), lambda r: r]
        return changes[record.config["seed"] % 3](record)

    study = make.study()
    directory = make.write(study, make.records(study, mixed))
    write_report(directory)
    outcome = verify_report(directory)
    assert outcome.differences == []
    assert any("have no gauge-fixed energy" in warning for warning in outcome.warnings)


@pytest.mark.parametrize(
    "name", ["energy_gauge_fixed", "gauge_fixed_percent", "gauge_fixed_fold", "rescaling_percent"]
)
def test_a_changed_gauge_fixed_number_is_found(directory, name):
    path = f"lambda_tables.0.rows.1.{name}"
    alter(directory, rf'({re.escape(path)}">)[\d.,]+', r"\g<1>123.4")
    row, path = "lambda_tables.0.layers.3", f"lambda_tables.0.layers.3.{name}"
    shown = dict(parse_page((directory / "report.html").read_text("utf-8")).cells)[path].split()[0]
    alter(directory, rf'(data-row="{row}">.*?>){re.escape(shown)}', r"\g<1>123.4")
    assert differing(directory) == [f"page: lambda_tables.0.rows.1.{name}", f"page: {path}"]


def test_a_gauge_fixed_energy_changed_in_the_journal_is_found(directory):
    journal = directory / JOURNAL_NAME
    lines = journal.read_text("utf-8").splitlines()
    record = json.loads(lines[0])
    record["metrics"]["energy_gauge_fixed"] *= 1.001
    journal.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n", "utf-8")
    paths = differing(directory)
    assert any("energy_gauge_fixed" in path for path in paths)
    assert any("rescaling_percent" in path for path in paths)


def test_a_page_of_another_version_says_what_to_do(directory):
    alter(directory, r'("schema":)\d', r"\g<1>1")
    with pytest.raises(InputError, match=r"made by another version of minaction; run `minaction"):
        verify_report(directory)


def test_a_report_with_a_budget_holds(make):
    study = make.study(make.budgeted)
    directory = make.write(study, make.records(study))
    write_report(directory)
    assert verify_report(directory).differences == []
    alter(directory, r'(rows\.2\.multiplier">)[\d.]+', r"\g<1>9.99")
    assert differing(directory) == ["page: lambda_tables.0.rows.2.multiplier"]


def test_a_changed_cell_is_found_with_its_path(directory):
    alter(directory, r'(rows\.1\.fold_reduction">)[\d.,]+x', r"\g<1>9,999x")
    (difference,) = verify_report(directory).differences
    assert difference.path == "page: lambda_tables.0.rows.1.fold_reduction"
    assert difference.stored.startswith("9,999x")
    assert not difference.recomputed.startswith("9,999x")


def test_a_changed_number_of_the_embedded_findings_is_found(directory):
    alter(directory, r'("energy":\{"n":4,"estimate":)[\d.]+', r"\g<1>1.5")
    (difference,) = verify_report(directory).differences
    assert difference.path == "lambda_tables.0.rows.0.energy.estimate"
    assert difference.stored == 1.5


def test_a_changed_plot_is_found(directory):
    alter(directory, r'("y":\[)[\d.]+', r"\g<1>42.0")
    assert differing(directory) == ["plot accuracy-0-data.data.0.y.0"]


def test_a_changed_number_of_a_figures_table_is_found(directory):
    alter(directory, r'("rows":\[\["mlp","0",)[\d.]+', r"\g<1>42.0")
    assert differing(directory) == ["plot accuracy-0-data.table.rows.0.2"]


def test_a_changed_number_of_the_run_table_is_found(directory):
    alter(directory, r'(data-row="runs\.3">.*?<td>)[\d.]+( %</td>)', r"\g<1>12.34\g<2>")
    assert differing(directory) == ["page: runs.3.test_accuracy"]


def test_a_cell_that_was_put_into_the_run_table_is_found(directory):
    alter(directory, r'(data-row="runs\.3">.*?)</tr>', r"\g<1><td>7</td></tr>")
    assert len(differing(directory)) == 1


def repack(directory, change):
    def changed(found):
        records = json.loads(unpack(found[1]))
        change(records)
        return packed_block("records-0", "records", json.dumps(records))

    alter(
        directory, r'<script type="application/zlib" id="records-0"[^>]*>([^<]*)</script>', changed
    )


def test_a_changed_record_is_found(directory):
    name = parse_page((directory / "report.html").read_text("utf-8")).findings["runs"][2]["run_id"]
    repack(directory, lambda records: records[2]["metrics"].update(steps=7))
    assert differing(directory) == [f"record {name}.metrics.steps"]


def test_a_record_that_was_taken_out_is_found(directory):
    name = parse_page((directory / "report.html").read_text("utf-8")).findings["runs"][7]["run_id"]
    repack(directory, lambda records: records.pop())
    assert differing(directory) == [f"record {name}"]


@pytest.mark.parametrize("block", ["!", "AAAA", "", "é", "7", "[1]", "[{}]", "[[]]"])
def test_records_that_cannot_be_unpacked_are_no_report(directory, block):
    if block[:1] in ("7", "["):
        block = re.sub("<.*?>|\n", "", packed_block("", "", block))
    alter(directory, r'(id="records-0" class="records">)[^<]*<', rf"\g<1>{block}<")
    with pytest.raises(InputError, match="not a minAction report"):
        verify_report(directory)


def test_a_changed_headline_is_found(directory):
    alter(directory, r'(headlines\.0">)All 8 runs', r"\g<1>All 80 runs")
    assert differing(directory) == ["page: headlines.0"]


def test_a_row_that_was_taken_out_is_found(directory):
    row = r'<tr[^>]*><th scope="row"[^>]* data-path="lambda_tables\.0\.rows\.1.*?</tr>'
    alter(directory, row, "")
    paths = differing(directory)
    assert "page: lambda_tables.0.rows.1.energy" in paths
    assert all(path.startswith("page: lambda_tables.0.rows.1.") for path in paths)


def test_a_row_that_was_put_in_is_found(directory):
    alter(directory, r"(<caption[^>]*>digits)", r'<td data-path="counts.bonus">7</td>\1')
    assert "page: counts.bonus" in differing(directory)


def test_a_journal_that_went_on_is_found(make):
    study = make.study()
    records = make.records(study)
    directory = make.write(study, records[:5])
    write_report(directory)
    make.write(study, records[5:])
    assert "counts.done" in differing(directory)
    write_report(directory)
    assert differing(directory) == []


def test_a_rule_changed_after_the_first_run_is_found(directory):
    file = directory / "study.toml"
    file.write_text(file.read_text("utf-8").replace("margin = 0.005", "margin = 0.05"), "utf-8")
    write_report(directory)
    paths = differing(directory)
    assert len(paths) == 8
    assert all(path.endswith(" analysis_sha256") for path in paths)


def test_another_study_file_is_found(directory):
    file = directory / "study.toml"
    file.write_text(file.read_text("utf-8").replace("seeds = 4", "seeds = 3"), "utf-8")
    write_report(directory)
    endings = {path.split()[-1] for path in differing(directory)}
    assert endings == {"study_sha256", "design"}


def test_an_edited_record_is_found(directory):
    journal = directory / JOURNAL_NAME
    lines = journal.read_text("utf-8").splitlines()
    record = json.loads(lines[0])
    record["config"]["lam"] = 0.5
    journal.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n", "utf-8")
    write_report(directory)
    assert differing(directory) == [f"journal: {record['run_id']} run_id"]


@pytest.mark.parametrize("config", [{}, {"lam": "x"}, {"lam": None}])
def test_a_configuration_that_has_no_id_is_found(make, config):
    study = make.study()
    records = make.records(study)
    directory = make.write(study, [replace(records[0], config=config), *records[1:]])
    write_report(directory)
    assert differing(directory) == [f"journal: {records[0].run_id} run_id"]


@pytest.mark.parametrize("other", [False, True])
def test_a_run_that_is_finished_twice_is_the_first_thing_found(directory, other):
    journal = directory / JOURNAL_NAME
    lines = journal.read_text("utf-8").splitlines()
    record = json.loads(lines[2])
    if other:
        record["metrics"]["test_accuracy"] = 0.5
    journal.write_text("\n".join([*lines, json.dumps(record)]) + "\n", "utf-8")
    found = verify_report(directory).differences
    assert found[0].path == f"journal: {record['run_id']} finished in"
    assert (found[0].stored, found[0].recomputed) == ("lines 3 and 9", "one line")
    assert (len(found) > 1) is other


def test_a_run_that_failed_before_it_was_finished_is_no_repetition(make):
    study = make.study()
    records = make.records(study)
    directory = make.write(study, [make.ended(records[0], "failed", "no luck"), *records])
    write_report(directory)
    assert verify_report(directory).differences == []


def test_no_page_says_what_to_do(make):
    study = make.study()
    directory = make.write(study, make.records(study))
    with pytest.raises(InputError, match=f"run `minaction report {re.escape(str(directory))}`"):
        verify_report(directory)


@pytest.mark.parametrize("content", [b"", b"<p>hello", b"\xff\xfe", b'<script id="findings">'])
def test_another_file_is_no_report(directory, content):
    (directory / "report.html").write_bytes(content)
    with pytest.raises(InputError, match="not a minAction report"):
        verify_report(directory)


def replace_findings(directory, block):
    opening = r'(<script type="application/json" id="findings" class="findings">)[^<]*'
    alter(directory, opening, lambda found: found[1] + block)


@pytest.mark.parametrize("block", ["[1]", "null", "{", "NaN", "", "[" * 100_000])
def test_a_block_that_is_no_object_is_no_report(directory, block):
    replace_findings(directory, block)
    with pytest.raises(InputError, match="not a minAction report"):
        verify_report(directory)


@pytest.mark.parametrize("block", ["{}", '{"counts": 1}', '{"counts": {"done": NaN}}'])
def test_a_block_without_the_findings_differs(directory, block):
    replace_findings(directory, block)
    assert "headlines" in differing(directory)


@pytest.fixture(scope="module")
def analysed_once(make_once):
    """A study with factorial tables, letters and more than one network to choose from."""
    text = make_once.sweep.replace("[0, 1e-5, 1e-4, 1e-3, 1e-2]", "[0, 1e-3]")
    study = make_once.study(text, seeds=3)
    directory = make_once.write(study, make_once.records(study), "analysed")
    write_report(directory)
    return directory


@pytest.fixture
def analysed(analysed_once, tmp_path):
    return shutil.copytree(analysed_once, tmp_path / "analysed")


def test_each_changed_number_of_the_analysis_is_found_by_its_path(analysed):
    paths = [
        "lambda_tables.3.layers.1.energy_share.estimate",
        "analysis.findings.0.numbers.architecture.partial_eta_sq_low",
        "analysis.findings.1.numbers.curves.2.fold_reduction.high",
        "analysis.factorial.0.rows.1.partial_eta_sq",
        "analysis.factorial.1.rows.3.p_hc3",
        "analysis.posthoc.0.models.1.test_accuracy.low",
        "analysis.posthoc.1.pairs.0.p_holm",
    ]

    def changed(found):
        findings = json.loads(found[2])
        for path in paths:
            *way, last = (int(key) if key.isdecimal() else key for key in path.split("."))
            at = functools.reduce(operator.getitem, way, findings)
            at[last] = 1.001 * at[last] + 1e-6
        return f"{found[1]}{json.dumps(findings)}<"

    alter(analysed, r'(<script type="application/json" id="findings"[^>]*>)([^<]*)<', changed)
    assert differing(analysed) == paths


def test_each_changed_text_and_plot_of_the_analysis_is_found(analysed):
    effects, layers = "effects-0-data", "layers-2-energy-share-data"
    for pattern in (
        rf'(id="{effects}".*?"x":\[)[\d.]+',
        rf'(id="layers-choices".*?"{layers}".*?"y":\[)[\d.]+',
        r'(findings\.0\.verdict">)[a-z ]+',
        r'(figures\.effects">)Partial',
        r'(factorial\.0\.rows\.1\.F">)[\d.,]+',
        r'(posthoc\.0\.models\.0\.letters">)[a-z]+',
    ):
        alter(analysed, pattern, r"\g<1>7")
    assert differing(analysed) == [
        f"plot {effects}.data.0.x.0",
        f"plot layers-choices.{layers}.data.0.y.0",
        "page: analysis.findings.0.verdict",
        "page: figures.effects",
        "page: analysis.factorial.0.rows.1.F",
        "page: analysis.posthoc.0.models.0.letters",
    ]


def test_a_number_no_float_can_hold_is_a_difference(directory):
    alter(directory, r'("planned":)8', r"\g<1>1" + "0" * 400)
    assert "counts.planned" in differing(directory)


@pytest.mark.parametrize("baseline", [None, "0123456789abcdef", "itself", "another lambda"])
def test_a_budget_whose_target_comes_from_nowhere_is_found(make, baseline):
    study = make.study(make.budgeted)
    records = make.records(study)
    own = next(record for record in records if record.config["lam"] == "budget")
    other = next(record for record in records if record.config["lam"] == 1e-3)
    named = {"itself": own.run_id, "another lambda": other.run_id}.get(baseline, baseline)
    changed = replace(own, provenance=own.provenance | {"baseline": named})
    directory = make.write(study, [changed if r is own else r for r in records])
    write_report(directory)
    assert differing(directory) == [f"journal: {own.run_id} baseline"]
