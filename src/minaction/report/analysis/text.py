"""An analysis as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.analyse import Analysis
from minaction.report.analysis.architecture import numbers
from minaction.report.analysis.cautions import p_text
from minaction.report.analysis.crossing import described
from minaction.report.analysis.factorial import Table
from minaction.report.analysis.proxy_text import cost_rows, measured_on
from minaction.report.efficiency import setting_text
from minaction.report.headlines import shortened
from minaction.report.summary import HEADER, aligned, summary_row
from minaction.study.toml_text import one_line

WIDTH = 100
SHOWN = 12
"""Comparisons and lambda tables that are printed; --json has all."""
EFFECTS = ("effect", "df", "F", "p", "p (HC3)", "partial eta^2 [95 %]", "omega^2", "of all")
COLLAPSED = ("with collapsed", "p", "p (HC3)", "partial eta^2")
GAINS = ("", "model", "in", "against", "gain", "95 %", "n")


def analysis_text(analysis: Analysis) -> list[str]:
    """Return an analysis as lines of text: verdicts and warnings first, then the tables."""
    sections = (
        [f"{analysis['study']['name']}: {analysis['progress']}"],
        heading("The reference study's findings", verdicts(analysis["findings"])),
        heading("Warnings", bullets(analysis["warnings"])),
        *(heading(title(table, analysis), factorial(table)) for table in analysis["factorial"]),
        heading("Lambda", lambdas(analysis["lambda_tables"])),
        heading("Training efficiency", gains(analysis["efficiency"])),
        heading("Measured costs, and what tells them", costs(analysis.get("proxies"))),
        heading("Models that share a letter were not shown to differ", letters(analysis)),
    )
    return [one_line(line) for section in sections for line in section]


def heading(text: str, lines: Iterator[str]) -> list[str]:
    """Return a section, nothing where it would be empty."""
    found = list(lines)
    return ["", text, *found] if found else []


def verdicts(findings: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the three verdicts, each with its numbers and its rule."""
    for found in findings:
        yield from wrapped(f"{found['finding']}. {found['verdict'].upper()}: {found['claim']}", 2)
        for reason in shortened(found["because"], "more: see --json"):
            yield from wrapped(f"- {reason}", 5)
        if found["numbers"]:
            yield from wrapped(f"rule: {found['rule']}", 5)


def bullets(sentences: Sequence[str]) -> Iterator[str]:
    """Yield sentences as a list."""
    for sentence in sentences:
        yield from wrapped(f"- {sentence}", 2)


def wrapped(text: str, indent: int) -> list[str]:
    """Return a text in lines, those after the first indented further."""
    return textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )


def title(table: Table, analysis: Analysis) -> str:
    """Return the heading of a factorial table."""
    text = f"Analysis of variance of the {table['label']}"
    if table["reason"]:
        return text
    crossing = analysis["crossing"]
    sizes = " x ".join(f"{len(of)} {name}" for name, of in crossing["levels"].items())
    only = f", {described(crossing['only'].items())} only" if crossing["only"] else ""
    balanced = "" if table["balanced"] else ", unbalanced"
    return (
        f"{text}: {sizes}{only}; n = {table['n']:,}{balanced}, type {'I' * crossing['ss_type']}, "
        f"{crossing['blocks']}s as blocks"
    )


def factorial(table: Table) -> Iterator[str]:
    """Yield one factorial table and the checks of its assumptions, or why there is none."""
    if table["reason"]:
        yield from wrapped(f"not computed: {table['reason']}", 2)
        return
    yield from aligned([EFFECTS, *map(effect, table["rows"])])
    for check in table["assumptions"]:
        found = "not testable" if check["p"] is None else f"p {p_text(check['p'])}"
        yield f"  {check['assumption']}: {check['test']} {found} (n = {check['n']:,})"
    if extra := table["with_collapsed"]:
        if extra["reason"]:
            yield from wrapped(f"with collapsed: not computed: {extra['reason']}", 2)
            return
        rows = [
            (
                row["effect"],
                write.optional(row["p"], write.p_value),
                write.optional(row["p_hc3"], write.p_value),
                f"{row['partial_eta_sq']:.3f}",
            )
            for row in extra["rows"]
        ]
        yield from aligned([COLLAPSED, *rows])


def effect(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one effect."""
    tested = row["F"] is not None
    return (
        row["effect"],
        f"{row['df']:.0f}",
        write.number(row["F"]) if tested else "",
        write.p_value(row["p"]) if tested else "",
        write.optional(row["p_hc3"], write.p_value) if tested else "",
        numbers(row) if tested else "",
        f"{row['omega_sq']:.3f}" if tested else "",
        write.percent(100 * row["share"]),
    )


def lambdas(tables: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lambda tables with more than one lambda."""
    several = [table for table in tables if len(table["rows"]) > 1]
    for table in several[:SHOWN]:
        yield f"  {table['label']}"
        yield from aligned([HEADER, *map(summary_row, table["rows"])])
    yield from rest(len(several), "tables")


def gains(efficiency: dict[str, Any]) -> Iterator[str]:
    """Yield targets and gains, or why there are none."""
    if efficiency["reason"]:
        yield from wrapped(f"not computed: {efficiency['reason']}", 2)
        return
    for target in efficiency["targets"]:
        yield (
            f"  target on {target['dataset']}: {write.accuracy(target['target'])}, from "
            f"{target['model']} at {setting_text(target)} (n = {target['n']})"
        )
    yield from aligned([GAINS, *map(gain, efficiency["gains"])])


def gain(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one gain."""
    reach = "\u2014" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}"
    return (
        row["dataset"] or f"all of {row['modality']}",
        row["model"],
        row["unit"],
        f"{row['against']} ({', '.join(row['reference'])})",
        f"{percent(row['gain'])} %",
        reach,
        str(row["n"]),
    )


def percent(share: float) -> str:
    """Write a fraction in percent without the sign of percent."""
    return write.signed(f"{100 * share:.0f}")


def costs(fidelity: dict[str, Any] | None) -> Iterator[str]:
    """Yield what measured costs say of proxies, or why nothing; nothing where none are."""
    if fidelity is None:
        return
    if fidelity["reason"]:
        yield from wrapped(f"not computed: {fidelity['reason']}", 2)
        return
    yield from wrapped(measured_on(fidelity), 2)
    yield from bullets([*fidelity["verdict"], f"Rule: {fidelity['rule']}.", *fidelity["missing"]])
    for cost in fidelity["costs"]:
        yield from (
            "",
            f"  {cost['name']}, {cost['stage']} compaction, n = {cost['scopes'][0]['n']}",
        )
        yield from aligned(list(cost_rows(cost)))


def letters(analysis: Analysis) -> Iterator[str]:
    """Yield a line per data set: its models by descending mean accuracy, with letters."""
    shown = [display for display in analysis["posthoc"] if not display["reason"]]
    for display in shown[:SHOWN]:
        models = "   ".join(
            f"{row['model']} {write.accuracy(row['test_accuracy']['estimate'])} {row['letters']}"
            for row in display["models"]
        )
        yield from wrapped(f"{display['label']}: {models}", 2)
    yield from rest(len(shown), "data sets and settings")


def rest(count: int, what: str) -> Iterator[str]:
    """Yield how many more there are than are printed."""
    if count > SHOWN:
        yield f"  \u2026 and {count - SHOWN:,} more {what}: see --json"
