"""What the runs of `results/transformer.py` came to: means over seeds, paired differences, tables.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from minaction.report import formatting as write
from minaction.report.estimates import (
    Estimate,
    change_pp,
    fold_reduction,
    mean,
    percent_of,
    proportion,
)

SHOWN = {"bert": "BERT-style", "gpt2": "GPT-2-style", "relu": "ReLU", "gelu": "GELU"}
QUALITY = {"bert": "accuracy", "gpt2": "perplexity"}
SHARES = ("zero_fraction", "near_zero_fraction")
COUNTS = ("energy_activation", "macs_dense", "macs_effective", "silent_units")
GAUGE = ("energy_gauge_fixed", "energy_gauge_fixed_reason")
"""The gauge-fixed energy, and why there is none."""
REMOVAL = ("units", "exact", "approximate", "macs_compacted", "macs_effective_compacted")

Line = Mapping[str, Any]
"""A finished run, as `results/transformer.py` writes it."""


def summary(lines: Sequence[Line], *, planned: int) -> dict[str, Any]:
    """Return one entry for each model and activation.

    Args:
        lines: Finished runs, at least one, those of a model with the same settings.
        planned: How many there are to be.
    """
    rows = pd.DataFrame([flat(line) for line in lines])
    minutes = rows["cpu_seconds"] / 60
    return {
        "schema": 1,
        "planned": planned,
        "recorded": len(lines),
        "ended": {str(name): int(n) for name, n in rows["status"].value_counts().items()},
        "cpu": sorted({line["provenance"]["cpu"] for line in lines}),
        "core_minutes": {"all": float(minutes.sum()), "longest": float(minutes.max())},
        "others_cpus": mean(rows["others_cpus"].dropna()),
        "settings": {line["settings"]["model"]: common(line["settings"]) for line in lines},
        "cells": [
            cell_of(model, activation, cell)
            for (model, activation), cell in rows.groupby(["model", "activation"], sort=False)
        ],
    }


def common(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not crossed."""
    crossed = ("model", "activation", "lam", "seed")
    return {key: value for key, value in settings.items() if key not in crossed}


def flat(line: Line) -> dict[str, Any]:
    """Return a run as a row of a table; what it does not have is None."""
    settings, removal = line["settings"], line.get("compaction", {})
    quality = QUALITY[settings["model"]]
    done = bool(removal) and "error" not in removal
    row = {
        **{key: settings[key] for key in ("model", "activation", "seed")},
        "arm": "budget" if settings["lam"] else "0",
        **{key: line.get(key) for key in (*SHARES, *COUNTS, *GAUGE, "lam_found")},
        **{key: line[key] for key in ("status", "cpu_seconds")},
        "others_cpus": line["conditions"]["others_cpus"],
        "at_highest": (line.get("lam_found") or 0) >= 0.99 * settings["lam_range"][-1],
        "quality": line["quality"]["test"][quality] if "quality" in line else None,
        **dict.fromkeys((*REMOVAL, "units_before", "quality_compacted")),
    }
    if done:
        before, after = (sum(counts) for counts in zip(*removal["units"].values(), strict=True))
        row |= {
            "units_before": before,
            "units": after,
            "exact": removal["exact"],
            "approximate": removal["approximate"],
            "macs_compacted": removal["macs"][1],
            "macs_effective_compacted": removal["macs_effective"],
            "quality_compacted": removal["quality"]["test"][quality],
        }
    timed = {entry["batch"]: entry["speedup"] for entry in removal.get("latency", ())}
    for batch in settings["latency_batches"]:  # where nothing went both are the same network
        row[f"speedup_{batch}"] = timed.get(batch, 1.0) if done else None
    return row


