"""Compaction of the networks that a study trained and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from minaction.compaction.compact import Compaction, compact
from minaction.compaction.copying import copy_of
from minaction.compaction.latency import Latency, Runtime, measure_latency
from minaction.data.dataset import Dataset
from minaction.data.load import load_dataset
from minaction.errors import CompactionError, InputError, StudyDirectoryError, suggest
from minaction.models.build import build_model
from minaction.models.external import load_weights
from minaction.study.design import model_options
from minaction.study.directory import load_study_directory, weights_path
from minaction.study.journal import Record, RunStatus, latest_records
from minaction.study.run import cross_entropy, train_config
from minaction.train.evaluate import evaluate
from minaction.train.execution import Execution
from minaction.train.fine_tune import fine_tune

FINE_TUNE_STREAM = 2 << 32  # keeps the data orders of fine-tuning apart from those of training


@dataclass(frozen=True, kw_only=True)
class CompactionPlan:
    """What is done with each network.

    Attributes:
        tolerance: As for `compact`.
        macs: As for `compact`.
        fine_tune_epochs: Passes over the training split after the removal; 0 for none.
        runtimes: Where latency is measured.
        pairs: Pairs of latency measurements.
    """

    tolerance: float = 0.0
    macs: float | None = None
    fine_tune_epochs: float = 0.0
    runtimes: Sequence[Runtime] = ()
    pairs: int = 41


@dataclass(frozen=True, kw_only=True, eq=False)
class CompactedRun:
    """A run's network before and after.

    Attributes:
        record: The run's record.
        compaction: What was removed; its `model` is the fine-tuned one where it was fine-tuned.
        accuracy: For validation and test split the accuracy `before`, after the removal alone
            (`removed`) and in the end (`after`).
        latency: Measured latencies.
        plan: What was asked for.
    """

    record: Record
    compaction: Compaction
    accuracy: dict[str, dict[str, float]]
    latency: list[Latency]
    plan: CompactionPlan

    @property
    def name(self) -> str:
        """What its files are called: the run's id."""
        return self.record.run_id

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the network as JSON-able values."""
        return {
            "run_id": self.record.run_id,
            "config": self.record.config,
            "tolerance": self.plan.tolerance,
            "macs": self.plan.macs,
            "fine_tune_epochs": self.plan.fine_tune_epochs,
            **self.compaction.to_dict(),
            "accuracy": self.accuracy,
            "latency": [entry.to_dict() for entry in self.latency],
        }


def compact_runs(
    directory: str | Path,
    run_ids: Sequence[str],
    plan: CompactionPlan,
    *,
    data_dir: str | None = None,
    skipped: Callable[[CompactionError], object] | None = None,
) -> Iterator[CompactedRun]:
    """Compact the saved networks of a study's runs, one after the other.

    Calibrated on the training split, compared on the validation split; the test split serves only
    to say what accuracy was before and is after.

    Args:
        directory: A study's directory.
        run_ids: Which runs; none for all that ended well.
        plan: What to do.
        data_dir: Where data sets are looked for first.
        skipped: Is told of a network that cannot be compacted, and the others follow; default: that
            is an error.

    Raises:
        StudyDirectoryError: It is no study, or a run's weights were not saved.
        InputError: There is no such run, or the data is not what it was trained on.
        CompactionError: A network has collapsed, or cannot be traced; the message names the run.
    """
    load = functools.cache(lambda name: load_dataset(name, data_dir))
    for record in saved_runs(directory, run_ids):
        dataset = dataset_of(record, load)
        try:
            compacted = _compact_run(Path(directory), record, dataset, plan)
        except CompactionError as error:
            named = f"run {record.run_id} ({record.config['model']}): {error}"
            if skipped is None:
                raise CompactionError(named) from error
            skipped(CompactionError(named))
        else:
            yield compacted


def saved_runs(directory: str | Path, run_ids: Sequence[str]) -> list[Record]:
    """Return the records of runs whose networks a study kept.

    Args:
        directory: A study's directory.
        run_ids: Which runs; none for all that ended well.

    Raises:
        StudyDirectoryError: It is no study, or a run's weights were not saved.
        InputError: There is no such run.
    """
    directory = Path(directory)
    load_study_directory(directory)
    records = _chosen(directory, run_ids)
    for record in records:
        _weights_path(directory, record.run_id)
    return records


def dataset_of(record: Record, load: Callable[[str], Dataset]) -> Dataset:
    """Return the data set that a run was trained on.

    Args:
        record: The run's record.
        load: Returns a data set by its name.

    Raises:
        InputError: The data is not what it was trained on.
    """
    dataset = load(record.config["dataset"])
    if record.provenance.get("data_sha256") not in (None, dataset.fingerprint):
        raise InputError(
            f"run {record.run_id}: was trained on another {record.config['dataset']} than the one "
            "found here; give its folder with --data-dir"
        )
    return dataset


def load_run_model(directory: str | Path, record: Record, dataset: Dataset) -> nn.Module:
    """Return a run's network with the weights it ended with, in evaluation mode.

    Raises:
        StudyDirectoryError: Its weights were not saved.
        ModelError: The file does not hold its weights.
    """
    config = record.config
    model = build_model(
        config["model"],
        dataset.spec,
        parameters=config["parameters"],
        seed=config["seed"],
        **model_options(config),
    )
    load_weights(model, _weights_path(Path(directory), record.run_id))
    return model.eval()


def _compact_run(
    directory: Path, record: Record, dataset: Dataset, plan: CompactionPlan
) -> CompactedRun:
    model = load_run_model(directory, record, dataset)
    compaction = compact(
        model,
        dataset.train.x,
        held_out=dataset.validation.x,
        tolerance=plan.tolerance,
        macs=plan.macs,
    )
    before, removed = _accuracies(model, dataset), _accuracies(compaction.model, dataset)
    after = removed
    if plan.fine_tune_epochs:
        tuned = copy_of(compaction.model)
        config = train_config(record.config)  # pyright: ignore[reportArgumentType]
        config = replace(config, seed=FINE_TUNE_STREAM + record.config["seed"])
        fine_tune(
            tuned,
            dataset.train,
            cross_entropy,
            config,
            epochs=plan.fine_tune_epochs,
            execution=_execution_of(record),
        )
        compaction, after = replace(compaction, model=tuned), _accuracies(tuned, dataset)
    latency = measure_latency(
        model, compaction.model, compaction.example, runtimes=plan.runtimes, pairs=plan.pairs
    )
    accuracy = {
        split: {"before": before[split], "removed": removed[split], "after": after[split]}
        for split in before
    }
    return CompactedRun(
        record=record, compaction=compaction, accuracy=accuracy, latency=latency, plan=plan
    )


def _execution_of(record: Record) -> Execution:
    """Return how the run itself was trained."""
    return Execution(**record.provenance.get("execution", {}))


def _accuracies(model: nn.Module, dataset: Dataset) -> dict[str, float]:
    splits = {"validation": dataset.validation, "test": dataset.test}
    return {name: evaluate(model, split, cross_entropy).accuracy for name, split in splits.items()}


def _chosen(directory: Path, run_ids: Sequence[str]) -> list[Record]:
    records = {record.run_id: record for record in latest_records(directory)}
    for run_id in run_ids:
        if run_id not in records:
            raise InputError(f"{directory}: has no run {run_id!r}{suggest(run_id, records)}")
        if records[run_id].status is not RunStatus.OK:
            raise InputError(
                f"{directory}: run {run_id} ended as {records[run_id].status}; choose another"
            )
    chosen = [records[run_id] for run_id in dict.fromkeys(run_ids)]
    chosen = chosen or [r for r in records.values() if r.status is RunStatus.OK]
    if not chosen:
        raise StudyDirectoryError(f"{directory}: no run has ended well yet; run the study first")
    return chosen


def _weights_path(directory: Path, run_id: str) -> Path:
    path = weights_path(directory, run_id)
    if not path.is_file():
        raise StudyDirectoryError(
            f"{path}: no such file; a study keeps its networks where [train] says `save_weights = "
            "true`; if it did, restore the file from a copy"
        )
    return path
