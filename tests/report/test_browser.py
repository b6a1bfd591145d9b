"""The page in a real browser: Debian's Chromium, from a file, with the network off."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from minaction.report.build import write_report

CHROMIUM = shutil.which("chromium")
NASTY = "<img src=x onerror=\"document.title='owned'\"> 'quoted' & 🔥 " + "é" * 10_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(make_once):
    """A report of 120 runs, one of them failed with an error that tries to be markup."""
    study = make_once.study(make_once.sweep, seeds=6)
    first, *others = make_once.records(study)
    failed = replace(make_once.ended(first, "failed", NASTY), layers={NASTY: {"units": 1}})
    others = [
        replace(record, layers=dict(zip((NASTY, "b"), record.layers.values(), strict=True)))
        if record.config["model"] == first.config["model"]
        else record
        for record in others
    ]
    return write_report(make_once.write(study, [failed, *others]))


class Visit:
    """A page that was opened, and what its console and its network have seen."""

    def __init__(self, page):
        self.page, self.said, self.asked = page, [], []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def shown(self):
        """Run ids of the rows that are shown, in their order."""
        return self.page.locator("#run-table tbody tr:visible button.open").all_inner_texts()

    def column(self, key):
        at = self.page.locator("#run-table thead th").evaluate_all(
            f"cells => cells.findIndex(cell => cell.dataset.key === {key!r})"
        )
        return self.page.locator(
            f"#run-table tbody tr:visible > :nth-child({at + 1})"
        ).all_inner_texts()

    def heading(self, key):
        return self.page.locator(f"#run-table th[data-key={key}]")

    def saved(self, button):
        with self.page.expect_download() as download:
            button.click()
        return download.value


@pytest.fixture(params=["desk"])
def visit(request, browser, report):
    phone = request.param == "phone"
    context = browser.new_context(
        offline=True,
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
        color_scheme="dark" if phone else "light",
        has_touch=phone,
    )
    opened = Visit(context.new_page())
    opened.page.goto(report.as_uri())
    yield opened
    said, asked = opened.said, [url for url in opened.asked if url.startswith("http")]
    context.close()
    assert said == []
    assert asked == []


def test_figures_are_drawn_when_they_come_near(visit):
    plots = visit.page.locator(".panel:not([hidden]) .plot")
    plots.first.scroll_into_view_if_needed()
    expect(plots.first.locator("svg.main-svg").first).to_be_visible()
    assert plots.last.locator("svg.main-svg").count() == 0
    plots.last.scroll_into_view_if_needed()
    expect(plots.last.locator("svg.main-svg").first).to_be_visible()
    assert visit.page.title() == "lambda-sweep · minAction report"


def test_the_run_table_sorts_filters_and_searches(visit):
    page = visit.page
    assert len(visit.shown()) == 100
    page.get_by_role("button", name="Show all 120").click()
    everything = visit.shown()
    assert len(everything) == 120

    accuracy = visit.heading("test_accuracy")
    accuracy.get_by_role("button").click()
    assert accuracy.get_attribute("aria-sort") == "ascending"
    numbers = [float(text.split()[0]) for text in visit.column("test_accuracy") if "—" not in text]
    assert numbers == sorted(numbers)
    assert visit.column("test_accuracy")[-1] == "—"
    accuracy.get_by_role("button").click()
    assert accuracy.get_attribute("aria-sort") == "descending"
    numbers = [float(text.split()[0]) for text in visit.column("test_accuracy") if "—" not in text]
    assert numbers == sorted(numbers, reverse=True)
    assert visit.column("test_accuracy")[-1] == "—"

    page.get_by_role("combobox", name="model").select_option(label="cnn")
    page.get_by_role("combobox", name="λ").select_option(label="1e-3")
    assert set(visit.column("model")) == {"cnn"}
    assert set(visit.column("lam")) == {"1e-3"}
    assert page.locator("#run-count").inner_text() == "12 of 120 runs match, 12 shown."
    page.get_by_role("searchbox").fill("FASHION")
    assert set(visit.column("dataset")) == {"fashion-mnist"}
    page.get_by_role("button", name="Reset", exact=True).click()
    assert page.locator("#run-count").inner_text() == "120 of 120 runs match, 100 shown."


def test_a_runs_record_is_one_click_away_and_nothing_in_it_becomes_markup(visit, report):
    lines = (report.parent / "journal.jsonl").read_text("utf-8").splitlines()
    records = {record["run_id"]: record for record in map(json.loads, lines)}
    (failed,) = [name for name, record in records.items() if record["status"] == "failed"]
    dialog = visit.page.get_by_role("dialog")
    last = visit.shown()[-1]
    for name in (failed, last):
        visit.page.get_by_role("button", name=name).click()
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("heading")).to_have_text(f"Run {name}")
        saved = visit.saved(dialog.get_by_role("button", name="JSON"))
        assert saved.suggested_filename == f"run-{name}.json"
        assert json.loads(saved.path().read_text("utf-8")) == records[name]
        visit.page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        focused = visit.page.evaluate("document.activeElement.textContent")
        assert focused == name
    assert visit.page.locator("img").count() == 0
    assert visit.page.title().startswith("lambda-sweep")


def test_figures_are_saved_as_images_and_as_numbers(visit):
    panel = visit.page.locator("#accuracy .panel").first
    image = visit.saved(panel.get_by_role("button", name="PNG"))
    assert image.suggested_filename == "accuracy-0.png"
    assert image.path().read_bytes().startswith(b"\x89PNG")
    drawing = visit.saved(panel.get_by_role("button", name="SVG"))
    assert "<svg" in drawing.path().read_text("utf-8")[:200]
    table = visit.saved(panel.get_by_role("button", name="CSV")).path().read_text("utf-8")
    rows = list(csv.reader(table.splitlines()))
    assert rows[0] == [
        *("series", "λ", "test accuracy (%)"),
        *("test accuracy (%) low", "test accuracy (%) high"),
    ]
    assert [row[:2] for row in rows[1:6]] == [
        ["mlp", lam] for lam in ("0", "1e-5", "1e-4", "1e-3", "1e-2")
    ]
    assert all(float(row[3]) < float(row[2]) < float(row[4]) for row in rows[1:])


def test_a_figure_of_many_networks_shows_the_one_that_is_chosen(visit):
    figure = visit.page.locator("#training")
    titles = figure.locator("h4:visible")
    assert titles.all_inner_texts()[0].startswith("mnist · mlp · activation")
    choice = figure.get_by_role("combobox", name="shown")
    choice.focus()
    visit.page.keyboard.press("End")
    name = "fashion-mnist · cnn · activation"
    expect(titles.first).to_contain_text(name)
    expect(figure.locator(".panel:visible svg.main-svg").first).to_be_visible()
    panel = figure.locator(".panel:visible").first
    saved = visit.saved(panel.get_by_role("button", name="CSV"))
    rows = list(csv.reader(saved.path().read_text("utf-8").splitlines()))
    assert saved.suggested_filename == "training-3-train-loss.csv"
    assert rows[0][:3] == ["series", "epoch", "task loss (log)"]
    assert [row[:2] for row in rows[1:3]] == [["λ = 0", "1"], ["λ = 1e-5", "1"]]
    assert visit.saved(panel.get_by_role("button", name="SVG")).path().stat().st_size > 1000


def test_a_plot_too_long_for_plain_text_is_drawn(visit):
    assert visit.page.locator("#layers-0-energy-share-data").get_attribute("type").endswith("zlib")
    panel = visit.page.locator("#layers .panel:visible").first
    panel.scroll_into_view_if_needed()
    expect(panel.locator("svg.main-svg").first).to_be_visible()
    saved = visit.saved(panel.get_by_role("button", name="CSV")).path().read_text("utf-8")
    assert saved.startswith("series,layer,share of energy (%)")


def test_verdicts_are_read_without_scrolling(visit):
    verdict = visit.page.locator(".verdicts > li").first
    box = verdict.bounding_box()
    assert box["y"] + box["height"] < 900
    assert verdict.locator("strong").inner_text().lower() in (
        *("supported", "contradicted", "not decided", "not tested by this study"),
    )


def test_everything_is_reached_by_keyboard(visit):
    page = visit.page
    visit.heading("run_id").get_by_role("button").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert visit.heading("status").get_attribute("aria-sort") == "ascending"
    page.locator("#run-table button.open").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("visit", ["desk", "phone"], indirect=True)
def test_accessibility_has_no_serious_findings_and_nothing_is_wider_than_the_screen(visit):
    page = visit.page
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for opened in (False, True):
        if opened:
            page.locator("#run-table button.open").first.click()
            expect(page.get_by_role("dialog")).to_be_visible()
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []


def test_print_opens_what_is_folded_and_folds_it_again(visit):
    page = visit.page
    folded = page.locator("details:not([open])").count()
    assert folded > 4
    page.locator(".plot").first.scroll_into_view_if_needed()
    expect(page.locator(".plot svg").first).to_be_attached()  # plotly is there
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".panel:not([hidden]) .plot:not(:has(svg))").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded


def test_without_scripts_the_page_has_every_run(browser, report):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#run-table tbody tr:visible").count() == 120
    context.close()
