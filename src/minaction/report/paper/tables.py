"""The tables of a paper besides the analysis of variance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minaction.report import formatting as write
from minaction.report.analysis.posthoc import ALPHA
from minaction.report.efficiency import UNIT_NAMES, UNITS
from minaction.report.frame import STATUSES
from minaction.report.fronts import RESAMPLES
from minaction.report.paper.drawing import Missing
from minaction.report.paper.table import Column, PaperTable, bare
from minaction.report.tables import Findings

PERCENT, ACCURACY, POINTS = bare(write.percent), bare(write.accuracy), bare(write.points)


def count_table(findings: Findings) -> PaperTable:
    """Return the number of runs by status: over all, by modality, by data set and by model."""
    counts = findings["counts"]
    parts = {"modality": "by_modality", "data set": "by_dataset", "model": "by_model"}
    rows = [{"by": "all runs", "level": "all", "planned": counts["planned"], **counts["statuses"]}]
    rows += [
        {"by": by, "level": one["level"], "planned": one["planned"], **one["statuses"]}
        for by, key in parts.items()
        for one in counts[key]
    ]
    return PaperTable(
        name="run-counts",
        caption=(
            "Runs by status. Collapsed runs ended at chance level, diverged ones without a finite "
            "loss; neither is in any mean, all are counted here."
        ),
        columns=(
            Column(key="by", heading=None),
            Column(key="level", heading=""),
            Column(key="planned", heading="planned", write=write.count),
            *(Column(key=status, heading=status, write=write.count) for status in STATUSES),
        ),
        rows=rows,
        group="by",
    )


LAMBDA_COLUMNS = (
    Column(key="group", heading=None),
    Column(key="lam", heading="\u03bb", write=write.lam),
    Column(key="chosen", heading="", write=lambda chosen: "*" if chosen else ""),
    Column(key="multiplier", heading="\u03bb found", write=write.lam_found, ends=False),
    Column(key="planned", heading=None),
    Column(key="ok", heading="n", write=write.count),
    Column(key="energy", heading=None),
    Column(key="energy_percent", heading="raw energy\n(% of \u03bb = 0)", write=PERCENT),
    Column(key="activation_energy", heading=None),
    Column(key="activation_percent", heading="raw activation\n(% of \u03bb = 0)", write=PERCENT),
    Column(key="energy_gauge_fixed", heading=None),
    Column(key="gauge_fixed_percent", heading="gauge-fixed\n(% of \u03bb = 0)", write=PERCENT),
    Column(key="fold_reduction", heading=None),
    Column(key="gauge_fixed_fold", heading=None),
    Column(key="rescaling_percent", heading="rescaling\n(%)", write=PERCENT),
    Column(key="test_accuracy", heading="test accuracy\n(%)", write=ACCURACY),
    Column(key="accuracy_change_pp", heading="change\n(pp)", write=POINTS),
    Column(key="zero_fraction", heading=None),
    Column(key="silent_fraction", heading=None),
)


BUDGET_NOTE = (
    " \u03bb found: the median over seeds of what the runs with a budget found while they trained."
)


def lambda_rows(findings: Findings) -> PaperTable | Missing:
    """Return every group's lambda table under the group's name."""
    rows = [
        {
            **row,
            "group": table["label"],
            "chosen": row["validation"]["selected"],
            "ok": row["statuses"]["ok"],
        }
        for table in findings["lambda_tables"]
        for row in table["rows"]
    ]
    if all(row["lam"] == 0 for row in rows):
        return Missing(name="lambda", reason="the study has one \u03bb, with nothing to compare")
    shown = {
        column.key
        for column in LAMBDA_COLUMNS
        if any(row.get(column.key) is not None for row in rows)
    }
    return PaperTable(
        name="lambda",
        caption=(
            "What each \u03bb does: means over the n runs that are ok, with 95 % t intervals over "
            "seeds in brackets; those of accuracies are taken on the logit scale, those of "
            "rescaling are Fieller's. Percent of \u03bb = 0 are geometric mean ratios and changes "
            "are mean differences, both paired by seed. Energy is the internal energy per sample "
            "of the test split. Rescaling: share of the fall of the log raw activation energy that "
            "gauge fixing removes. The asterisk marks the \u03bb chosen on the validation split by "
            f"the rule {findings['study']['rule']}, fixed before the first run."
            + (BUDGET_NOTE if "multiplier" in shown else "")
        ),
        columns=[column for column in LAMBDA_COLUMNS if column.key in shown],
        rows=rows,
        group="group",
    )


def gain_table(efficiency: dict[str, Any]) -> PaperTable | Missing:
    """Return the gains in training efficiency.

    Args:
        efficiency: From `training_efficiency`.
    """
    if not efficiency["gains"]:
        reason = efficiency["reason"] or "the histories have no costs to compare"
        return Missing(name="efficiency-gains", reason=reason)
    rows = [
        {
            **row,
            "scope": row["dataset"] or f"all of {row['modality']}",
            "reference": ", ".join(row["reference"]),
            "gain": {
                "estimate": row["gain"],
                "low": row["low"],
                "high": row["high"],
                "n": row["n"],
            },
        }
        for row in efficiency["gains"]
    ]
    return PaperTable(
        name="efficiency-gains",
        caption=(
            "Gain in training efficiency, in percent: 1 - cost to reach the target / cost of a "
            f"conventional reference. The target is {100 * efficiency['share']:g} % of the best "
            "conventional model's mean final validation accuracy; the reference is that model "
            "(best) or the one that was cheapest on the tuning seeds (cheapest). Settings are "
            f"chosen on the first {efficiency['tuning_seeds']} seeds, costs are those of the "
            "others; runs that never reach the target are censored. In brackets 95 % intervals of "
            "a bootstrap over seeds, stratified by model."
        ),
        columns=(
            Column(key="modality", heading=None),
            Column(key="dataset", heading=None),
            Column(key="scope", heading="data set"),
            Column(key="model", heading="model"),
            Column(key="unit", heading="in"),
            Column(key="against", heading="against"),
            Column(key="reference", heading="reference"),
            Column(key="n", heading="n", write=write.count),
            Column(key="gain", heading="gain (%) [95 %]", write=whole_percent),
        ),
        rows=rows,
    )


def whole_percent(share: float) -> str:
    """Write a fraction in whole percent."""
    return write.signed(f"{100 * share:.0f}")


def letter_table(displays: Sequence[dict[str, Any]]) -> Iterator[PaperTable | Missing]:
    """Yield which models differ: by letters, and pair by pair.

    Args:
        displays: From `letter_displays`.
    """
    shown = [display for display in displays if not display["reason"]]
    if not shown:
        reason = displays[0]["reason"] if displays else "the study has one model"
        yield Missing(name="posthoc-letters", reason=reason)
        return
    about = (
        "Comparison of the models of each data set by the method of Games and Howell, familywise "
        f"level {ALPHA:g} within a data set."
    )
    yield PaperTable(
        name="posthoc-letters",
        caption=(
            f"{about} Models that share a letter were not shown to differ. Mean test accuracies "
            "with 95 % t intervals over seeds, on the logit scale."
        ),
        columns=(
            Column(key="label", heading=None),
            Column(key="model", heading="model"),
            Column(key="test_accuracy", heading="test accuracy (%)", write=ACCURACY),
            Column(key="letters", heading="letters"),
        ),
        rows=[{"label": one["label"], **row} for one in shown for row in one["models"]],
        group="label",
    )
    yield PaperTable(
        name="posthoc-pairs",
        caption=(
            f"{about} Differences of mean test accuracy in percentage points with joint 95 % "
            "intervals; p of Games and Howell, and of Welch's tests after Holm's adjustment."
        ),
        columns=(
            Column(key="label", heading=None),
            Column(key="model_a", heading="model"),
            Column(key="model_b", heading="against"),
            Column(key="difference_pp", heading="difference (pp)", write=POINTS),
            Column(key="p", heading="p", write=write.p_value),
            Column(key="p_holm", heading="p (Welch, Holm)", write=write.p_value),
        ),
        rows=[pair_row(one["label"], pair) for one in shown for pair in one["pairs"]],
        group="label",
    )


def pair_row(label: str, pair: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison of two models with its difference as an interval."""
    interval = {
        "estimate": pair["difference_pp"],
        "low": pair["low_pp"],
        "high": pair["high_pp"],
        "n": None,
    }
    return {"label": label, **pair, "difference_pp": interval}


