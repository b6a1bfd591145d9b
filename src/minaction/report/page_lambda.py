"""The tables of the page that show what lambda does, every cell bound to its finding's path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.frame import STATUSES
from minaction.report.lambda_table import CHOSEN, has_grid
from minaction.report.markup import cell, details, element, row_heading, table
from minaction.report.tables import Findings
from minaction.study.study_file import BUDGET

INTERVALS = (
    "Second lines are 95 % t intervals over seeds, those of accuracies taken on the logit scale, "
    "so that they stay within 0 and 100 %"
)
MEANS = (
    f"Means over the runs that are ok; the column runs counts every status. {INTERVALS}; n stands "
    "there where it is not the number of ok runs."
)
QUANTITIES = (
    "Energy is the mean per sample of the test split, dimensionless. Zero activations: share of "
    "observed activations that are exactly 0; silent units: share of units that are 0 on the whole "
    "split."
)
GAUGE_NOTE = (
    "Energy is part of the loss, and rescaling weights alone can lower it without changing the "
    "function. The gauge-fixed energy is the activation energy of the same function after every "
    "unit that can be rescaled has been brought to equal incoming and outgoing weights: the same "
    "for all networks that differ by rescaling alone. Rescaling is the share of the fall of the "
    "log raw activation energy that gauge fixing removes, with its Fieller interval: 100 % says "
    "that nothing else happened; below 0 the gauge-fixed energy fell further than the raw one."
)
BUDGET_NOTE = (
    "Runs with a budget find their own \u03bb while they train; the multiplier found is the median "
    "over seeds, its second line the smallest and the largest."
)


def choice_table(findings: Findings) -> str:
    """Return what each group's rule chose and its budgets found, with the test split's result."""
    study, tables = findings["study"], findings["lambda_tables"]
    rows = []
    for index, one in enumerate(tables):
        if has_grid(one):
            rows.append(choice_row(index, one))
        rows += [
            budget_row(index, number, one)
            for number, row in enumerate(one["rows"])
            if row["lam"] == BUDGET
        ]
    note = (
        f"Rule {study['rule']}, fixed before the first run: the largest \u03bb whose mean "
        f"validation accuracy is non-inferior to \u03bb = 0 within {100 * study['margin']:g} "
        f"percentage points, by a one-sided paired t test over seeds at level {study['alpha']:g} "
        "for each \u03bb (not adjusted for their number). A \u03bb with any run that is not ok is "
        f"not eligible. The test split plays no part in the choice. {INTERVALS}. The next section "
        "says what gauge-fixed energy and rescaling are."
    )
    columns = ["group", "chosen \u03bb", *(HEADINGS[name] for name in CHOSEN), "remark"]
    caption = "Chosen \u03bb and its result on the test split"
    return table(caption, columns, rows, path="study.rule", note=note)


HEADINGS = {
    "multiplier": "multiplier found",
    "units": "units",
    "energy": "raw energy",
    "activation_energy": "raw activation energy",
    "energy_gauge_fixed": "gauge-fixed energy",
    "energy_percent": "raw, % of \u03bb\u00a0=\u00a00",
    "activation_percent": "raw activation, % of \u03bb\u00a0=\u00a00",
    "gauge_fixed_percent": "gauge-fixed, % of \u03bb\u00a0=\u00a00",
    "fold_reduction": "raw fold reduction",
    "activation_fold": "raw activation fold reduction",
    "gauge_fixed_fold": "gauge-fixed fold reduction",
    "rescaling_percent": "rescaling",
    "test_accuracy": "test accuracy",
    "accuracy_change_pp": "change of accuracy",
    "zero_fraction": "zero activations",
    "silent_fraction": "silent units",
}
"""Headings of the columns that show estimates, in their order."""

WRITERS: dict[str, write.Formatter] = {
    "multiplier": write.lam_found,
    "units": write.count,
    "energy": write.number,
    "activation_energy": write.number,
    "energy_gauge_fixed": write.number,
    "energy_percent": write.percent,
    "activation_percent": write.percent,
    "gauge_fixed_percent": write.percent,
    "fold_reduction": write.fold,
    "activation_fold": write.fold,
    "gauge_fixed_fold": write.fold,
    "rescaling_percent": write.percent,
    "test_accuracy": write.accuracy,
    "accuracy_change_pp": write.points,
    "zero_fraction": write.fraction,
    "silent_fraction": write.fraction,
}
WITHOUT_INTERVAL = ("units", "zero_fraction", "silent_fraction")


def choice_row(index: int, one: dict[str, Any]) -> list[str]:
    """Return what the rule chose in one group."""
    at, chosen = f"lambda_tables.{index}.choice", one["choice"]
    cells = [row_heading(f"lambda_tables.{index}.label", one["label"])]
    cells.append(cell(f"{at}.lam", write.optional(chosen["lam"], write.lam)))
    if chosen["lam"] is None:
        cells += [cell(f"{at}.{name}", write.ABSENT) for name in CHOSEN]
    else:
        cells += [interval_cell(f"{at}.{name}", chosen[name], name) for name in CHOSEN]
    return [*cells, cell(f"{at}.reason", chosen["reason"], kind="text")]


def budget_row(index: int, number: int, one: dict[str, Any]) -> list[str]:
    """Return what the budget of one group found."""
    at, row, budget = f"lambda_tables.{index}.rows.{number}", one["rows"][number], one["budget"]
    remark = (
        f"accuracy held within {write.margin(budget['margin'])} of \u03bb = 0, aiming at "
        f"{100 * budget['aim']:g} % of that; target from "
        f"{', '.join(budget['baselines']) or 'no run yet'}"
    )
    return [
        row_heading(f"lambda_tables.{index}.label", one["label"]),
        interval_cell(f"{at}.multiplier", row["multiplier"], "multiplier", prefix="budget: "),
        *(interval_cell(f"{at}.{name}", row[name], name) for name in CHOSEN),
        cell(f"lambda_tables.{index}.budget", remark, kind="text"),
    ]


def lambda_section(findings: Findings) -> str:
    """Return every group's lambda table, its validation test and its layers folded below it."""
    tables = findings["lambda_tables"]
    note = (
        f"{MEANS} Percent and fold are geometric mean ratios and changes are mean differences "
        f"against \u03bb = 0, both paired by seed. {QUANTITIES} The shaded row is the chosen "
        "\u03bb."
    )
    notes = [note, GAUGE_NOTE + exactness(findings["gauge"])]
    if any(one["budget"] for one in tables):
        notes.append(BUDGET_NOTE)
    parts = [element("p", "lambda_tables", text, "note") for text in notes]
    for index, one in enumerate(tables):
        parts += [
            lambda_table(index, one),
            *missing_notes(f"lambda_tables.{index}.gauge_missing", one["gauge_missing"]),
            validation_details(index, one),
            layer_details(index, one),
        ]
    return "\n".join(parts)


