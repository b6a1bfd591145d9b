"""Which networks of a space can be tried: that fit their data and budget, and can be measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from minaction.errors import InfeasibleStudyError, MinActionError
from minaction.search.directory import Problem
from minaction.search.objectives import OBJECTIVES
from minaction.search.search_file import Search
from minaction.search.space import ARCHITECTURE, Architecture, architecture, architectures
from minaction.study.cells import cells_of
from minaction.study.design import RunConfig
from minaction.study.execute import Executor

MAX_ARCHITECTURES = 5_000
"""More take minutes to be looked through."""


def left_out_of(problems: Iterable[Problem]) -> set[Architecture]:
    """Return the architectures that have a problem."""
    return {architecture(problem) for problem in problems}


def find_problems(search: Search, executor: Executor) -> list[Problem]:
    """Have workers look through a space and return the architectures that cannot be tried, and why.

    Raises:
        InfeasibleStudyError: None can be tried, or there are too many.
        MinActionError: A worker cannot tell.
    """
    every = architectures(search.crossing)
    if len(every) > MAX_ARCHITECTURES:
        raise InfeasibleStudyError(
            f"{search.name}: [space] has {len(every):,} architectures, more than "
            f"{MAX_ARCHITECTURES:,}; give fewer of {', '.join(ARCHITECTURE)}"
        )
    reasons: dict[Architecture, str | None] = {}
    for answer in executor.map(_questions(search, every.values())):
        if "infeasible" in answer.content:
            raise InfeasibleStudyError(f"{search.name}: {answer.content['infeasible']}")
        if "error" in answer.content:
            raise MinActionError(f"the space cannot be looked through: {answer.content['error']}")
        cells = map(architecture, answer.task["cells"])
        reasons.update(zip(cells, answer.content["problems"], strict=True))
    found = [(one, reason) for one in every if (reason := reasons[one]) is not None]
    if len(found) == len(every):
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        raise InfeasibleStudyError(
            f"{search.name}: [space] has no feasible model: {found[0][1]}{more}"
        )
    return [
        {**dict(zip(ARCHITECTURE, one, strict=True)), "reason": reason} for one, reason in found
    ]


def _questions(search: Search, every: Iterable[RunConfig]) -> Iterable[dict[str, Any]]:
    by_model: dict[str, list[dict[str, Any]]] = {}
    for cell in cells_of(every):
        by_model.setdefault(cell.model, []).append(asdict(cell))
    for cells in by_model.values():
        yield {
            "task": "space",
            "cells": cells,
            "metrics": [OBJECTIVES[name].metric for name in search.search.objectives],
            "latency_on": search.trial["latency_on"],
        }
