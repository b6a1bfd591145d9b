"""The page: one self-contained HTML file made from the findings, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs

from minaction.report.figure_table import figure_table
from minaction.report.figures import figures
from minaction.report.lambda_table import is_sweep
from minaction.report.markup import (
    attribute,
    details,
    element,
    embedded_json,
    escape,
    packed_block,
    section,
)
from minaction.report.page_analysis import factorial_section, gain_tables, letter_tables, verdicts
from minaction.report.page_compared import cost_tables, pareto_tables
from minaction.report.page_lambda import choice_table, lambda_section
from minaction.report.page_one_lambda import group_section
from minaction.report.page_proxies import proxy_section
from minaction.report.page_runs import run_section
from minaction.report.page_tables import breakdown_tables, provenance_table, timing_content
from minaction.report.panels import Figure, Panel
from minaction.report.records import record_blocks
from minaction.report.tables import Findings
from minaction.study.journal import Record
from minaction.study.study_file import Study

FINDINGS_ID = "findings"
"""Id of the block of JSON that holds the findings."""
FIGURE_CLASS = "figure-data"
"""Class of the blocks of JSON that hold plots: one by the id of its plot and `-data`, those that
are shown on demand together by the id of their figure and `-choices`."""


def render_page(study: Study, findings: Findings, records: Sequence[Record]) -> str:
    """Return the report as one HTML page that needs nothing from outside.

    plotly.js, the style, the plots, the findings and the records are inside; a content security
    policy forbids every request. Each visible number carries the path of its finding in
    `data-path`. Nothing depends on when or where the page is made.

    Args:
        study: The study file, frozen.
        findings: From `compute_findings`.
        records: The records behind them.
    """
    drawn = figures(findings)
    return page_of(study.name, body(findings, drawn), drawn, findings, records)


def page_of(
    name: str,
    content: str,
    drawn: Sequence[Figure],
    findings: Findings,
    records: Sequence[Record],
) -> str:
    """Return a whole page.

    Args:
        name: What the page is about.
        content: Everything a reader sees, HTML.
        drawn: The figures in it.
        findings: What it says; its `runs` are the rows of the run table.
        records: The records behind these rows.
    """
    package = resources.files("minaction.report")
    title = f"{name} \u00b7 minAction report"
    return Template((package / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=(package / "page.css").read_text("utf-8"),
        body=content,
        data=(packed_plotly() if drawn else "")
        + data_blocks(findings, drawn)
        + record_blocks(records, [run["run_id"] for run in findings["runs"]]),
        script=(package / "page.js").read_text("utf-8"),
    )


@cache
def packed_plotly() -> str:
    """Return plotly.js with its licence, packed: the page's script starts it when it is needed."""
    return packed_block("plotly", "code", get_plotlyjs())


def body(findings: Findings, drawn: list[Figure]) -> str:
    """Return everything a reader sees, most important first."""
    begun = findings["counts"]["recorded"] > 0
    return "".join(
        [
            header(findings),
            "<main>\n",
            section(
                "summary",
                "Findings",
                sentences("headlines", findings["headlines"][:1]),
                verdicts(findings) if begun else "",
                outcomes(findings["headlines"][1:]),
            ),
            section("warnings-title", "Warnings", sentences("warnings", findings["warnings"])),
            section("curves", "Figures", *(figure(one) for one in drawn)),
            *(results(findings) if begun else ()),
            section("breakdown", "Runs by modality, model and status", breakdown_tables(findings)),
            section("runs", "All runs", run_section(findings)),
            section(
                "provenance",
                "Provenance",
                commands(findings, STUDY_COMMANDS),
                provenance_table(findings),
            ),
            section("timing", "Time", timing_content(findings)),
            "</main>\n",
        ]
    )


def results(findings: Findings) -> list[str]:
    """Return the sections of tables that say what came out."""
    return [
        *lambda_sections(findings),
        section("effects-title", "Effects", factorial_section(findings)),
        section("letters-title", "Which networks differ", letter_tables(findings)),
        section("gains-title", "Training efficiency", gain_tables(findings)),
        section("proxies-title", "What the energies predict", proxy_section(findings)),
        section("pareto-title", "Pareto fronts", pareto_tables(findings)),
        section("target-cost-title", "Cost to target", cost_tables(findings)),
    ]


