"""The driver of a study: decides what is left to do, dispatches it, writes the journal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minaction.errors import InfeasibleStudyError
from minaction.measure.environment import code_version, cpu_count, versions
from minaction.study.activity import announced
from minaction.study.choose_execution import (
    STACKED_EXECUTION,
    choose_execution,
    require_means,
    require_stackable,
)
from minaction.study.design import RunConfig, baseline_of, iter_runs, run_id
from minaction.study.directory import (
    open_study_directory,
    remove_unbegun_study,
    weights_path,
)
from minaction.study.execute import Answer, Executor, LocalExecutor
from minaction.study.execute_ray import RayCluster, RayExecutor
from minaction.study.journal import Journal, read_records
from minaction.study.parts import Part
from minaction.study.record import Record, RunStatus
from minaction.study.stack_groups import FleetMode, grouped, kind_name
from minaction.study.study_file import BUDGET, Study


class Listener(Protocol):
    """What a front end is told while a study runs."""

    def started(self, total: int, done: int) -> None:
        """`done` of `total` runs were finished before."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def finished(self, record: Record) -> None:
        """One more run is in the journal."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call of `run_study` did.

    Attributes:
        total: Runs of the study.
        ran: Runs done in this call.
        failed: Runs that failed in this call; a resume tries them again.
    """

    total: int
    ran: int
    failed: int


def run_study(
    study: Study,
    directory: str | Path,
    listener: Listener,
    *,
    workers: int | None = None,
    data_dir: str | None = None,
    rotate_bytes: int | None = None,
    fleet: FleetMode = "auto",
    cluster: RayCluster | None = None,
    part: Part | None = None,
) -> Outcome:
    """Run what is left of a study, in local processes or in a Ray cluster.

    Data sets are fetched and checked before anything is written. Whether the runs can be made at
    all is found out before the first one; if not, nothing is left behind.

    Args:
        study: What to run.
        directory: Where its journal is or will be.
        listener: Told what happens.
        workers: Runs done at once; None for one a CPU, or as many as the cluster can do.
        data_dir: Where data sets are looked for first.
        rotate_bytes: As for `Journal`.
        fleet: Whether runs of one architecture and data set are trained as one: `"auto"` where a
            trial finds it faster, and on a resume as before; `"on"` wherever it can be done;
            `"off"` never. In a cluster `"auto"` is never, too.
        cluster: The Ray cluster that does the runs, None for this machine's processes.
        part: Which of the runs are wanted, None for all. Others that are recorded stay.

    Raises:
        InputError: Runs are to be stacked in a cluster, or there are fewer runs than parts.
        InfeasibleStudyError: A model does not fit its data or parameter budget, or a batch is
            larger than the training split.
        StudyFileError: The study asks for compilation and there is no compiler, or for another
            execution than stacked runs have.
        StudyDirectoryError: The directory holds another study or is in use.
        DataFileError: A data set is missing or damaged.
        JournalError: The journal cannot be read.
        StorageError: The disk refused a write; finished runs are kept.
        ClusterError: The Ray cluster cannot be joined, or does not fit.
        MinActionError: Workers cannot be started, or the cluster was lost.
    """
    directory = Path(directory)
    wanted = None if part is None else part.runs(study)
    require_means(study, data_dir, listener.note)
    require_stackable(study, fleet, cluster)
    open_study_directory(directory, study)
    total = study.run_count if wanted is None else len(wanted)
    if part is not None:
        listener.note(f"part {part}: {total} of {study.run_count} runs")
    with Journal(directory, rotate_bytes=rotate_bytes) as journal:
        configs = iter_runs(study) if wanted is None else wanted
        pending = [config for config in configs if run_id(config) not in journal.finished]
        listener.started(total, total - len(pending))
        failed = 0
        if pending:
            fleet = "off" if cluster else fleet
            datasets = list(dict.fromkeys(config["dataset"] for config in pending))
            with executor_for(
                len(pending), datasets, workers, cluster, data_dir, listener.note
            ) as executor:
                failed = _run_all(study, directory, pending, executor, journal, listener, fleet)
    return Outcome(total=total, ran=len(pending), failed=failed)