def cell_of(model: str, activation: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return means at each lambda with 95 % t intervals, and differences paired by seed."""
    good = rows[rows["status"] == "ok"].set_index("seed")
    zero, budget = good[good["arm"] == "0"], good[good["arm"] == "budget"]
    return {
        "model": model,
        "activation": activation,
        "not_ok": len(rows) - len(good),
        "not_compacted": int(good["units"].isna().sum()),
        "at_highest": int(budget["at_highest"].sum()),
        "gauge_reason": next(iter(good["energy_gauge_fixed_reason"].dropna()), None),
        "0": arm_of(model, zero),
        "budget": arm_of(model, budget),
        "difference": difference_of(model, budget, zero),
    }


def known(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return a column's values, by seed, where there are any."""
    return rows[name].dropna().astype(float)


def arm_of(model: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the means of the runs at one lambda; of ratios the geometric means."""
    average = proportion if model == "bert" else mean
    before = known(rows, "units_before")
    return {
        "seeds": len(rows),
        "quality": average(known(rows, "quality")),
        "quality_compacted": average(known(rows, "quality_compacted")),
        "change": change(model, known(rows, "quality_compacted"), known(rows, "quality")),
        **{name: proportion(known(rows, name)) for name in SHARES},
        **{name: mean(known(rows, name)) for name in (*COUNTS, *REMOVAL, "lam_found")},
        "energy_gauge_fixed": mean(known(rows, "energy_gauge_fixed")),
        "units_before": int(before.iloc[0]) if len(before) else None,
        "macs_fold": fold_reduction(known(rows, "macs_compacted"), known(rows, "macs_dense")),
        "speedup": {name: mean_fold(known(rows, name)) for name in speedups(rows)},
    }


def difference_of(model: str, budget: pd.DataFrame, zero: pd.DataFrame) -> dict[str, Any]:
    """Return what a budget changes against lambda 0, paired by seed."""

    def fold(name: str) -> Estimate:
        return fold_reduction(known(budget, name), known(zero, name))

    dense = known(zero, "quality")
    return {
        "quality": change(model, known(budget, "quality"), dense),
        "quality_compacted": change(model, known(budget, "quality_compacted"), dense),
        **{f"{name}_pp": change_pp(known(budget, name), known(zero, name)) for name in SHARES},
        **{
            f"{name}_fold": fold(name)
            for name in (
                *("energy_activation", "energy_gauge_fixed", "macs_effective"),
                *("macs_compacted", "macs_effective_compacted"),
            )
        },
        "speedup_fold": {
            name: fold_reduction(known(zero, name), known(budget, name)) for name in speedups(zero)
        },
    }


def speedups(rows: pd.DataFrame) -> list[str]:
    """Return the columns that hold speed-ups, one for each batch size."""
    return [name for name in rows.columns if name.startswith("speedup_")]


def mean_fold(values: pd.Series) -> Estimate:
    """Return the geometric mean of ratios."""
    return fold_reduction(pd.Series(1.0, index=values.index), values)


def change(model: str, after: pd.Series, before: pd.Series) -> Estimate:
    """Return the change of accuracy in percentage points, or of perplexity in percent."""
    if model == "bert":
        return change_pp(after, before)
    found = percent_of(after, before)
    ends = ("estimate", "low", "high")
    return found | {end: None if found[end] is None else found[end] - 100 for end in ends}


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the summary as a page of Markdown."""
    return f"# A transformer trained with E\n\n{opening(found)}\n{tables(found)}"


def opening(found: Mapping[str, Any]) -> str:
    """Say what was run, at what cost, and what numbers mean."""
    one = next(iter(found["settings"].values()))
    margins = " and ".join(
        f"{write.margin(of['margin'])} of accuracy"
        if model == "bert"
        else f"{100 * of['margin']:g} % of perplexity"
        for model, of in found["settings"].items()
    )
    minutes, others = found["core_minutes"], found["others_cpus"]["estimate"]
    busy = "" if others is None else f", while others used {others:.1f} CPUs"
    return (
        f"Made by `python results/transformer.py`: {found['recorded']} of {found['planned']} runs, "
        f"{minutes['all']:.0f} core-minutes, the longest {minutes['longest']:.1f}, on "
        f"{', '.join(found['cpu'])}{busy}. A BERT-style model (which of 20 Newsgroups a message is "
        "from) and a GPT-2-style model (the next word of the same messages), made from a "
        f"configuration: {one['layers']} layers of width {one['width']} with {one['units']} "
        f"feed-forward units each, {one['tokens']} tokens, {one['steps']:,} steps of "
        f"{one['batch']} texts, trained by Hugging Face's `Trainer` with `add_energy`. E is the "
        f"{one['energy']} energy of the feed-forward units. A budget lowers it as far as {margins} "
        f"on the validation part allow, of which training is to use {one['aim']:g} and the removal "
        "of near-silent units the rest; networks at lambda 0 lose units by the same rule. Test "
        "part; means over seeds, geometric ones of ratios, with 95 % t intervals; differences are "
        "paired by seed.\n"
    )


def tables(found: Mapping[str, Any]) -> str:
    """Return the three tables, and what must be known beside them."""
    cells = found["cells"]
    batches = [name.removeprefix("speedup_") for name in cells[0]["0"]["speedup"]]
    faster = [f"times faster, batch {batch}" for batch in batches]
    trained = [trained_row(cell, arm) for cell in cells for arm in ("0", "budget")]
    removed = [removed_row(cell, arm) for cell in cells for arm in ("0", "budget")]
    return (
        "As trained. *Near zero*: the largest share of a layer's activations that holds no more "
        "than 1 % of its energy, exact zeros among them. Energy is the activation energy of the "
        "feed-forward layers, and gauge-fixed where mere rescaling is taken out; effective MACs "
        "are those that read no zero, of all MACs of the model:\n\n"
        + table(
            ["", "lambda", "seeds", "accuracy or perplexity", "zeros, %", "near zero, %", "energy",
             "gauge-fixed", "effective MACs, %"],
            trained,
        )
        + "\nSilent units taken out, without a fine-tune: *exactly* changes nothing on the texts "
        "units were judged by. Latency on one thread, in turns with the network before; the "
        "change is that of accuracy in points, or of perplexity in percent:\n\n"
        + table(
            ["", "lambda", "units left", "exactly", "nearly silent", "times fewer MACs", *faster,
             "change"],
            removed,
        )
        + "\nThe budget against lambda 0; *compacted* ones against the compacted networks at "
        "lambda 0, their accuracy or perplexity against the whole network at lambda 0:\n\n"
        + table(
            ["", "accuracy or perplexity", "energy, times lower", "gauge-fixed", "zeros, pp",
             "near zero, pp", "compacted: accuracy or perplexity", "times fewer MACs", *faster],
            [difference_row(cell) for cell in cells],
        )
        + "".join(notes(cells))
    )  # fmt: skip


def trained_row(cell: Mapping[str, Any], arm: str) -> list[str]:
    """Return what the runs of one model at one lambda are like."""
    found, model = cell[arm], cell["model"]
    share = [100 * (found[name]["estimate"] or 0) for name in ("macs_effective", "macs_dense")]
    return [
        label(cell),
        arm,
        str(found["seeds"]),
        bracketed(found["quality"], ".2f", 100 if model == "bert" else 1),
        *(bracketed(found[name], ".1f", 100) for name in SHARES),
        bracketed(found["energy_activation"], ".4g"),
        cell["gauge_reason"] or bracketed(found["energy_gauge_fixed"], ".4g"),
        f"{100 * share[0] / share[1]:.1f}" if share[1] else write.ABSENT,
    ]


def removed_row(cell: Mapping[str, Any], arm: str) -> list[str]:
    """Return what taking units out of them came to."""
    found = cell[arm]
    return [
        label(cell),
        arm,
        f"{bracketed(found['units'], '.0f')} of {found['units_before']}",
        *(bracketed(found[name], ".0f") for name in ("exact", "approximate")),
        bracketed(found["macs_fold"], ".2f"),
        *(bracketed(one, ".2f") for one in found["speedup"].values()),
        bracketed(found["change"], "+.2f"),
    ]


def difference_row(cell: Mapping[str, Any]) -> list[str]:
    """Return what the budget changes."""
    found = cell["difference"]
    return [
        label(cell),
        bracketed(found["quality"], "+.2f"),
        bracketed(found["energy_activation_fold"], ".3g"),
        cell["gauge_reason"] or bracketed(found["energy_gauge_fixed_fold"], ".3g"),
        *(bracketed(found[f"{name}_pp"], "+.1f") for name in SHARES),
        bracketed(found["quality_compacted"], "+.2f"),
        bracketed(found["macs_compacted_fold"], ".2f"),
        *(bracketed(one, ".2f") for one in found["speedup_fold"].values()),
    ]


def notes(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which runs are in no mean, and where something else than the margin limited lambda."""
    texts = {
        "not_ok": "left out of the means, for they ended badly: {}",
        "not_compacted": "left out of the second table, for they could not be compacted: {}",
        "at_highest": "budgets whose lambda ended at its highest, with room in the margin: {}",
    }
    return [
        f"\n{label(cell)}: {text.format(cell[key])}.\n"
        for cell in cells
        for key, text in texts.items()
        if cell[key]
    ]


def label(cell: Mapping[str, Any]) -> str:
    """Return how a model and its activation are called."""
    return f"{SHOWN[cell['model']]}, {SHOWN[cell['activation']]}"


def bracketed(value: Estimate, digits: str, factor: float = 1) -> str:
    """Return an estimate with its interval in brackets, if it has one; or why there is none."""
    if value["estimate"] is None:
        return value["reason"]
    ends = [factor * value[end] for end in ("low", "high") if value[end] is not None]
    interval = f" [{', '.join(format(end, digits) for end in ends)}]" if ends else ""
    return f"{factor * value['estimate']:{digits}}{interval}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