def pareto_tables(findings: Findings) -> Iterator[PaperTable | Missing]:
    """Yield the fronts' hypervolumes, and their configurations."""
    fronts = findings["pareto"]
    if not fronts:
        yield Missing(name="pareto", reason="there is no Pareto front to measure")
        return
    named = [
        {
            **front,
            "front": " \u00b7 ".join((front["dataset"], front["energy"], front["kind"])),
            "configurations": len(front["points"]),
            "ahead": sum(point["on_front"] for point in front["points"]),
            "reference_energy": front["reference"]["energy"],
            "reference_accuracy": front["reference"]["test_accuracy"],
        }
        for front in fronts
    ]
    yield PaperTable(
        name="pareto",
        caption=(
            "Pareto fronts of test accuracy and energy. Hypervolume: the area that the front "
            "dominates, in decades of energy times percentage points of accuracy, up to the "
            "reference, which is the largest energy and the lowest accuracy among the "
            "configurations, held fixed; in brackets 95 % intervals over seeds, centred with "
            f"{RESAMPLES:,} bootstrap resamples."
        ),
        columns=(
            Column(key="modality", heading="modality"),
            Column(key="dataset", heading="data set"),
            Column(key="energy", heading="trained\nenergy"),
            Column(key="kind", heading="kind"),
            Column(key="configurations", heading="points", write=write.count),
            Column(key="ahead", heading="on the\nfront", write=write.count),
            Column(key="left_out", heading=None),
            Column(key="reference_energy", heading="reference\nenergy", write=write.number),
            Column(key="reference_accuracy", heading="reference\naccuracy (%)", write=ACCURACY),
            Column(key="hypervolume", heading="hypervolume", write=write.number),
        ),
        rows=named,
    )
    yield PaperTable(
        name="pareto-points",
        caption=(
            "Configurations behind the Pareto fronts: geometric mean energy, mean test accuracy, "
            f"and membership, the share of {RESAMPLES:,} bootstrap resamples of the seeds in which "
            "the configuration is on the front."
        ),
        columns=(
            Column(key="front", heading=None),
            Column(key="curve", heading="network"),
            Column(key="lam", heading="\u03bb", write=write.lam),
            Column(key="n", heading="n", write=write.count),
            Column(key="energy", heading="energy", write=write.number),
            Column(key="test_accuracy", heading="test accuracy (%)", write=ACCURACY),
            Column(key="on_front", heading=None),
            Column(key="membership", heading="membership (%)", write=bare(write.fraction)),
        ),
        rows=[{"front": front["front"], **point} for front in named for point in front["points"]],
        group="front",
    )


