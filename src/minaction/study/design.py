"""From a study to its runs: the full factorial crossing, each run with a stable id."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast

from minaction.models.catalog import SHAPES, Init
from minaction.study.canonical import sha256_of
from minaction.study.study_file import BUDGET, Study

RUN_ID_DIGITS = 16
BUDGET_TERMS = ("margin", "aim")
"""What the configuration of a budget run has besides the settings of its cell."""
LAMBDA_TERMS = (*BUDGET_TERMS, "proximal")
"""What says how a run's lambda is found and acts; runs at lambda 0 have none of it."""
MODEL_OPTIONS = ("ratio", "init", *SHAPES)
"""What says how a model is built besides its size; a run that leaves it to the model has none."""
_REAL = frozenset({"lam", "lr", "weight_decay", "clip_norm", "ratio", *BUDGET_TERMS})


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
    lam: float | Literal["budget"]
    seed: int
    batch_size: int
    lr: float
    weight_decay: float
    parameters: int
    clip_norm: NotRequired[float]
    ratio: NotRequired[float | str]
    init: NotRequired[Init]
    depth: NotRequired[int]
    kernel: NotRequired[int]
    margin: NotRequired[float]
    aim: NotRequired[float]
    proximal: NotRequired[bool]


def runs(study: Study) -> list[RunConfig]:
    """Return what `iter_runs` yields."""
    return list(iter_runs(study))


def iter_runs(study: Study) -> Iterator[RunConfig]:
    """Cross all factors with all seeds; before that, the baselines of budget runs.

    Seeds 0 ... `seeds` - 1 are outermost, so the first runs cover every cell once; within a seed
    the factors vary in the order of `RunConfig`, the last fastest, levels as the file lists them.
    At lambda 0 the energy still is a factor: it is what the run measures. A baseline is listed
    apart only where the crossing has no level 0.
    """
    if BUDGET in study.factors.lam and 0.0 not in study.factors.lam:
        first = _crossed(study, seed=0)
        yield from (baseline_of(config) for config in first if config["lam"] == BUDGET)
    for seed in range(study.seeds):
        yield from _crossed(study, seed)


def _crossed(study: Study, seed: int) -> Iterator[RunConfig]:
    levels = study.levels
    for cell in itertools.product(*levels.values()):
        yield config_of(study, dict(zip(levels, cell, strict=True)), seed)


def config_of(study: Study, cell: Mapping[str, Any], seed: int) -> RunConfig:
    """Return the run of a seed and of one level of everything that `Study.levels` names."""
    return _with_terms({**cell, **study.length, "seed": seed}, study)


def baseline_of(config: RunConfig) -> RunConfig:
    """Return the run a budget run is compared with: the same at lambda 0 and the first seed."""
    own = {key: level for key, level in config.items() if key not in LAMBDA_TERMS}
    return cast(RunConfig, {**own, "lam": 0.0, "seed": 0})


def model_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's configuration says of `build_model`'s options."""
    return {key: config[key] for key in MODEL_OPTIONS if key in config}


def _with_terms(config: dict[str, Any], study: Study) -> RunConfig:
    terms = study.budget_terms if config["lam"] == BUDGET else {}
    proximal = {"proximal": True} if study.train.proximal and config["lam"] else {}
    return cast(RunConfig, {**config, **terms, **proximal})


def run_id(config: RunConfig) -> str:
    """Return the run's id: the first 16 hex digits of the SHA-256 of its canonical JSON.

    Neither the order of the keys nor the spelling of a number (0 or 0.0) changes it.
    """
    spelled = {
        key: float(level) if key in _REAL and isinstance(level, int) else level
        for key, level in config.items()
    }
    return sha256_of(spelled)[:RUN_ID_DIGITS]