def _run_all(
    study: Study,
    directory: Path,
    pending: Sequence[RunConfig],
    executor: Executor,
    journal: Journal,
    listener: Listener,
    fleet: FleetMode,
) -> int:
    """Have runs done and record them; return how many failed."""
    try:
        execution, calibration = choose_execution(
            study, directory, pending, executor, listener.note, fleet
        )
    except InfeasibleStudyError:
        remove_unbegun_study(directory)
        raise
    failed = 0
    with announced(directory, executor.workers, len(journal.finished)):
        stacked = calibration.get("stacked", {})
        execution_of = functools.partial(_execution_of, execution=execution, stacked=stacked)
        sizes = stacked if fleet != "off" else {}
        group = functools.partial(grouped, sizes=sizes, workers=executor.workers)
        for tasks in _waves(study, directory, pending, execution_of, group):
            for answer in executor.map(tasks):
                record = record_of(answer, study, calibration)
                journal.append(record)
                failed += record.status is RunStatus.FAILED
                listener.finished(record)
    return failed


def executor_for(
    runs: int,
    datasets: Sequence[str],
    workers: int | None,
    cluster: RayCluster | None,
    data_dir: str | None,
    note: Callable[[str], None],
) -> LocalExecutor | RayExecutor:
    """Return what does runs on data sets; a machine's own processes are no more than runs."""
    cpus = cluster.cpus_per_run if cluster else 1
    here = min(workers or max(1, cpu_count() // cpus), runs)
    if cluster is None:
        return LocalExecutor(here, data_dir, note)
    workers = here if cluster.address is None else workers
    return RayExecutor(cluster, workers, data_dir, datasets, note)


def _execution_of(
    config: RunConfig, execution: dict[str, Any], stacked: Mapping[str, int]
) -> dict[str, Any]:
    """Return how a run is done: as stacks are where its kind is stacked, also if it is alone."""
    as_stacks = kind_name(config["model"], config["dataset"]) in stacked
    return STACKED_EXECUTION if as_stacks and not config.get("proximal") else execution


def _waves(
    study: Study,
    directory: Path,
    pending: Sequence[RunConfig],
    execution_of: Callable[[RunConfig], dict[str, Any]],
    group: Callable[[Sequence[RunConfig]], Iterator[list[RunConfig]]],
) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the tasks, those with a budget last: they need the records of their baselines."""
    steered = [config for config in pending if config["lam"] == BUDGET]
    plain = [config for config in pending if config["lam"] != BUDGET]

    def task(config: RunConfig) -> dict[str, Any]:
        return _task(study, directory, config, execution_of(config))

    yield (_together([task(config) for config in runs]) for runs in group(plain))
    if steered:
        wanted = {run_id(baseline_of(config)) for config in steered}
        found = {r.run_id: r for r in read_records(directory) if r.run_id in wanted}
        yield (
            _together([task(config) | _baseline(config, found) for config in runs])
            for runs in group(steered)
        )


def _together(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a worker is told of runs that it is to train as one, or of a single one."""
    return tasks[0] if len(tasks) == 1 else {"task": "stack", "runs": tasks}


def _task(
    study: Study, directory: Path, config: RunConfig, execution: dict[str, Any]
) -> dict[str, Any]:
    weights = weights_path(directory.resolve(), run_id(config))
    return {
        "task": "run",
        "config": config,
        "execution": execution,
        "weights": str(weights) if study.train.save_weights else None,
    }


def _baseline(config: RunConfig, found: Mapping[str, Record]) -> dict[str, Any]:
    """Return what a budget run is told of its baseline: id, status, validation curve."""
    name = run_id(baseline_of(config))
    baseline = found.get(name)
    history = baseline.history if baseline else []
    return {
        "baseline": {
            "run_id": name,
            "status": str(baseline.status) if baseline else "missing",
            "steps": [entry.get("step") for entry in history],
            "accuracies": [entry.get("val_accuracy") for entry in history],
        }
    }


def record_of(answer: Answer, study: Study, calibration: dict[str, Any]) -> Record:
    """Return a run's record: the worker's, or one that says why there is none."""
    common = {
        "study_sha256": study.sha256,
        "analysis_sha256": study.analysis_sha256,
        "calibration": calibration,
    }
    if "record" in answer.content:
        fields = answer.content["record"]
        status, provenance = RunStatus(fields["status"]), {**fields["provenance"], **common}
        return Record(**{**fields, "status": status, "provenance": provenance})
    config, execution = answer.task["config"], answer.task["execution"]
    provenance = {"versions": versions(), "code_version": code_version(), "execution": execution}
    return Record(
        run_id=run_id(config),
        status=RunStatus.FAILED,
        config={**config},
        provenance={**provenance, **common},
        error=answer.content["error"],
    )
