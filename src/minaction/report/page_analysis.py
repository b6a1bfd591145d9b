"""The verdicts and the tables of the analysis on the page, every cell bound to its finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.crossing import described
from minaction.report.analysis.factorial import Table
from minaction.report.efficiency import UNIT_NAMES, setting_text
from minaction.report.forest import effect_name
from minaction.report.markup import cell, details, element, row_heading, table
from minaction.report.tables import Findings

SHOWN = 4
"""Reasons of a verdict that are shown at once; the others are folded."""


def verdicts(findings: Findings) -> str:
    """Return the verdict on each of the reference study's findings, with the numbers behind it."""
    found: Sequence[dict[str, Any]] = findings["analysis"]["findings"]
    items = "\n".join(verdict(f"analysis.findings.{i}", one) for i, one in enumerate(found))
    intro = f"What this study says of the findings of {found[0]['reference']}:"
    return (
        f"{element('p', 'analysis.findings.0.reference', intro)}\n"
        f'<ol class="verdicts">\n{items}\n</ol>'
    )


def verdict(at: str, found: dict[str, Any]) -> str:
    """Return one verdict: the word, the claim, what decides it, and by which rule."""
    word = element("strong", f"{at}.verdict", found["verdict"], "verdict")
    claim = element("span", f"{at}.claim", found["claim"])
    reasons = [
        element("li", f"{at}.because.{index}", reason)
        for index, reason in enumerate(found["because"])
    ]
    shown = len(reasons) if len(reasons) <= SHOWN + 1 else SHOWN  # one more takes no more room
    parts = [f"<p>{word}: {claim}</p>", listed(reasons[:shown])]
    if reasons[shown:]:
        more = f"{len(reasons) - shown} more reasons"
        parts.append(details(more, f"{at}.because", listed(reasons[shown:])))
    if found["numbers"]:
        rule = [
            element("p", f"{at}.published", f"Published: {found['published']}.", "note"),
            element("p", f"{at}.rule", f"Rule: {found['rule']}.", "note"),
        ]
        parts.append(details("Rule", f"{at}.rule", "\n".join(rule)))
    return "<li>\n" + "\n".join(parts) + "\n</li>"


def listed(items: Sequence[str]) -> str:
    """Return items, already HTML, as a list."""
    return "<ul>\n" + "\n".join(items) + "\n</ul>"


def factorial_section(findings: Findings) -> str:
    """Return the factorial tables, the checks of their assumptions, or why there are none."""
    analysis = findings["analysis"]
    tables: Sequence[Table] = analysis["factorial"]
    reasons = {one["reason"] for one in tables}
    if len(reasons) == 1 and "" not in reasons:
        said = f"No analysis of variance: {tables[0]['reason']}."
        return element("p", "analysis.factorial.0.reason", said, "note")
    parts = [element("p", "analysis.crossing", crossing_note(analysis["crossing"]), "note")]
    for index, one in enumerate(tables):
        at = f"analysis.factorial.{index}"
        if one["reason"]:
            said = f"No analysis of variance of the {one['label']}: {one['reason']}."
            parts.append(element("p", f"{at}.reason", said, "note"))
            continue
        parts += [effect_table(at, one), assumption_table(at, one)]
        if one["with_collapsed"]:
            parts.append(collapsed_table(f"{at}.with_collapsed", one["with_collapsed"]))
    return "\n".join(parts)


def crossing_note(crossing: dict[str, Any]) -> str:
    """Say what the factorial tables are made of."""
    sizes = " \u00d7 ".join(f"{len(of)} {name}" for name, of in crossing["levels"].items())
    only = f", {described(crossing['only'].items())} only" if crossing["only"] else ""
    return (
        f"Analysis of variance of {crossing['runs']:,} ok runs: {sizes}{only}; type "
        f"{'I' * crossing['ss_type']} sums of squares, {crossing['blocks']}s as blocks. Second "
        "lines of effect sizes are 95 % intervals that invert the noncentral F distribution. p "
        "(HC3) allows for unequal variances. Share is the effect's part of the total sum of "
        "squares."
    )


def effect_table(at: str, one: Table) -> str:
    """Return the effects on one response."""
    rows = [
        [
            row_heading(f"{at}.rows.{index}.effect", effect_name(row["effect"])),
            *effect_cells(f"{at}.rows.{index}", row),
        ]
        for index, row in enumerate(one["rows"])
    ]
    balanced = "" if one["balanced"] else ", unbalanced"
    caption = f"Effects on the {one['label']}, n = {one['n']:,}{balanced}"
    columns = [
        *("effect", "df", "F", "p", "p (HC3)", "partial \u03b7\u00b2", "\u03c9\u00b2"),
        "share",
    ]
    return table(caption, columns, rows, path=f"{at}.label")