def exactness(gauge: dict[str, Any]) -> str:
    """Say how far gauge fixing changed an output, where that was recorded."""
    difference = gauge["max_output_difference"]
    if difference is None:
        return ""
    return (
        " Gauge fixing changed the outputs of the networks by at most "
        f"{write.number(difference)} of the largest one."
    )


def missing_notes(path: str, missing: Sequence[dict[str, Any]], about: str = "") -> list[str]:
    """Return why gauge-fixed energies are missing, each reason once, after what it is about."""
    notes = []
    for number, entry in enumerate(missing):
        layer = f" of {entry['layer']}" if "layer" in entry else ""
        plural = "" if entry["runs"] == 1 else "s"
        runs = f"{entry['runs']:,} ok run{plural}"
        text = f"{about}No gauge-fixed energy{layer} in {runs}: {entry['reason']}."
        notes.append(element("p", f"{path}.{number}", text, "note"))
    return notes


def lambda_table(index: int, one: dict[str, Any]) -> str:
    """Return one group's lambda table."""
    columns = [name for name in HEADINGS if name in one["rows"][-1]]
    rows = []
    for number, row in enumerate(one["rows"]):
        at = f"lambda_tables.{index}.rows.{number}"
        done = row["statuses"]["ok"]
        cells = [row_heading(f"{at}.lam", write.lam(row["lam"]), "number"), status_cell(at, row)]
        cells += [
            interval_cell(f"{at}.{name}", row[name], name, expected=done)
            if name in row
            else cell(f"{at}.{name}", "given")
            for name in columns
        ]
        rows.append(cells)
    shaded = [row["validation"]["selected"] for row in one["rows"]]
    headings = ["\u03bb", "runs", *(HEADINGS[name] for name in columns)]
    return table(one["label"], headings, rows, path=f"lambda_tables.{index}.label", shaded=shaded)


