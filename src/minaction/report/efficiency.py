"""Training efficiency: targets, costs to reach them, and gains, from a study's records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from minaction.errors import InputError
from minaction.stats.costs import (
    Costs,
    Curve,
    common_horizon,
    cost_to_target,
    gain,
    median_cost,
    restricted_mean,
)
from minaction.study.gauge_fields import finite_number
from minaction.study.journal import Record

CONVENTIONAL = ("mlp", "cnn", "gru", "tcn", "transformer")
"""Models of which the best sets the target and is what the others are compared with."""

UNITS = ("steps", "macs", "seconds")
UNIT_NAMES = {
    "steps": "optimiser steps",
    "macs": "training MACs",
    "seconds": "training seconds",
}
"""Optimiser steps; MACs of forward and backward passes; seconds of training, evaluation aside."""

SHARE = 0.95
"""Of the best conventional model's mean final validation accuracy: the target."""

TUNING_SEEDS = 3
"""Seeds, the first ones, on which settings are chosen; costs are those of the others."""

SEED = 0
"""Of every bootstrap."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run contributes.

    Attributes:
        init: How layers before a ReLU started; None: in the model's own way.
        accuracy: Final validation accuracy, a fraction; NaN where there is none.
        curves: Its validations by unit.
    """

    dataset: str
    model: str
    lr: float
    init: str | None
    seed: int
    accuracy: float
    curves: Mapping[str, Curve]


Runs = Sequence[Run]
Key = TypeVar("Key")

Setting = tuple[float, str | None]
"""A learning rate and how layers before a ReLU start: what is chosen for each model."""

Scope = tuple[str, str | None]
"""A modality and one of its data sets, or all of them."""

Comparison = tuple[str, str, str]
"""A model, a unit, and which reference: `best` or `cheapest`."""

Pair = tuple[Costs, Costs, str]
"""Costs of a model and of its reference, and the reference's name."""


def efficiency(
    records: Sequence[Record], modalities: Mapping[str, str], *, tuning_seeds: int = TUNING_SEEDS
) -> dict[str, Any]:
    """Return what every model spends until the target, and what it gains on a conventional one.

    A setting is a learning rate and, where the study says so, an initialisation. Target: 95 % of
    the highest mean final validation accuracy that a conventional model has at any setting. Each
    model's setting is the one of lowest mean cost in steps on the first `tuning_seeds` seeds; costs
    and gains are those of the other seeds at that setting. A gain is 1 - cost / cost of the
    reference, which is the conventional model of highest accuracy (`best`) or the one that was
    cheapest on the tuning seeds (`cheapest`), a stricter rule. Runs that never reach the target are
    censored; means are restricted to where none is. Intervals are 95 % stratified bootstrap ones
    over seeds. Only runs at lambda 0 count.

    Args:
        records: The latest record of each run; failed ones count as censored.
        modalities: Modality of each data set, which gains are summed up by as well.
        tuning_seeds: How many seeds the settings are chosen on.

    Returns:
        `targets`, by data set; `costs`, by data set, model and unit, with the setting chosen and
        whether its rate is the smallest or largest of several, `n`, `censored`, `median` (None
        where fewer than half reached it), `mean` up to `horizon` (None: all did); `gains`, by data
        set, and by modality (`dataset` None: the geometric mean of ratios), model, unit and
        reference.

    Raises:
        InputError: A data set has no conventional model whose runs all have an accuracy, a model
            has no seed left to measure on, or runs differ in more than their setting.
    """
    runs = sorted((run_of(r) for r in records if r.config["lam"] == 0), key=place_of)
    if twins := [one for one, other in pairwise(runs) if place_of(one) == place_of(other)]:
        raise InputError(
            f"{twins[0].dataset}, {twins[0].model}, seed {twins[0].seed}: two runs differ in more "
            "than learning rate and init; summarise a study that crosses nothing else"
        )
    targets: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    pairs: dict[Scope, dict[Comparison, list[Pair]]] = {}
    for dataset in dict.fromkeys(run.dataset for run in runs):
        of_set = [run for run in runs if run.dataset == dataset]
        modality = modalities[dataset]
        targets.append({"modality": modality, **target_of(dataset, of_set)})
        arms = measure(of_set, targets[-1]["target"], tuning_seeds)
        costs += [cost_row(modality, dataset, arm, unit) for arm in arms for unit in arm.costs]
        for comparison, pair in paired(arms, targets[-1]["model"]):
            for scope in ((modality, dataset), (modality, None)):
                pairs.setdefault(scope, {}).setdefault(comparison, []).append(pair)
    return {
        "share": SHARE,
        "tuning_seeds": tuning_seeds,
        "targets": targets,
        "costs": costs,
        "gains": [
            gain_row(scope, comparison, found)
            for scope, comparisons in pairs.items()
            for comparison, found in comparisons.items()
        ],
    }


