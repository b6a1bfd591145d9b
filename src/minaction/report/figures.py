"""The figures: panels and captions, computed from the findings alone.

Colours of grid and text are set by the page for light, dark and print; what is written here is what
does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minaction.report.figures_analysis import effect_figure, gain_figure
from minaction.report.figures_compared import cost_figure, interaction_figures, pareto_figure
from minaction.report.figures_training import layer_figure, training_figure
from minaction.report.lambda_table import is_sweep
from minaction.report.panels import ON_LOGITS, OVER_SEEDS, Figure, Panel
from minaction.report.traces import (
    Row,
    Spec,
    Table,
    Value,
    extent,
    labelled,
    lambda_axis,
    lambda_places,
    lambda_traces,
    log_axis,
    positive,
    scaled,
    separators,
    specification,
    style,
    thin,
    trade_off_traces,
)
from minaction.study.study_file import BUDGET

AXIS_NOTE = (
    "The \u03bb axis is logarithmic; \u03bb = 0 has no place on it and stands at the left, before "
    "the dotted line."
)
BUDGET_AXIS = (
    " Runs with a budget find a \u03bb of their own each: they stand apart at the right, behind "
    "the dotted line, joined to nothing, with the same error bars over seeds."
)
NO_GAUGE = " No gauge-fixed energy was recorded, so the figure shows the raw one alone."
SOME_GAUGE = " Where a group has no gauge-fixed energy the tables say why."

PERCENT_AXIS = log_axis("energy, % of \u03bb = 0 (log)")
ACCURACY_AXIS = {"title": {"text": "test accuracy (%)"}}


def figures(findings: dict[str, Any]) -> list[Figure]:
    """Return the figures of the page; none before the first run has been measured."""
    tables = [table for table in findings["lambda_tables"] if any(map(drawable, table["rows"]))]
    if not tables:
        return []
    drawn: list[Figure | None] = []
    if is_sweep(tables):
        drawn += [accuracy_figure(tables), energy_figure(tables)]
    if any(row["gauge_fixed_percent"]["n"] for table in tables for row in table["rows"]):
        drawn.append(rescaling_figure(tables))
    analysis = findings["analysis"]
    drawn += [
        trade_off_figure(tables),
        pareto_figure(findings["pareto"]),
        *interaction_figures(tables),
        effect_figure(analysis["factorial"]),
        gain_figure(analysis["efficiency"]),
        cost_figure(findings["target_costs"]),
        layer_figure(tables),
        training_figure(findings["training"]),
    ]
    return [figure for figure in drawn if figure]


def accuracy_figure(tables: Sequence[Table]) -> Figure:
    """Return test accuracy against lambda, one trace per group."""
    accuracy = {"": lambda row: scaled(row["test_accuracy"], 100)}
    return Figure(
        id="accuracy",
        title="Test accuracy against \u03bb",
        caption=f"Test accuracy against \u03bb. {OVER_SEEDS} {ON_LOGITS} {axis_note(tables)}",
        panels=tuple(lambda_panels("accuracy", tables, accuracy, ACCURACY_AXIS)),
    )


def energy_figure(tables: Sequence[Table]) -> Figure:
    """Return the trained energy against lambda, raw and gauge-fixed."""
    both = any(comparable(row) for table in tables for row in table["rows"])
    kinds = "Raw (filled symbols) and gauge-fixed (open symbols)" if both else "Raw"
    return Figure(
        id="energy",
        title="Energy against \u03bb",
        caption=(
            f"{kinds} internal energy per sample on the test split (dimensionless, logarithmic "
            f"axis) against \u03bb. {OVER_SEEDS} A bar that would reach below 0 runs to the edge. "
            f"{axis_note(tables)}{gauge_note(tables)}{other_energies(tables)}"
        ),
        panels=tuple(
            lambda_panels(
                "energy",
                tables,
                {
                    " \u00b7 raw": lambda row: positive(row["energy"]),
                    " \u00b7 gauge-fixed": comparable,
                },
                log_axis("energy (log)"),
            )
        ),
    )


def rescaling_figure(tables: Sequence[Table]) -> Figure:
    """Return both energies relative to lambda = 0: what lies between them is mere rescaling."""
    return Figure(
        id="rescaling",
        title="What is left when rescaling is taken out",
        caption=(
            "Raw (filled symbols) and gauge-fixed (open symbols) activation energy in percent of "
            "that at \u03bb = 0, logarithmic axis. The gap between the two curves of a group is "
            "rescaling that left the function unchanged; what is left of the fall, the gauge-fixed "
            "curve says. Points are geometric mean ratios paired by seed; error bars are 95 % t "
            f"intervals of the mean log ratio over seeds. {axis_note(tables)}{gauge_note(tables)}"
        ),
        panels=tuple(
            lambda_panels(
                "rescaling",
                tables,
                {
                    " \u00b7 raw": raw_percent,
                    " \u00b7 gauge-fixed": lambda row: of_zero(
                        row, "energy_gauge_fixed", "gauge_fixed_percent"
                    ),
                },
                PERCENT_AXIS,
            )
        ),
    )


def raw_percent(row: Row) -> dict[str, Any] | None:
    """Return the raw activation energy in percent of that at lambda = 0."""
    if "activation_energy" in row:
        return of_zero(row, "activation_energy", "activation_percent")
    return of_zero(row, "energy", "energy_percent")


def of_zero(row: Row, energy: str, percent: str) -> dict[str, Any] | None:
    """Return an energy in percent of that at lambda = 0, where it is 100 by definition."""
    if row["lam"] != 0:
        return positive(row[percent])
    exact = {"n": row[energy]["n"], "estimate": 100.0, "low": None, "high": None}
    return exact if positive(row[energy]) else None


def comparable(row: Row) -> dict[str, Any] | None:
    """Return the gauge-fixed energy where the trained one is an activation energy as well."""
    return None if "activation_energy" in row else positive(row["energy_gauge_fixed"])


def trade_off_figure(tables: Sequence[Table]) -> Figure:
    """Return test accuracy against energy, raw and gauge-fixed; the chosen lambda is ringed."""
    kinds = {"energy": "raw energy", "energy_gauge_fixed": "gauge-fixed energy"}
    made = [
        trade_off_panel(f"trade-off-{index}-{name.replace('_', '-')}", title, members, name, kind)
        for index, (title, members) in enumerate(split(tables))
        for name, kind in kinds.items()
    ]
    budget = (
        " The symbol with a dot is the budget, whose runs each found a \u03bb of their own."
        if has_budget(tables)
        else ""
    )
    return Figure(
        id="trade-off",
        title="Accuracy against energy",
        caption=(
            "Each point is one \u03bb, labelled where there is room and joined in the order of "
            "\u03bb; up and to the left is better. The larger, open symbol is the \u03bb chosen on "
            f"the validation split.{budget} {OVER_SEEDS} {ON_LOGITS}{gauge_note(tables)}"
        ),
        panels=tuple(panel for panel in made if panel),
    )


def trade_off_panel(
    name: str, title: str, tables: Sequence[Table], energy: str, kind: str
) -> Panel | None:
    """Return one panel of accuracy against one kind of energy, None where there is no point."""
    traces = [
        trace
        for index, table in enumerate(tables)
        for trace in trade_off_traces(table, lambda row: positive(row[energy]), style(index))
    ]
    if not traces:
        return None
    x, y = extent(traces, "x"), extent(traces, "y")
    axes = {**log_axis(f"{kind} (log)"), "range": x}, {**ACCURACY_AXIS, "range": y}
    spec = specification(labelled(traces, x, y), *axes)
    return Panel(id=name, title=f"{title} \u00b7 {kind}", spec=spec)


def lambda_panels(
    name: str, tables: Sequence[Table], values: Mapping[str, Value], axis: Spec
) -> Iterator[Panel]:
    """Yield the panels of lambda curves.

    Args:
        name: Beginning of the panels' ids.
        tables: All lambda tables.
        values: What is drawn, by the end of its trace's name; the second is the gauge-fixed twin.
        axis: The vertical axis.
    """
    for index, (title, members) in enumerate(split(tables)):
        places = lambda_places([row["lam"] for one in members for row in one["rows"]])
        traces = [
            trace
            for number, one in enumerate(members)
            for order, (suffix, value) in enumerate(values.items())
            for trace in lambda_traces(
                one, value, places, thin(style(number)) if order else style(number), suffix
            )
        ]
        spec = specification(traces, lambda_axis(places), axis)
        spec["layout"]["shapes"] = separators(places)
        yield Panel(id=f"{name}-{index}", title=title, spec=spec)


def split(tables: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    """Return the tables of each panel under the panel's title, in the order of the design.

    One panel per data set and energy; a title names the energy where there are several.
    """
    several = len({table["factors"]["energy"] for table in tables}) > 1
    members: dict[str, list[Table]] = {}
    for table in tables:
        factors = table["factors"]
        names = (factors["dataset"], factors["energy"]) if several else (factors["dataset"],)
        members.setdefault(" \u00b7 ".join(map(str, names)), []).append(table)
    return list(members.items())


def axis_note(tables: Sequence[Table]) -> str:
    """Return what a caption says of the lambda axis."""
    return AXIS_NOTE + (BUDGET_AXIS if has_budget(tables) else "")


def has_budget(tables: Sequence[Table]) -> bool:
    """Return whether any table has runs with a budget."""
    return any(row["lam"] == BUDGET for table in tables for row in table["rows"])


def has_gauge(tables: Sequence[Table]) -> bool:
    """Return whether any gauge-fixed energy was recorded."""
    return any(row["energy_gauge_fixed"]["n"] for table in tables for row in table["rows"])


def gauge_note(tables: Sequence[Table]) -> str:
    """Return what a caption says of gauge-fixed energies that are not there."""
    if all(has_gauge([table]) for table in tables):
        return ""
    return SOME_GAUGE if has_gauge(tables) else NO_GAUGE


def other_energies(tables: Sequence[Table]) -> str:
    """Return what a caption says where runs were trained with another than activation energy."""
    if any("activation_energy" in row for table in tables for row in table["rows"]):
        return " Gauge-fixed energies are activation energies, and stand beside no other kind."
    return ""


def drawable(row: Row) -> bool:
    """Return whether a row has both numbers a figure needs."""
    return row["energy"]["estimate"] is not None and row["test_accuracy"]["estimate"] is not None
