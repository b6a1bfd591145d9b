"""A study whose journal is written by hand: nothing is trained."""

from __future__ import annotations

from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal
from minaction.study.read_study import parse_study
from minaction.study.record import Record, RunStatus

TEXT = """
[study]
name = "recorded"
seeds = 2
[factors]
dataset = "digits"
model = "mlp"
lam = [0, 1e-3]
[train]
epochs = 2
"""
STUDY = parse_study(TEXT, source="study.toml")
CONFIGS = list(runs(STUDY))


def record(number, *, accuracy=0.9, error=None):
    """The record of a run: two epochs, or how it failed."""
    metrics = {"test_accuracy": accuracy, "train_seconds": 3.0, "parameters": 100, "note": "text"}
    history = [
        {"epoch": epoch, "step": 10 * epoch, "val_loss": 1 / epoch, "train_seconds": 1.5 * epoch}
        for epoch in (1, 2)
    ]
    return Record(
        run_id=run_id(CONFIGS[number]),
        status=RunStatus.FAILED if error else RunStatus.OK,
        config={**CONFIGS[number]},
        metrics=None if error else metrics,
        history=[] if error else history,
        provenance={"started": f"2026-01-0{number + 1}T00:00:00+00:00"},
        error=error,
    )


def study_in(directory, *records):
    """Append to the journal of the study in a directory, which is made if there is none."""
    open_study_directory(directory, STUDY)
    with Journal(directory) as journal:
        for one in records:
            journal.append(one)
    return directory
