"""Trackers on the command line: `study export --to mlflow|tensorboard` and `study run --track`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minaction.errors import InputError

if TYPE_CHECKING:
    from minaction.integrations.tracking import LiveTracking, Tracker
    from minaction.study.study_file import Study

FOLDER_NAME = "tensorboard"
"""Where TensorBoard's files are in a study's directory."""


class TrackerKind(StrEnum):
    """Trackers there are."""

    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"


Track = Annotated[
    TrackerKind | None,
    typer.Option(help="Also tell a tracker of the runs while they are made.", show_default=False),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="MLflow's store or server; default: $MLFLOW_TRACKING_URI, then MLflow's own.",
        show_default=False,
    ),
]


def live_tracking(
    kind: TrackerKind | None, study: Study, directory: Path, uri: str | None
) -> LiveTracking | None:
    """Return what tells a tracker of a study's runs, None where none is asked for.

    Raises:
        InputError: The tracker's library is missing, or it cannot use the URI.
    """
    _check_uri(kind, uri)
    if kind is None:
        return None
    tracker = _tracker(kind, study, directory / FOLDER_NAME, uri)
    from minaction.integrations.tracking import LiveTracking

    again = f"minaction study export {directory} --to {kind}"
    again += " --tracking-uri ..." if uri else ""  # which may hold a password
    return LiveTracking(tracker, directory, _files(directory), remedy=f"`{again}`")


def export_to_tracker(
    kind: TrackerKind, directory: Path, output: Path | None, uri: str | None
) -> None:
    """Tell a tracker of every run in a study's journal.

    Raises:
        InputError: Its library is missing, it cannot use the URI, or MLflow is given a file.
        MinActionError: It does not answer.
    """
    from minaction.study.directory import load_study_directory

    _check_uri(kind, uri)
    if kind is TrackerKind.MLFLOW and output is not None:
        raise InputError("MLflow takes no --output; name its store or server with --tracking-uri")
    study = load_study_directory(directory)
    tracker = _tracker(kind, study, output or directory / FOLDER_NAME, uri)
    from minaction.integrations.tracking import send_study

    runs = send_study(tracker, directory, _files(directory))
    typer.echo(f"{tracker.name}: {runs} runs of {study.name}")


def _check_uri(kind: TrackerKind | None, uri: str | None) -> None:
    if uri is not None and kind is not TrackerKind.MLFLOW:
        raise InputError("--tracking-uri is for MLflow; give it with mlflow, or leave it out")


def _tracker(kind: TrackerKind, study: Study, folder: Path, uri: str | None) -> Tracker:
    if kind is TrackerKind.MLFLOW:
        from minaction.integrations.mlflow import MlflowTracker

        return MlflowTracker(study, uri)
    from minaction.integrations.tensorboard import TensorBoardTracker

    return TensorBoardTracker(folder)


def _files(directory: Path) -> list[Path]:
    from minaction.report.build import REPORT_NAME
    from minaction.study.directory import STUDY_NAME

    return [directory / STUDY_NAME, directory / REPORT_NAME]
