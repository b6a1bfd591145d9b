"""What networks were measured to cost beside what might tell it: a row for each, in each stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from minaction.report.frame import energy_metric, finite
from minaction.study.cells import SPEED_KEYS
from minaction.study.design import LAMBDA_TERMS
from minaction.study.journal import Record, RunStatus
from minaction.study.measurements import COUNTS, QUANTITIES, Measurement

Stage = Literal["before", "after"]
STAGES: tuple[Stage, ...] = ("before", "after")
"""Of compaction."""

NAMES = {
    "inference_seconds": "seconds of batch inference",
    "single_seconds": "seconds of inference of one sample",
    "training_seconds": "seconds of a training step",
    "inference_joules": "joules of batch inference",
    "energy_gauge_fixed": "gauge-fixed energy",
    "nonzero_fraction": "nonzero activations",
    "macs_dense": "dense MACs",
    "macs_effective": "effective MACs",
    "operations_effective": "effective MACs and ACs",
    "bytes_moved": "bytes moved",
    "parameters": "parameters",
}
"""What quantities and proxies are called; energies are called after their own names."""

ALWAYS = ("energy_activation", "energy_gauge_fixed")
"""Energies that have a column also where old records do not have them."""

NETWORK = tuple(key for key in SPEED_KEYS if key != "energy")
"""What decides what a network costs as long as nothing is removed from it."""


def name_of(column: str) -> str:
    """Return what a quantity or proxy is called."""
    return NAMES.get(column) or f"{column.removeprefix('energy_').replace('_', '-')} energy"


def measured_frame(records: Sequence[Record], measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return one row for each measured network of an `ok` run and each stage it has.

    Columns: `run_id`, `stage`, `model`, `lam`, `seed`; `cell`, which tells apart what differs in
    more than lambda and seed, and `network`, what differs in `NETWORK`; `QUANTITIES`, medians over
    the rounds; the proxies: all energies and the gauge-fixed one, `nonzero_fraction`, which are
    those of the network as it was trained, and `COUNTS`; `energy_value`, the energy it was trained
    with. NaN where a value is not known.

    Args:
        records: The latest record of each run.
        measurements: Of any runs; the last of a run and round counts.
    """
    rounds: dict[str, dict[int, Measurement]] = {}
    for one in measurements:
        rounds.setdefault(one.run_id, {})[one.round] = one
    rows = [
        row
        for record in sorted(records, key=lambda record: record.run_id)
        if record.status is RunStatus.OK and record.run_id in rounds
        for row in _rows(record, list(rounds[record.run_id].values()))
    ]
    return pd.DataFrame(rows, columns=None if rows else ["run_id", "stage", "model"])


def proxies_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns that may tell costs: energies, then what is counted."""
    energies = [str(name) for name in frame if str(name).startswith("energy_")]
    own = sorted(set(energies) - {"energy_value", "energy_gauge_fixed"})
    return [*own, "energy_gauge_fixed", "nonzero_fraction", *COUNTS]


def _rows(record: Record, measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    config, metrics = record.config, record.metrics or {}
    lambdas = {"lam", "seed", "proximal", *LAMBDA_TERMS}
    cell = [key for key in config if key not in lambdas]
    known = {
        "run_id": record.run_id,
        "model": config["model"],
        "lam": config["lam"],
        "seed": config["seed"],
        "cell": _levels(config, cell),
        "network": _levels(config, [key for key in NETWORK if key in config]),
        "nonzero_fraction": 1 - finite(metrics.get("zero_fraction")),
        "energy_value": finite(metrics.get(energy_metric(config["energy"]))),
        **dict.fromkeys(ALWAYS, math.nan),
        **{
            key: finite(value)
            for key, value in metrics.items()
            if key.startswith("energy_") and not key.endswith("_reason")
        },
    }
    stages = {
        "before": [one.before for one in measured],
        "after": [one.compacted for one in measured],
    }
    return [
        {**known, "stage": stage, **_medians([one for one in found if one is not None])}
        for stage, found in stages.items()
        if None not in found
    ]


def _levels(config: Mapping[str, Any], keys: Iterable[str]) -> str:
    return " \u00b7 ".join(f"{key} {config[key]}" for key in sorted(keys))


def _medians(found: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    medians = {}
    for name in (*QUANTITIES, *COUNTS):
        values = [value for one in found if (value := one.get(name)) is not None]
        medians[name] = statistics.median(values) if values else math.nan
    return medians