def effect_cells(at: str, row: dict[str, Any]) -> Iterator[str]:
    """Yield the cells of one effect; the residual has no test."""
    yield cell(f"{at}.df", write.count(row["df"]))
    yield cell(f"{at}.F", write.optional(row["F"], write.number))
    for name in ("p", "p_hc3"):
        yield cell(f"{at}.{name}", write.optional(row[name], write.p_value))
    for name in ("partial_eta_sq", "omega_sq"):
        low, high = (row[f"{name}_{end}"] for end in ("low", "high"))
        ends = "" if low is None else f"{low:.3f} to {high:.3f}"
        yield cell(f"{at}.{name}", write.optional(row[name], size), ends)
    yield cell(f"{at}.share", write.percent(100 * row["share"]))


def size(value: float) -> str:
    """Write an effect size with three decimals."""
    return write.signed(f"{value:.3f}")


def assumption_table(at: str, one: Table) -> str:
    """Return the checks of what the tests of one response assume."""
    rows = [
        [
            row_heading(f"{at}.assumptions.{index}.assumption", check["assumption"]),
            cell(f"{at}.assumptions.{index}.test", check["test"], kind="text"),
            cell(
                f"{at}.assumptions.{index}.p",
                "not testable" if check["p"] is None else write.p_value(check["p"]),
            ),
            cell(f"{at}.assumptions.{index}.n", write.count(check["n"])),
        ]
        for index, check in enumerate(one["assumptions"])
    ]
    ratio = one["sd_ratio"]
    note = (
        ""
        if ratio is None
        else f"The largest standard deviation of a cell is {write.number(ratio)} times the "
        "smallest that is not 0."
    )
    caption = f"What the tests of the {one['label']} assume"
    columns = ["assumption", "test", "p", "n"]
    return table(caption, columns, rows, path=f"{at}.sd_ratio", note=note)


def collapsed_table(at: str, extra: dict[str, Any]) -> str:
    """Return the effects with collapsed runs counted at the accuracy they had."""
    caption = f"The same with {extra['collapsed']:,} collapsed runs"
    if extra["reason"]:
        return element("p", f"{at}.reason", f"{caption}: {extra['reason']}.", "note")
    rows = [
        [
            row_heading(f"{at}.rows.{index}.effect", effect_name(row["effect"])),
            cell(f"{at}.rows.{index}.p", write.optional(row["p"], write.p_value)),
            cell(f"{at}.rows.{index}.p_hc3", write.optional(row["p_hc3"], write.p_value)),
            cell(f"{at}.rows.{index}.partial_eta_sq", write.optional(row["partial_eta_sq"], size)),
        ]
        for index, row in enumerate(extra["rows"])
    ]
    columns = ["effect", "p", "p (HC3)", "partial \u03b7\u00b2"]
    return table(caption, columns, rows, path=f"{at}.collapsed")


def letter_tables(findings: Findings) -> str:
    """Return which networks differ on each data set; nothing where there is one network."""
    displays: Sequence[dict[str, Any]] = findings["analysis"]["posthoc"]
    if not displays:
        return ""
    rows = [
        [
            row_heading(f"analysis.posthoc.{index}.label", display["label"]),
            cell(f"{at}.model", model["model"], kind="text"),
            cell(f"{at}.test_accuracy.n", write.count(model["test_accuracy"]["n"])),
            cell(
                f"{at}.test_accuracy",
                write.accuracy(model["test_accuracy"]["estimate"]),
                write.bounds(model["test_accuracy"], write.accuracy),
            ),
            cell(f"{at}.letters", model["letters"], kind="letters"),
        ]
        for index, display in enumerate(displays)
        for number, model in enumerate(display["models"])
        for at in [f"analysis.posthoc.{index}.models.{number}"]
    ]
    note = (
        "Networks that share a letter were not shown to differ (Games and Howell, familywise level "
        "0.05 on each data set), which is not to say that they are equal. At \u03bb = 0 where the "
        "study has it, else at each \u03bb. Second lines are 95 % t intervals over seeds on the "
        "logit scale."
    )
    reasons = [
        element(
            "p",
            f"analysis.posthoc.{index}.reason",
            f"{display['label']}: networks are not compared: {display['reason']}.",
            "note",
        )
        for index, display in enumerate(displays)
        if display["reason"]
    ]
    if not rows:
        return "\n".join(reasons)
    columns = ["data set", "network", "runs", "test accuracy", "letters"]
    caption = "Networks by accuracy, with letters"
    compared = table(caption, columns, rows, path="analysis.posthoc", note=note)
    pairs = details("All pairs", "analysis.posthoc", pair_table(displays))
    return "\n".join([compared, *reasons, pairs])