def layer_details(index: int, one: dict[str, Any]) -> str:
    """Return the layers of one group's networks, folded; nothing where none was recorded."""
    layers = one["layers"]
    if not layers:
        return ""
    columns = [name for name in HEADINGS if name in layers[0]]
    rows = []
    for number, layer in enumerate(layers):
        at = f"lambda_tables.{index}.layers.{number}"
        cells = [row_heading(f"{at}.lam", write.lam(layer["lam"]), "number")]
        cells.append(cell("", layer["layer"], kind="text"))
        cells += [interval_cell("", layer[name], name) for name in columns]
        rows.append(cells)
    path, summary = f"lambda_tables.{index}.label", f"Layers: {one['label']}"
    headings = ["\u03bb", "layer", *(HEADINGS[name] for name in columns)]
    missing = missing_notes(
        f"lambda_tables.{index}.layer_gauge_missing", one["layer_gauge_missing"]
    )
    bound = [f"lambda_tables.{index}.layers.{number}" for number in range(len(layers))]
    keys = ["", "layer", *columns]
    shown = table(summary, headings, rows, path=path, keys=keys, bound=bound)
    return details(summary, path, "\n".join([shown, *missing]))


def validation_details(index: int, one: dict[str, Any]) -> str:
    """Return the validation test behind one group's choice, folded."""
    rows = []
    for number, row in enumerate(one["rows"]):
        at, test = f"lambda_tables.{index}.rows.{number}.validation", row["validation"]
        verdict = "eligible" if test["eligible"] else f"not eligible: {test['reason']}"
        rows.append(
            [
                row_heading(
                    f"lambda_tables.{index}.rows.{number}.lam", write.lam(row["lam"]), "number"
                ),
                cell(f"{at}.n", write.count(test["n"])),
                cell(f"{at}.difference_pp", write.optional(test["difference_pp"], write.points)),
                cell(f"{at}.lower_pp", write.optional(test["lower_pp"], write.points)),
                cell(f"{at}.p", write.optional(test["p"], write.p_value)),
                cell(f"{at}.eligible", verdict, kind="text"),
            ]
        )
    columns = ["\u03bb", "seeds", "mean validation difference", "lower bound", "p", "verdict"]
    summary = f"Validation test: {one['label']}"
    path = f"lambda_tables.{index}.label"
    return details(summary, path, table(summary, columns, rows, path=path))


def interval_cell(
    path: str,
    interval: dict[str, Any],
    name: str,
    *,
    expected: int | None = None,
    prefix: str = "",
) -> str:
    """Return the cell of an estimate with its interval, or of the reason why there is none.

    Args:
        path: The finding, or empty in a table whose rows and columns say it.
        interval: The estimate.
        name: Which estimate it is, a key of `WRITERS`.
        expected: Number of runs behind it where all is well; another one is written out.
        prefix: Stands before the estimate.
    """
    formatter = WRITERS[name]
    if interval["estimate"] is None:
        return cell(path, f"{prefix}{write.ABSENT}", interval["reason"])
    estimate = prefix + formatter(interval["estimate"])
    notes = [] if name in WITHOUT_INTERVAL else [write.bounds(interval, formatter)]
    if expected not in (None, interval["n"]) and interval["low"] is not None:
        notes.append(f"n = {interval['n']:,}")
    return cell(path, estimate, ", ".join(notes))


def status_cell(at: str, row: dict[str, Any]) -> str:
    """Return the cell that counts a row's runs: `10 ok`, and every other status there is."""
    counts = row["statuses"]
    others = ", ".join(f"{counts[s]:,}\u00a0{s}" for s in STATUSES if counts[s] and s != "ok")
    return cell(f"{at}.statuses", f"{counts['ok']:,} ok", others, kind="status")