WRITERS: dict[str, write.Formatter] = {
    "steps": write.count,
    "macs": lambda macs: write.scientific(macs, 2),
    "seconds": write.number,
}


def cost_table(findings: Findings) -> PaperTable | Missing:
    """Return the median cost to target of each data set's networks."""
    rows = [
        {
            "dataset": entry["dataset"],
            "target": entry["target"]["value"],
            "label": f"{entry['dataset']}, target {write.accuracy(entry['target']['value'])}",
            **{key: arm[key] for key in ("curve", "n", "censored")},
            **{unit: arm[unit]["median"] if arm[unit] else None for unit in UNITS},
        }
        for entry in findings["target_costs"]
        for arm in entry["arms"]
    ]
    if not rows:
        return Missing(name="target-cost", reason="no history says what an accuracy had cost")
    return PaperTable(
        name="target-cost",
        caption=(
            "Median cost to reach the target at \u03bb = 0: Kaplan-Meier estimates, runs that "
            "never reach it being censored, in brackets 95 % intervals of Brookmeyer and Crowley. "
            "The target is 95 % of the highest mean final validation accuracy of a conventional "
            "network on the data set."
        ),
        columns=(
            Column(key="label", heading=None),
            Column(key="dataset", heading=None),
            Column(key="target", heading=None),
            Column(key="curve", heading="network"),
            Column(key="n", heading="n", write=write.count),
            Column(key="censored", heading="never reached", write=write.count),
            *(Column(key=unit, heading=UNIT_NAMES[unit], write=WRITERS[unit]) for unit in UNITS),
        ),
        rows=rows,
        group="label",
    )