def pair_table(displays: Sequence[dict[str, Any]]) -> str:
    """Return the comparison of every two networks on each data set."""
    rows = [
        [
            row_heading(f"analysis.posthoc.{index}.label", display["label"]),
            cell(f"{at}.model_a", f"{pair['model_a']} \u2212 {pair['model_b']}", kind="text"),
            cell(f"{at}.difference_pp", write.points(pair["difference_pp"]), interval(pair)),
            cell(f"{at}.p", write.optional(pair["p"], write.p_value)),
            cell(f"{at}.p_holm", write.optional(pair["p_holm"], write.p_value)),
        ]
        for index, display in enumerate(displays)
        for number, pair in enumerate(display["pairs"])
        for at in [f"analysis.posthoc.{index}.pairs.{number}"]
    ]
    note = (
        "Differences of mean test accuracy in percentage points with joint 95 % intervals of Games "
        "and Howell; p of the same, and of Welch's tests after Holm's adjustment."
    )
    columns = ["data set", "networks", "difference", "p", "p (Welch, Holm)"]
    return table("Differences of networks", columns, rows, path="analysis.posthoc", note=note)


def interval(pair: dict[str, Any]) -> str:
    """Write the ends of a difference, nothing where there are none."""
    if pair["low_pp"] is None or pair["high_pp"] is None:
        return ""
    return f"{write.points(pair['low_pp'])} to {write.points(pair['high_pp'])}"


def gain_tables(findings: Findings) -> str:
    """Return the gains in training efficiency, or why there are none."""
    efficiency = findings["analysis"]["efficiency"]
    at = "analysis.efficiency"
    if efficiency["reason"]:
        said = f"No gains in training efficiency: {efficiency['reason']}."
        return element("p", f"{at}.reason", said, "note")
    targets = [
        [
            row_heading(f"{at}.targets.{index}.dataset", one["dataset"]),
            cell(f"{at}.targets.{index}.target", write.accuracy(one["target"])),
            cell(f"{at}.targets.{index}.model", one["model"], kind="text"),
            cell(f"{at}.targets.{index}.lr", setting_text(one), kind="text"),
            cell(f"{at}.targets.{index}.n", write.count(one["n"])),
        ]
        for index, one in enumerate(efficiency["targets"])
    ]
    rows = {False: [], True: []}
    for index, one in enumerate(efficiency["gains"]):
        rows[one["dataset"] is not None].append(gain_row(f"{at}.gains.{index}", one))
    note = (
        "Gain: 1 \u2212 cost to reach the target / the reference's cost, at \u03bb = 0. The target "
        "is 95 % of the best conventional network's mean final validation accuracy; settings "
        "(learning rates and, where a study has them, initialisations) are chosen on the first "
        f"{efficiency['tuning_seeds']} seeds, costs are those of the others. "
        "Runs that never reach the target are censored. Second lines are 95 % bootstrap intervals, "
        "seeds resampled; over several data sets the gain is that of the geometric mean ratio."
    )
    headings = ["data set", "target", "set by", "setting", "runs"]
    columns = ["", "network", "in", "against", "gain", "runs"]
    return "\n".join(
        [
            table("Gains by modality", columns, rows[False], path=f"{at}.gains", note=note),
            details(
                "Gains by data set",
                f"{at}.gains",
                table("Gains by data set", columns, rows[True], path=f"{at}.gains"),
            ),
            details("Targets", at, table("Targets", headings, targets, path=f"{at}.targets")),
        ]
    )


def gain_row(at: str, row: dict[str, Any]) -> list[str]:
    """Return one gain's row."""
    reach = (
        "no interval"
        if row["low"] is None
        else f"{write.percent(100 * row['low'])} to {write.percent(100 * row['high'])}"
    )
    scope = row["dataset"] or f"all of {row['modality']}"
    return [
        row_heading(f"{at}.dataset", scope),
        cell(f"{at}.model", row["model"], kind="text"),
        cell(f"{at}.unit", UNIT_NAMES[row["unit"]], kind="text"),
        cell(f"{at}.against", f"{row['against']} ({', '.join(row['reference'])})", kind="text"),
        cell(f"{at}.gain", write.percent(100 * row["gain"]), reach),
        cell(f"{at}.n", write.count(row["n"])),
    ]
