"""From records to tables: a row for every run the study plans, done or not, and one per layer."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from minaction.data.sources import source_of
from minaction.errors import JournalError
from minaction.study.design import LAMBDA_TERMS, RunConfig, run_id, runs
from minaction.study.gauge_fields import finite_number, gauge_fixed, layer_gauge_fixed
from minaction.study.journal import JOURNAL_NAME, Record, RunStatus
from minaction.study.study_file import BUDGET, Study

MISSING = "missing"
"""Status of a planned run that has no record yet."""
STATUSES = (*(str(one) for one in RunStatus if one is not RunStatus.STOPPED), MISSING)

GROUP = ("dataset", "model", "energy")
"""Factors that always name a lambda curve."""

MEASURED = (
    "test_accuracy",
    "val_accuracy",
    "zero_fraction",
    "silent_fraction",
    "energy_activation",
    "energy_gauge_fixed",
    "gauge_output_difference",
    "lam_final",
    "shadow_price",
)
"""Metrics that become columns under their own names; `energy_value` stands beside them."""

FRACTIONS = ("test_accuracy", "val_accuracy", "zero_fraction", "silent_fraction")
"""Those of `MEASURED` that are shares of something."""


def run_frame(study: Study, records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per planned run, in the order of the design.

    Columns: `run_id`, the run's configuration, `status` (`missing` without a record), `error`,
    the metrics of `MEASURED`, `test_samples` and `energy_value`, the internal energy
    (dimensionless) that the run was trained with, as float64, NaN where a run has none;
    `energy_activation`, of which `energy_gauge_fixed` is the gauge-fixed twin; `gauge_reason`, why
    a recorded run has no gauge-fixed energy, and `baseline`, the run a budget's target comes from.

    Raises:
        JournalError: A run has a share below 0 or above 1.
    """
    found = {record.run_id: record for record in records}
    planned = [(run_id(config), config) for config in runs(study)]
    frame = pd.DataFrame([run_row(name, config, found.get(name)) for name, config in planned])
    require_fractions(frame)
    return frame


def require_fractions(frame: pd.DataFrame) -> None:
    """Refuse a journal that has a share below 0 or above 1: what else it says is in doubt."""
    for name in FRACTIONS:
        beyond = frame.loc[(frame[name] < 0) | (frame[name] > 1), ["run_id", name]]
        for run, value in beyond.itertuples(index=False, name=None):
            raise JournalError(
                f"run {run}: {name} is {value:g}, expected a fraction from 0 to 1; restore "
                "the file from a copy, or delete the run's line and it will be done again"
            )


@contextmanager
def naming_journal(directory: str | Path) -> Iterator[None]:
    """Put the journal's path before what is wrong with one of its records."""
    try:
        yield
    except JournalError as error:
        raise JournalError(f"{Path(directory) / JOURNAL_NAME}: {error}") from None


def run_row(name: str, config: RunConfig, record: Record | None) -> dict[str, Any]:
    """Return one planned run's row; see `run_frame`."""
    metrics = (record.metrics if record else None) or {}
    row: dict[str, Any] = {"run_id": name, **config}
    row["status"] = str(record.status) if record else MISSING
    row["error"] = record.error if record else None
    row |= {metric: finite(metrics.get(metric)) for metric in MEASURED}
    row["energy_value"] = finite(metrics.get(energy_metric(config["energy"])))
    row["test_samples"] = finite(metrics.get("test_samples"))
    row["gauge_reason"] = gauge_fixed(record)[1] if record else None
    row["baseline"] = record.provenance.get("baseline") if record else None
    return row


