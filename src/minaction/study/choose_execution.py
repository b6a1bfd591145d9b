"""How the arithmetic of a study's runs is done: what its records say, or a calibration finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minaction.data.fetch import fetch
from minaction.errors import InfeasibleStudyError, InputError, MinActionError, StudyFileError
from minaction.measure.environment import cxx_compiler
from minaction.study.cells import cells_of
from minaction.study.design import RunConfig
from minaction.study.execute import Executor
from minaction.study.execute_ray import RayCluster
from minaction.study.journal import read_records
from minaction.study.stack_groups import FleetMode, stackable
from minaction.study.study_file import Study

STACKED_EXECUTION = {"precision": "float32", "compile": False, "channels_last": False}

Choice = tuple[dict[str, Any], dict[str, Any]]
"""An execution and the account of the calibration that chose it, both as JSON values."""


def choose_execution(
    study: Study,
    directory: Path,
    pending: Sequence[RunConfig],
    executor: Executor,
    note: Callable[[str], None],
    fleet: FleetMode,
) -> Choice:
    """Return the choice of the study's records, or a new one before the first.

    What they do not say, because nobody had asked for stacks yet, is found out.
    """
    recorded = _recorded_execution(directory)
    if recorded is None:
        return calibrate_study(
            study, pending, executor, workers=executor.workers, note=note, fleet=fleet
        )
    execution, calibration = recorded
    if fleet != "on" or "stacked" in calibration:
        return recorded
    _, more = calibrate_study(
        study,
        pending,
        executor,
        workers=executor.workers,
        note=note,
        fleet=fleet,
        requested=execution,
    )
    return execution, {**more, **calibration}


def _recorded_execution(directory: Path) -> Choice | None:
    """Return the choice the study's records were made with, None before the first."""
    for record in read_records(directory):
        calibration = record.provenance.get("calibration")
        execution = record.provenance.get("execution")
        if execution and calibration is not None:
            execution = calibration.get("execution", execution)  # stacked runs have their own
            if execution["compile"]:
                _require_compiler(f"{directory}: its runs so far were compiled")
            return execution, calibration
    return None


def require_means(study: Study, data_dir: str | None, note: Callable[[str], None]) -> None:
    """Check that what a study asks for is there; data sets that are not are fetched.

    Raises:
        StudyFileError: It asks for compilation and there is no compiler.
        DataFileError: A data set is missing or damaged.
    """
    if study.execution.compile is True:
        _require_compiler(f"{study.name}: [execution] compile is true")
    for name in study.factors.dataset:
        fetch(name, data_dir, note)


def _require_compiler(because: str) -> None:
    if cxx_compiler() is None:
        raise StudyFileError(
            f"{because}, but no C++ compiler is found; install g++ or name yours in CXX"
        )


def calibrate_study(
    study: Study,
    pending: Sequence[RunConfig],
    executor: Executor,
    *,
    workers: int,
    note: Callable[[str], None],
    limit_seconds: float | None = None,
    fleet: FleetMode = "off",
    requested: dict[str, Any] | None = None,
) -> Choice:
    """Have a worker find out whether the runs can be made, and how best.

    Args:
        study: The study.
        pending: Its runs that are to be made; gone through twice where they may be stacked.
        executor: Does it.
        workers: Processes that will share the work.
        note: Told what happens.
        limit_seconds: The most that trying may take, if less than its share of the runs' time.
        fleet: As for `run_study`.
        requested: The execution, if it is not the study that decides it.

    Raises:
        InfeasibleStudyError: The runs cannot be made.
        MinActionError: The calibration failed.
    """
    requested = requested or study.execution.model_dump()
    may_stack = fleet != "off" and _may_be_stacked(study)
    if "auto" in requested.values():
        note("trying which precision, compilation and memory layout are fastest here")
    task = {
        "task": "calibrate",
        "cells": [asdict(cell) for cell in cells_of(pending)],
        "requested": requested,
        "workers": workers,
        "margin": study.analysis.margin,
        "limit_seconds": limit_seconds,
        "fleet": fleet,
        "stackable": stackable(pending, workers) if may_stack else {},
    }
    content = _answer(task, executor)
    if "error" in content and task["stackable"] and fleet == "auto":
        # nobody asked for stacks, and trying them may take more memory than there is
        note(f"stacks cannot be tried here ({content['error']}): runs are trained one at a time")
        content = _answer({**task, "stackable": {}}, executor)
    if "infeasible" in content:
        raise InfeasibleStudyError(f"{study.name}: {content['infeasible']}")
    if "error" in content:
        raise MinActionError(f"the calibration failed: {content['error']}")
    execution, report = content["execution"], content["report"]
    note(f"execution: {describe_execution(execution)} ({report['reason']})")
    for kind, size in report.get("stacked", {}).items():
        note(f"{kind}: trained {size} at a time")
    for kind, reason in report.get("not_stacked", {}).items():
        note(f"{kind}: trained one at a time ({reason})")
    if "stacked" in report:
        report["execution"] = execution
    return execution, report


def _answer(task: dict[str, Any], executor: Executor) -> dict[str, Any]:
    (answer,) = executor.map([task])
    return answer.content


def _may_be_stacked(study: Study) -> bool:
    """Whether a study leaves its runs the execution that stacks have."""
    requested = study.execution.model_dump()
    return all(requested[key] in ("auto", value) for key, value in STACKED_EXECUTION.items())


def require_stackable(study: Study, fleet: FleetMode, cluster: RayCluster | None) -> None:
    """Raise where runs are to be stacked and cannot be: in a cluster, or as the study asks."""
    if fleet == "on" and cluster:
        raise InputError("--fleet on: a cluster trains runs one at a time; leave it out")
    if fleet == "on" and not _may_be_stacked(study):
        raise StudyFileError(
            f"{study.name}: stacked runs are float32, not compiled, not channels-last; [execution] "
            "asks for something else: change it or leave out --fleet on"
        )


def describe_execution(execution: dict[str, Any]) -> str:
    """Return an execution in words, e.g. `bfloat16, compiled, channels-last`."""
    words = [execution["precision"]]
    words += ["compiled"] * execution["compile"] + ["channels-last"] * execution["channels_last"]
    return ", ".join(words)
