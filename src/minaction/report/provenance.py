"""Where the numbers come from: versions, machines, execution choices, data, and the time taken."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minaction.report.frame import finite
from minaction.study.journal import Record

CONDITIONS = (
    "versions",
    "code_version",
    "device",
    "cpu",
    "threads",
    "execution",
    "study_sha256",
    "analysis_sha256",
)
"""What of a record's provenance is the same however often the study is run on one machine."""

EXECUTION = ("precision", "compile", "channels_last")


def provenance(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return every condition the runs were made under, each with its number of runs.

    One entry per condition and value; the fingerprint of the data is one condition per data set.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for record in records:
        counted.update(conditions(record))
    return [
        {"condition": condition, "value": value, "runs": runs}
        for (condition, value), runs in sorted(counted.items())
    ]


def conditions(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the (condition, value) pairs of one record."""
    for name in CONDITIONS:
        value = record.provenance.get(name)
        if isinstance(value, dict):
            keys = EXECUTION if name == "execution" else sorted(value)
            yield from ((f"{name}: {key}", str(value[key])) for key in keys if key in value)
        elif value is not None:
            yield name, str(value)
    if (record.provenance.get("stacked") or {}).get("seconds_attributed"):
        yield "train_seconds", "attributed: an equal share of what runs trained as one took"
    if fingerprint := record.provenance.get("data_sha256"):
        yield f"data_sha256: {record.config.get('dataset')}", str(fingerprint)


def mixed_conditions(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the conditions that were not the same for all runs."""
    counted = Counter(entry["condition"] for entry in entries)
    return [condition for condition, values in counted.items() if values > 1]


def timing(records: Sequence[Record]) -> dict[str, Any]:
    """Return what differs from one execution of the same study to the next.

    Seconds are training time as recorded by each run, summed over runs; with several workers the
    clock on the wall moved less.
    """
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        value = finite((record.metrics or {}).get("train_seconds"))
        if math.isfinite(value):
            group = (str(record.config.get("dataset")), str(record.config.get("model")))
            seconds[group].append(value)
    started = sorted(texts(record.provenance.get("started") for record in records))
    return {
        "train_seconds": sum(sum(times) for times in seconds.values()),
        "by_group": [
            {"dataset": dataset, "model": model, "runs": len(times), "mean_seconds": mean(times)}
            for (dataset, model), times in sorted(seconds.items())
        ],
        "workers": len(set(texts(record.provenance.get("worker") for record in records))),
        "first_started": started[0] if started else None,
        "last_started": started[-1] if started else None,
    }


def texts(values: Iterable[object]) -> list[str]:
    """Return the values that are there, as text."""
    return [str(value) for value in values if value is not None]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)
