"""The space of a search: the candidates a crossing has, and the architectures among them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from math import prod
from typing import Any

from minaction.models.catalog import SHAPES, TAKES
from minaction.study.design import RunConfig, config_of
from minaction.study.study_file import Study

ARCHITECTURE = ("model", "batch_size", "parameters", "ratio", *SHAPES)
"""What decides whether a candidate can be tried at all."""

Architecture = tuple[Any, ...]
"""The values of `ARCHITECTURE` in a candidate's configuration, None where it has none."""


def candidate(crossing: Study, cell: Mapping[str, Any], seed: int) -> RunConfig:
    """Return the run of one level of everything, without what its model does not take.

    So candidates that differ in nothing else are one.
    """
    takes = TAKES.get(cell["model"], ())
    own = {key: level for key, level in cell.items() if key not in SHAPES or key in takes}
    return config_of(crossing, own, seed)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Return what of a configuration decides whether it can be tried at all."""
    return tuple(config.get(key) for key in ARCHITECTURE)


def architectures(
    crossing: Study, left_out: Collection[Architecture] = ()
) -> dict[Architecture, RunConfig]:
    """Return one candidate of each architecture, but for those that are left out."""
    levels = {key: of if key in ARCHITECTURE else of[:1] for key, of in crossing.levels.items()}
    cells = (dict(zip(levels, cell, strict=True)) for cell in itertools.product(*levels.values()))
    every = (candidate(crossing, cell, 0) for cell in cells)
    return {architecture(one): one for one in every if architecture(one) not in left_out}


def count_candidates(crossing: Study, left_out: Collection[Architecture] = ()) -> int:
    """Return how many different candidates there are, but for those that are left out."""
    others = (len(of) for key, of in crossing.levels.items() if key not in ARCHITECTURE)
    return len(architectures(crossing, left_out)) * prod(others)
