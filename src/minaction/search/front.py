"""The front of a search: which candidates it takes, how surely, and which of them is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from minaction.search.objectives import OBJECTIVES, levels_of
from minaction.search.search_file import Search
from minaction.stats.intervals import Interval
from minaction.stats.pareto_many import front_bootstrap, nondominated
from minaction.study.design import RunConfig, run_id
from minaction.study.journal import Record

TRIAL_SEED = 10_000
"""The seed candidates are tried with; those that confirm the front follow. Studies end before it,
so the network that is chosen is trained with seeds that played no part in the choice."""

RESAMPLES = 2_000
"""Of the bootstrap; a membership of one half is then known to 2 percentage points."""

BOOTSTRAP_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Member:
    """A candidate of the first front, trained again.

    Attributes:
        tried: Its record of the search.
        values: Means over the seeds that confirm it, by objective: of costs geometric ones.
        accuracy: Mean validation accuracy over these seeds.
        on_front: No other member's means dominate it.
        membership: Share of resamples of the seeds in which it is on the front.
    """

    tried: Record
    values: Mapping[str, float]
    accuracy: float
    on_front: bool
    membership: float


@dataclass(frozen=True, kw_only=True)
class Front:
    """A confirmed front.

    Attributes:
        members: In the order of their first cost.
        unconfirmed: Candidates of the first front that did not end well with every seed.
        hypervolume: Of the members' means, costs in decades and accuracies in percentage points,
            from the worst values among all candidates.
        reference: Those worst values, by objective.
    """

    members: list[Member]
    unconfirmed: list[Record]
    hypervolume: Interval
    reference: dict[str, float]


def tried(records: Iterable[Record]) -> list[Record]:
    """Return the records of the search itself, by run id."""
    mine = (record for record in records if record.config.get("seed") == TRIAL_SEED)
    return sorted(mine, key=lambda record: record.run_id)


def first_front(search: Search, records: Iterable[Record]) -> list[Record]:
    """Return the candidates that no other dominates with the one seed all were tried with."""
    placed = _placed(search, tried(records))
    if not placed:
        return []
    ahead = nondominated(np.array([levels for _, levels in placed]))
    return [record for (record, _), first in zip(placed, ahead, strict=True) if first]


def to_confirm(search: Search, front: Iterable[Record]) -> list[RunConfig]:
    """Return the runs that confirm a front, seed by seed."""
    seeds = range(TRIAL_SEED + 1, TRIAL_SEED + 1 + search.search.confirm_seeds)
    return [with_seed(record, seed) for seed in seeds for record in front]


def with_seed(record: Record, seed: int) -> RunConfig:
    """Return the configuration of a run with another seed."""
    return cast(RunConfig, {**record.config, "seed": seed})


def confirmed_front(search: Search, records: Sequence[Record]) -> Front | None:
    """Return the front of means over the seeds that confirm it, None where there is none yet."""
    names, found = search.search.objectives, {record.run_id: record for record in records}
    first = first_front(search, records)
    wanted = {one.run_id: [run_id(run) for run in to_confirm(search, [one])] for one in first}
    if not first or any(run not in found for runs in wanted.values() for run in runs):
        return None
    again = {name: [found[run] for run in runs] for name, runs in wanted.items()}
    levels = {name: [levels_of(one, names) for one in of] for name, of in again.items()}
    sure = [record for record in first if None not in levels[record.run_id]]
    if not sure:
        return None
    reference = np.max([levels for _, levels in _placed(search, tried(records))], axis=0)
    front = front_bootstrap(
        np.array([levels[record.run_id] for record in sure], dtype=np.float64),
        reference=reference,
        generator=np.random.default_rng(BOOTSTRAP_SEED),
        resamples=RESAMPLES,
    )
    members = [
        Member(
            tried=record,
            values=values_at(names, front.means[index]),
            accuracy=float(np.mean([_accuracy(one) for one in again[record.run_id]])),
            on_front=bool(front.on_front[index]),
            membership=float(front.membership[index]),
        )
        for index, record in enumerate(sure)
    ]
    cost = first_cost(names)
    return Front(
        members=sorted(members, key=lambda one: (one.values[cost], one.tried.run_id)),
        unconfirmed=[record for record in first if None in levels[record.run_id]],
        hypervolume=front.hypervolume,
        reference=values_at(names, reference),
    )


def chosen_of(search: Search, front: Front) -> Member:
    """Return the member of a front that the search file's rule chooses.

    `cheapest-within-margin`: the lowest first cost among those whose mean validation accuracy is at
    most the margin below the best; `most-accurate`: the best.
    """
    cost, ahead = first_cost(search.search.objectives), [m for m in front.members if m.on_front]
    best = max(member.accuracy for member in ahead)
    room = search.search.margin if search.search.rule == "cheapest-within-margin" else 0.0
    return min(
        (member for member in ahead if member.accuracy >= best - room),
        key=lambda member: (member.values[cost], -member.accuracy, member.tried.run_id),
    )


def first_cost(names: Sequence[str]) -> str:
    """Return the first objective that is a cost; there always is one."""
    return next(name for name in names if OBJECTIVES[name].is_cost)


def values_at(names: Sequence[str], levels: np.ndarray) -> dict[str, float]:
    """Return the values of objectives whose levels are given."""
    return {
        name: OBJECTIVES[name].value(float(level))
        for name, level in zip(names, levels, strict=True)
    }


def _placed(search: Search, records: Iterable[Record]) -> list[tuple[Record, tuple[float, ...]]]:
    """Return the candidates that ended well and above the floor, and where they stand."""
    floor, names = search.search.floor or 0.0, search.search.objectives
    return [
        (record, levels)
        for record in records
        if (levels := levels_of(record, names)) is not None and _accuracy(record) >= floor
    ]


def _accuracy(record: Record) -> float:
    metrics: dict[str, Any] = record.metrics or {}
    return metrics["val_accuracy"]