def setting_text(row: Mapping[str, Any]) -> str:
    """Write a setting: its learning rate and, where the study says so, its initialisation."""
    rate = f"lr {row['lr']:g}"
    return rate if row["init"] is None else f"{rate}, {row['init']}"


def place_of(run: Run) -> tuple[str, str, float, str, int]:
    """Return where a run stands in the crossing."""
    return run.dataset, run.model, run.lr, run.init or "", run.seed


def run_of(record: Record) -> Run:
    """Return what a record contributes; without validations where the run failed."""
    config, metrics = record.config, record.metrics or {}
    looks = np.array(list(validations(record)), np.float64).reshape(-1, 3)
    steps, seconds, accuracy = looks.T
    per_step = finite_number(metrics.get("train_macs_per_step"))
    macs = np.empty(0) if per_step is None else steps * per_step
    final = finite_number(metrics.get("val_accuracy"))
    return Run(
        dataset=config["dataset"],
        model=config["model"],
        lr=config["lr"],
        init=config.get("init"),
        seed=config["seed"],
        accuracy=math.nan if final is None else final,
        curves={
            unit: Curve(spent=spent, accuracy=accuracy[: len(spent)])
            for unit, spent in zip(UNITS, (steps, macs, seconds), strict=True)
        },
    )


def validations(record: Record) -> Iterator[tuple[float, float, float]]:
    """Yield steps, seconds and accuracy of each validation that has all three."""
    for entry in record.history:
        if isinstance(entry, dict):
            step, spent, accuracy = (
                finite_number(entry.get(name)) for name in ("step", "train_seconds", "val_accuracy")
            )
            if step is not None and spent is not None and accuracy is not None:
                yield step, spent, accuracy