def layer_frame(frame: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per `ok` run and layer with a share of the energy the run was trained with.

    Columns: those of `frame` from `run_frame` that say which run it is, `layer`, `units`,
    `energy_value`, `energy_activation` and `energy_gauge_fixed`, the layer's shares,
    `energy_share` and `gauge_fixed_share`, what the first and the last are of the sum over the
    run's layers, `gauge_reason`, `zero_fraction`, `silent_fraction`. Layers are in natural order,
    `net.9` before `net.10`.
    """
    found = {record.run_id: record for record in records}
    settings = ["run_id", "status", *grouping(frame), "lam", "seed"]
    done = frame.loc[frame["status"] == "ok", settings].to_dict("records")
    rows = [
        {str(key): level for key, level in run.items()} | row
        for run in done
        for row in layer_rows(found[run["run_id"]])
    ]
    layers = pd.DataFrame(rows, columns=[*settings, *LAYER_COLUMNS])
    runs = layers["run_id"].tolist()
    return layers.assign(
        **{share: shares(layers[energy].tolist(), runs) for share, energy in LAYER_SHARES.items()}
    )


def shares(energy: Sequence[float], runs: Sequence[str]) -> list[float]:
    """Return what each layer's energy is of its run's, NaN where a layer has none or one below 0.

    Args:
        energy: Of each layer.
        runs: The run each layer belongs to.
    """
    total: dict[str, float] = {}
    for run, value in zip(runs, energy, strict=True):
        total[run] = total.get(run, 0.0) + (value if value >= 0 else math.nan)
    return [
        value / total[run] if total[run] > 0 else math.nan
        for run, value in zip(runs, energy, strict=True)
    ]


LAYER_SHARES = {"energy_share": "energy_value", "gauge_fixed_share": "energy_gauge_fixed"}
"""What a layer's energies are of its run's, and of which energy each is."""

LAYER_COLUMNS = (
    "layer",
    "units",
    "energy_value",
    "energy_activation",
    "energy_gauge_fixed",
    "gauge_reason",
    "zero_fraction",
    "silent_fraction",
    *LAYER_SHARES,
)


def layer_rows(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the rows of one record's layers, in natural order; see `layer_frame`."""
    metric = energy_metric(str(record.config.get("energy")))
    for name, measured in sorted(record.layers.items(), key=lambda item: natural(item[0])):
        if isinstance(measured, dict) and metric in measured:
            value, reason = layer_gauge_fixed(record, name)
            numbers = ("units", "energy_activation", "zero_fraction", "silent_fraction")
            yield {
                "layer": name,
                "energy_value": finite(measured[metric]),
                "energy_gauge_fixed": math.nan if value is None else value,
                "gauge_reason": reason,
                **{number: finite(measured.get(number)) for number in numbers},
            }


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that takes runs of digits for numbers."""
    return [
        (1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part)
        for part in re.split(r"([0-9]{1,18})", name)
    ]


def energy_metric(energy: str) -> str:
    """Return the name of the metric that holds an energy of the catalogue."""
    return "energy_" + energy.replace("-", "_")


def finite(value: object) -> float:
    """Return a metric as a float, NaN where it is missing or no finite number."""
    number = finite_number(value)
    return math.nan if number is None else number


def outside_design(frame: pd.DataFrame, records: Sequence[Record]) -> list[Record]:
    """Return the records that belong to no planned run, sorted by run id."""
    planned = set(frame["run_id"])
    return sorted((r for r in records if r.run_id not in planned), key=lambda r: r.run_id)


def grouping(frame: pd.DataFrame) -> list[str]:
    """Return the columns that name a lambda curve: `GROUP` and every other factor that varies."""
    fixed = {*GROUP, "lam", "seed", *LAMBDA_TERMS}
    settings = [name for name in RunConfig.__annotations__ if name not in fixed]
    return [*GROUP, *(name for name in settings if name in frame and len(set(frame[name])) > 1)]


def modalities(frame: pd.DataFrame) -> list[str]:
    """Return the modality of each row's data set."""
    return [source_of(name).modality for name in frame["dataset"]]


def lambda_levels(frame: pd.DataFrame) -> list[float | str]:
    """Return the levels of lambda, ascending, the budget last."""
    levels = frame["lam"].unique().tolist()
    return [
        *sorted(lam for lam in levels if lam != BUDGET),
        *(lam for lam in levels if lam == BUDGET),
    ]


def status_counts(runs_of: pd.DataFrame) -> dict[str, int]:
    """Return how many runs of a table have each status, every status named."""
    counted = Counter(runs_of["status"])
    return {status: counted[status] for status in STATUSES}
