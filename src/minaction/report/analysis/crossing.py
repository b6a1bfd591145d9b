"""Which runs an analysis of variance is made of: the factors, and a crossing without holes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from minaction.report import formatting as write
from minaction.study.design import LAMBDA_TERMS, RunConfig
from minaction.study.journal import RunStatus
from minaction.study.study_file import Study

RESPONSE = "test_accuracy"
FACTORS = tuple(name for name in RunConfig.__annotations__ if name not in {"seed", *LAMBDA_TERMS})
"""What can be a factor; seeds are blocks."""
NO_RUN = "some of its cells have no ok run"
SAME_TRAINING = "at lambda 0 all energies are one and the same training"

Level = str | int | float


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """A complete crossing: each of its cells has a run that can be used.

    Attributes:
        runs: Its runs of any status, as rows of `run_frame`.
        factors: Those with two or more levels in it.
        only: Factors of the study that are down to one level, with that level.
        left_out: Levels that are not in it: `factor`, `level`, `runs` (used ones lost), `reason`.
        reason: Why there is nothing to analyse, or an empty string.
    """

    runs: pd.DataFrame
    factors: tuple[str, ...]
    only: dict[str, Level]
    left_out: list[dict[str, Any]]
    reason: str

    @property
    def used(self) -> pd.DataFrame:
        """Its runs that are `ok` and have a response."""
        return usable(self.runs)


def usable(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are `ok` and have a response."""
    return runs.loc[(runs["status"] == RunStatus.OK) & runs[RESPONSE].notna(), :]


def levels_of(runs: pd.DataFrame, factor: str) -> list[Level]:
    """Return the levels a factor has in a table, none where it is no column, in their order."""
    return list(dict.fromkeys(runs[factor].tolist())) if factor in runs else []


def find_crossing(study: Study, frame: pd.DataFrame) -> Crossing:
    """Return the runs of a study that make a complete crossing of its factors.

    A budget's baselines are no part of it. Where energies are crossed with lambda 0, at which they
    all are the same training, lambda 0 is left out, for one run copied is no replication; where
    there is no other lambda, all energies but the first are. As long as a cell has no run that can
    be used, the level with the largest share of empty cells is left out, of equals the one that
    loses the fewest runs, then the last; levels that fit again in the end come back.

    Args:
        study: The study file.
        frame: From `run_frame`.
    """
    planned = frame.loc[frame["lam"].isin(list(study.factors.lam)), :]
    varied = [name for name in FACTORS if len(levels_of(planned, name)) > 1]
    planned, left_out = one_training_once(planned, varied)
    crossed = [name for name in varied if len(levels_of(planned, name)) > 1]
    used = usable(planned)
    if not len(used):
        return nothing(
            planned, left_out, "no ok run has a test accuracy, so there is nothing to analyse"
        )
    levels = {name: levels_of(planned, name) for name in crossed}
    kept = complete(count_cells(used, levels)) if crossed else []
    for (name, of_factor), places in zip(levels.items(), kept, strict=True):
        for place in set(range(len(of_factor))) - set(places):
            lost = used[name].tolist().count(of_factor[place])
            left_out.append(
                {"factor": name, "level": of_factor[place], "runs": lost, "reason": NO_RUN}
            )
        inside = planned[name].isin([of_factor[place] for place in places])
        planned = planned.loc[inside, :]
    remaining = {name: levels_of(planned, name) for name in varied}
    return Crossing(
        runs=planned,
        factors=tuple(name for name, of_factor in remaining.items() if len(of_factor) > 1),
        only={name: of_factor[0] for name, of_factor in remaining.items() if len(of_factor) == 1},
        left_out=left_out,
        reason="",
    )


def nothing(planned: pd.DataFrame, left_out: list[dict[str, Any]], reason: str) -> Crossing:
    """Return a crossing with nothing to analyse."""
    return Crossing(runs=planned, factors=(), only={}, left_out=left_out, reason=reason)


def one_training_once(
    planned: pd.DataFrame, varied: Sequence[str]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Leave out runs that repeat another one, and say which; see `find_crossing`."""
    lambdas = levels_of(planned, "lam")
    if "energy" not in varied or 0.0 not in lambdas:
        return planned, []
    if len(lambdas) > 1:
        left_out = [left(planned, "lam", 0.0)]
        return planned.loc[planned["lam"] != 0, :], left_out
    first, *others = levels_of(planned, "energy")
    left_out = [left(planned, "energy", energy) for energy in others]
    return planned.loc[planned["energy"] == first, :], left_out


def left(planned: pd.DataFrame, factor: str, level: Level) -> dict[str, Any]:
    """Return the entry of a level at which runs repeat others."""
    lost = len(usable(planned.loc[planned[factor] == level, :]))
    return {"factor": factor, "level": level, "runs": lost, "reason": SAME_TRAINING}


def count_cells(used: pd.DataFrame, levels: dict[str, list[Level]]) -> np.ndarray:
    """Return the number of runs of each cell, an axis per factor."""
    shape = tuple(map(len, levels.values()))
    codes = [
        pd.Categorical(used[name], categories=of_factor).codes.astype(np.int64)
        for name, of_factor in levels.items()
    ]
    cells = np.ravel_multi_index(tuple(codes), shape)
    return np.bincount(cells, minlength=math.prod(shape)).reshape(shape)


def complete(counts: np.ndarray) -> list[list[int]]:
    """Return the levels of each axis that leave no cell empty; see `find_crossing`."""
    kept = [list(range(size)) for size in counts.shape]
    removed: list[tuple[int, int]] = []
    while not (inside := counts[np.ix_(*kept)]).all():
        axis, place = worst_level(inside)
        removed.append((axis, kept[axis].pop(place)))
    for axis, level in reversed(removed):
        widened = [sorted({*of, level}) if i == axis else of for i, of in enumerate(kept)]
        if counts[np.ix_(*widened)].all():
            kept = widened
    return kept


def worst_level(counts: np.ndarray) -> tuple[int, int]:
    """Return axis and place of the level with the largest share of empty cells."""
    candidates = []
    for axis, size in enumerate(counts.shape):
        by_level = np.moveaxis(counts, axis, 0).reshape(size, -1)
        empty, lost = (by_level == 0).mean(1), by_level.sum(1)
        candidates += [(empty[i], -lost[i], axis, i) for i in range(size) if size > 1]
    _, _, axis, place = max(candidates)
    return int(axis), int(place)


def described(factors: Iterable[tuple[str, Level]]) -> str:
    """Write levels of factors as `model = cnn, lam = 1e-4`."""
    return ", ".join(f"{name} = {level_text(name, level)}" for name, level in factors)


def level_text(factor: str, level: Level) -> str:
    """Write a level of a factor."""
    if factor == "lam":
        return write.lam(level)
    return level if isinstance(level, str) else f"{level:g}"