def target_of(dataset: str, runs: Runs) -> dict[str, Any]:
    """Return the best conventional model of a data set, its accuracy, and the target from it.

    A setting at which a run has no accuracy is no candidate: a mean over survivors would flatter
    it.
    """
    means = {
        cell: (float(np.mean([run.accuracy for run in members])), len(members))
        for cell, members in cells(runs).items()
        if cell[0] in CONVENTIONAL
    }
    means = {cell: found for cell, found in means.items() if math.isfinite(found[0])}
    if not means:
        raise InputError(
            f"{dataset}: no conventional model ({', '.join(CONVENTIONAL)}) whose runs all have a "
            "validation accuracy; run some at lambda 0"
        )
    (model, (lr, init)), (accuracy, n) = max(means.items(), key=lambda item: item[1][0])
    return {
        "dataset": dataset, "model": model, "lr": lr, "init": init, "accuracy": accuracy, "n": n,
        "target": SHARE * accuracy,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model at the setting chosen for it.

    Attributes:
        at_edge: Whether its rate is the smallest or largest of several.
        tuning: Costs by unit on the tuning seeds.
        costs: Costs by unit on the other seeds; a unit that was not recorded is missing.
    """

    model: str
    lr: float
    init: str | None
    at_edge: bool
    tuning: Mapping[str, Costs]
    costs: Mapping[str, Costs]


def measure(runs: Runs, target: float, tuning_seeds: int) -> list[Arm]:
    """Choose each model's setting on the first seeds and return what the others cost."""
    settings: dict[str, dict[Setting, Runs]] = {}
    for (model, setting), members in cells(runs).items():
        settings.setdefault(model, {})[setting] = members
    return [arm_of(model, tried, target, tuning_seeds) for model, tried in settings.items()]


def arm_of(model: str, tried: Mapping[Setting, Runs], target: float, tuning_seeds: int) -> Arm:
    """Return a model at the setting that reached the target in the fewest steps."""
    tuning = {
        setting: [run for run in runs if run.seed < tuning_seeds] for setting, runs in tried.items()
    }
    steps = {
        setting: costs_in("steps", runs, target)
        for setting, runs in tuning.items()
        if validated("steps", runs)
    }
    if not steps:
        raise InputError(
            f"{model}: none of the first {tuning_seeds} seeds has a validation; run them first"
        )
    means = means_of(steps)
    chosen = min(means, key=lambda setting: means[setting])
    rest = [run for run in tried[chosen] if run.seed >= tuning_seeds]
    if not rest:
        raise InputError(
            f"{model}: has no seeds besides the {tuning_seeds} that its setting is chosen on; run "
            "more seeds"
        )
    recorded = [u for u in UNITS if validated(u, tuning[chosen]) and validated(u, rest)]
    (lr, init), rates = chosen, {rate for rate, _ in tried}
    return Arm(
        model=model,
        lr=lr,
        init=init,
        at_edge=len(rates) > 1 and lr in (min(rates), max(rates)),
        tuning={unit: costs_in(unit, tuning[chosen], target) for unit in recorded},
        costs={unit: costs_in(unit, rest, target) for unit in recorded},
    )


def validated(unit: str, runs: Runs) -> bool:
    """Return whether any run was validated at a known cost."""
    return any(run.curves[unit].spent.size for run in runs)


def costs_in(unit: str, runs: Runs, target: float) -> Costs:
    """Return what runs spent of a unit until the target."""
    return cost_to_target([run.curves[unit] for run in runs], target)


def means_of(costs: Mapping[Key, Costs]) -> dict[Key, float]:
    """Return mean costs, restricted to the horizon common to all."""
    horizon = common_horizon(*costs.values())
    return {key: float(np.minimum(found.cost, horizon).mean()) for key, found in costs.items()}


def paired(arms: Sequence[Arm], best: str) -> Iterator[tuple[Comparison, Pair]]:
    """Yield each model that is not conventional with each of its references, by unit."""
    candidates = [arm for arm in arms if arm.model not in CONVENTIONAL]
    for unit in UNITS:
        baselines = {
            arm.model: arm for arm in arms if arm.model in CONVENTIONAL and unit in arm.costs
        }
        if best not in baselines:
            continue
        means = means_of({model: arm.tuning[unit] for model, arm in baselines.items()})
        cheapest = min(means, key=lambda model: means[model])
        for against, reference in (("best", best), ("cheapest", cheapest)):
            for arm in candidates:
                if unit in arm.costs:
                    pair = (arm.costs[unit], baselines[reference].costs[unit], reference)
                    yield (arm.model, unit, against), pair


def cost_row(modality: str, dataset: str, arm: Arm, unit: str) -> dict[str, Any]:
    """Return what a model costs on a data set; the mean is restricted to its own horizon."""
    costs = arm.costs[unit]
    horizon, median = common_horizon(costs), median_cost(costs)
    return {
        "modality": modality,
        "dataset": dataset,
        "model": arm.model,
        "lr": arm.lr,
        "init": arm.init,
        "lr_at_edge": arm.at_edge,
        "unit": unit,
        "n": costs.n,
        "censored": costs.censored,
        "median": None if math.isnan(median) else median,
        "mean": restricted_mean(costs, horizon),
        "horizon": None if math.isinf(horizon) else horizon,
    }


def gain_row(scope: Scope, comparison: Comparison, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the gain of a model over its references, one for each data set of the scope."""
    generator = np.random.default_rng(SEED)
    found = gain([(costs, reference) for costs, reference, _ in pairs], generator=generator)
    low, high = (None if math.isnan(end) else end for end in (found.low, found.high))
    return {
        "modality": scope[0],
        "dataset": scope[1],
        "model": comparison[0],
        "unit": comparison[1],
        "against": comparison[2],
        "reference": list(dict.fromkeys(reference for _, _, reference in pairs)),
        "n": found.n,
        "gain": found.estimate,
        "low": low,
        "high": high,
    }


def cells(runs: Iterable[Run]) -> dict[tuple[str, Setting], Runs]:
    """Return runs by model and setting."""
    found: dict[tuple[str, Setting], list[Run]] = {}
    for run in runs:
        found.setdefault((run.model, (run.lr, run.init)), []).append(run)
    return dict(found)
