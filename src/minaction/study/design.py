"""From a study to its runs: the full factorial crossing, each run with a stable id."""

from __future__ import annotations

import itertools
from typing import TypedDict, cast

from minaction.study.canonical import sha256_of
from minaction.study.study_file import Study

RUN_ID_DIGITS = 16
_REAL = frozenset({"lam", "lr", "weight_decay"})


class _Length(TypedDict, total=False):
    """How long a run is, `epochs` or `steps`, and how often validated where a study file says."""

    epochs: int
    steps: int
    validate_every: int


class RunConfig(_Length):
    """Everything that decides one run, as JSON scalars."""

    dataset: str
    model: str
    energy: str
    lam: float
    seed: int
    batch_size: int
    lr: float
    weight_decay: float
    parameters: int


def runs(study: Study) -> list[RunConfig]:
    """Cross all factors with all seeds.

    Seeds 0 ... `seeds` - 1 are outermost, so the first runs cover every cell once; within a seed
    the factors vary in the order of `RunConfig`, the last fastest, levels as the file lists them.
    At lambda 0 the energy still is a factor: it is what the run measures.
    """
    levels = study.levels
    crossing = list(itertools.product(*levels.values()))
    return [
        cast(RunConfig, {**dict(zip(levels, cell, strict=True)), **study.length, "seed": seed})
        for seed in range(study.seeds)
        for cell in crossing
    ]


def run_id(config: RunConfig) -> str:
    """Return the run's id: the first 16 hex digits of the SHA-256 of its canonical JSON.

    Neither the order of the keys nor the spelling of a number (0 or 0.0) changes it.
    """
    spelled = {
        key: float(level) if key in _REAL and isinstance(level, int) else level
        for key, level in config.items()
    }
    return sha256_of(spelled)[:RUN_ID_DIGITS]