def lambda_sections(findings: Findings) -> list[str]:
    """Return what lambda does, or one table where there is only one."""
    if not is_sweep(findings["lambda_tables"]):
        return [section("groups", "Means of each group", group_section(findings))]
    return [
        section("choice", "Chosen \u03bb", choice_table(findings)),
        section("lambda", "What each \u03bb does", lambda_section(findings)),
    ]


def header(findings: Findings) -> str:
    """Return the page's head line and the study's own description."""
    study = findings["study"]
    described = study["description"].strip()
    description = element("p", "study.description", described, "description") if described else ""
    return f"<header>\n{element('h1', 'study.name', study['name'])}\n{description}\n</header>\n"


def sentences(name: str, texts: Sequence[str], first: int = 0) -> str:
    """Return a list of the findings' sentences, the first of which has the number `first`."""
    items = "\n".join(
        element("li", f"{name}.{index}", text) for index, text in enumerate(texts, first)
    )
    return f'<ul class="{name}">\n{items}\n</ul>' if items else ""


def outcomes(texts: Sequence[str]) -> str:
    """Return what each group's chosen lambda and budget do; nothing where there are none."""
    return f"<h3>At the chosen \u03bb</h3>\n{sentences('headlines', texts, 1)}" if texts else ""


def figure(drawn: Figure) -> str:
    """Return the places the page's script draws a figure's panels in, and the caption."""
    first = drawn.panels[0].choice
    places = "\n".join(place(drawn, panel, shown=panel.choice == first) for panel in drawn.panels)
    return (
        f'<figure id="{escape(drawn.id)}">\n<h3>{escape(drawn.title)}</h3>\n'
        f'<div class="panels">\n{places}\n</div>\n'
        f"{element('figcaption', f'figures.{drawn.id}', drawn.caption)}\n</figure>"
    )


def place(drawn: Figure, panel: Panel, *, shown: bool) -> str:
    """Return the place of one panel, as high as what will be drawn there.

    One that is not shown at first is there for the page's script, which offers the choice.
    """
    hidden = "" if shown else " hidden"
    name = escape(f"{drawn.title}, {panel.title}; numbers in the tables below")
    return (
        f'<div class="panel"{attribute("data-choice", panel.choice)}{hidden}>\n'
        f"{element('h4', f'figures.{panel.id}', panel.title)}\n"
        f'<div class="plot" id="{escape(panel.id)}" data-figure="{escape(drawn.title)}" '
        f'style="min-height: {panel.spec["layout"]["height"]}px" role="group" '
        f'aria-label="{name}"></div>\n</div>'
    )


def data_blocks(findings: Findings, drawn: Sequence[Figure]) -> str:
    """Return the findings and the plots as blocks of JSON.

    Training curves are in the blocks of their plots alone, for they are long.
    """
    said = {name: found for name, found in findings.items() if name != "training"}
    return embedded_json(FINDINGS_ID, "findings", said) + "".join(map(plot_blocks, drawn))


def plot_blocks(drawn: Figure) -> str:
    """Return the plots of a figure: a block for each shown at first, one for all the others."""
    shown, others = "", {}
    for panel in drawn.panels:
        name, plot = f"{panel.id}-data", {**panel.spec, "table": figure_table(panel.spec)}
        if panel.choice == drawn.panels[0].choice:
            shown += embedded_json(name, FIGURE_CLASS, plot)
        else:
            others[name] = plot
    return shown + (embedded_json(f"{drawn.id}-choices", FIGURE_CLASS, others) if others else "")


STUDY_COMMANDS = (
    "minaction study run study.toml --out DIR    # makes the runs, or resumes",
    "minaction report DIR                        # makes this page",
    "minaction study verify DIR                  # recomputes every number on it",
)


def commands(findings: Findings, lines: Sequence[str], file_name: str = "study.toml") -> str:
    """Return the commands that make, show and check what the page is about, and its file."""
    shown = f'<pre tabindex="0">{element("code", "commands", chr(10).join(lines))}</pre>\n'
    file = f'<pre tabindex="0">{element("code", "study.file", findings["study"]["file"])}</pre>'
    return shown + details(f"{file_name}, every default spelled out", "study.file", file)
