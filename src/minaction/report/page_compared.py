"""The tables of the page that compare networks: Pareto fronts and costs to target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.efficiency import UNIT_NAMES, UNITS
from minaction.report.fronts import RESAMPLES
from minaction.report.markup import cell, details, row_heading, table
from minaction.report.tables import Findings


def pareto_tables(findings: Findings) -> str:
    """Return the fronts with their areas, and the configurations of each folded below."""
    fronts: Sequence[dict[str, Any]] = findings["pareto"]
    if not fronts:
        return ""
    rows = [pareto_row(f"pareto.{index}", front) for index, front in enumerate(fronts)]
    note = (
        "Hypervolume: the area that the front dominates, in decades of energy times percentage "
        "points of test accuracy, up to the reference, which is the largest energy and the lowest "
        "accuracy among the configurations, held fixed; areas of different references do not "
        f"compare. Second lines are 95 % intervals over seeds, centred with {RESAMPLES:,} "
        "bootstrap resamples; noise adds area, and the interval allows for that. Left out are "
        "configurations with fewer than two ok runs of positive energy."
    )
    columns = [
        *("data set", "modality", "trained energy", "kind", "configurations", "left out"),
        *("on the front", "reference energy", "reference accuracy", "hypervolume"),
    ]
    caption = "Pareto fronts of test accuracy and energy"
    folded = [members(f"pareto.{index}", front) for index, front in enumerate(fronts)]
    return "\n".join([table(caption, columns, rows, path="pareto", note=note), *folded])


def pareto_row(at: str, front: dict[str, Any]) -> list[str]:
    """Return one front's row."""
    area, reference = front["hypervolume"], front["reference"]
    ahead = sum(point["on_front"] for point in front["points"])
    return [
        row_heading(f"{at}.dataset", front["dataset"]),
        cell(f"{at}.modality", front["modality"]),
        cell(f"{at}.energy", front["energy"]),
        cell(f"{at}.kind", front["kind"]),
        cell(f"{at}.points", write.count(len(front["points"]))),
        cell(f"{at}.left_out", write.count(front["left_out"])),
        cell(f"{at}.points", write.count(ahead)),
        cell(f"{at}.reference.energy", write.number(reference["energy"])),
        cell(f"{at}.reference.test_accuracy", write.accuracy(reference["test_accuracy"])),
        cell(f"{at}.hypervolume", write.number(area["estimate"]), write.bounds(area, write.number)),
    ]


def members(at: str, front: dict[str, Any]) -> str:
    """Return the configurations of one front, folded."""
    rows = [
        [
            row_heading(f"{at}.points.{index}.curve", point["curve"]),
            cell(f"{at}.points.{index}.lam", write.lam(point["lam"])),
            cell(f"{at}.points.{index}.n", write.count(point["n"])),
            cell(f"{at}.points.{index}.energy", write.number(point["energy"])),
            cell(f"{at}.points.{index}.test_accuracy", write.accuracy(point["test_accuracy"])),
            cell(f"{at}.points.{index}.on_front", "yes" if point["on_front"] else "no"),
            cell(f"{at}.points.{index}.membership", write.fraction(point["membership"])),
        ]
        for index, point in enumerate(front["points"])
    ]
    summary = f"Configurations: {front['dataset']} \u00b7 {front['energy']} \u00b7 {front['kind']}"
    columns = [
        *("network", "\u03bb", "runs", "geometric mean energy", "mean test accuracy"),
        *("on the front", "membership"),
    ]
    shaded = [point["on_front"] for point in front["points"]]
    return details(summary, at, table(summary, columns, rows, path=at, shaded=shaded))


def cost_tables(findings: Findings) -> str:
    """Return the cost to target of each data set's networks; nothing where none was recorded."""
    costs: Sequence[dict[str, Any]] = findings["target_costs"]
    rows = [
        cost_row(f"target_costs.{index}", number, entry)
        for index, entry in enumerate(costs)
        for number in range(len(entry["arms"]))
    ]
    if not rows:
        return ""
    note = (
        "Runs at \u03bb = 0. The target is 95 % of the highest mean final validation accuracy of a "
        "conventional network on the data set, at the learning rates of the study. Medians are "
        "Kaplan-Meier estimates, runs that never reach the target being censored; second lines are "
        "95 % intervals of Brookmeyer and Crowley."
    )
    columns = ["data set", "target", "network", "runs", "never reached"]
    columns += [f"median {UNIT_NAMES[unit]}" for unit in UNITS]
    return table("Cost to reach the target", columns, rows, path="target_costs", note=note)


def cost_row(at: str, number: int, entry: dict[str, Any]) -> list[str]:
    """Return one network's row."""
    arm, here = entry["arms"][number], f"{at}.arms.{number}"
    return [
        row_heading(f"{at}.dataset", entry["dataset"]),
        cell(f"{at}.target.value", write.accuracy(entry["target"]["value"])),
        cell(f"{here}.curve", arm["curve"]),
        cell(f"{here}.n", write.count(arm["n"])),
        cell(f"{here}.censored", write.count(arm["censored"])),
        *(median_cell(f"{here}.{unit}", arm[unit]) for unit in UNITS),
    ]


def median_cell(path: str, found: dict[str, Any] | None) -> str:
    """Return a median cost with its interval, or why there is none."""
    if found is None:
        return cell(path, write.ABSENT, "not recorded")
    median = found["median"]
    if median["estimate"] is None:
        return cell(path, write.ABSENT, "fewer than half reached it")
    low, high = (write.optional(median[end], write.number) for end in ("low", "high"))
    if median["low"] is None and median["high"] is None:
        note = "no interval"
    else:
        note = f"{low} to {high}" if median["high"] is not None else f"{low} or more"
    return cell(path, write.number(median["estimate"]), note)
