"""A study's runs for TensorBoard, a folder of event files each; needs the extra `tensorboard`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from minaction.errors import InputError, StorageError
from minaction.integrations.tracking import TrackedRun
from minaction.study.directory import atomic_file
from minaction.study.record import Record, RunStatus

try:
    from tensorboard.compat.proto.event_pb2 import (
        Event,  # pyright: ignore[reportAttributeAccessIssue]
    )
    from tensorboard.compat.proto.summary_pb2 import (
        Summary,  # pyright: ignore[reportAttributeAccessIssue]
    )
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    )
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    raise InputError(
        f"runs for TensorBoard need tensorboard ({error}); install with: "
        "pip install 'minaction[tensorboard]'"
    ) from None

_FILE = "events.out.tfevents"
_STUDY = "study"
_SUCCESS, _FAILURE = 1, 2  # of `tensorboard.plugins.hparams.api_pb2.Status`


class TensorBoardTracker:
    """Writes runs to `FOLDER/RUN`: parameters and metrics for HParams, curves for Scalars.

    A run's event file appears whole or not at all and bears the digest of its record, so that
    what is there is not written again and what was tried again is replaced. TensorBoard keeps no
    files: of an attached page it is told the path.

    Args:
        folder: What `tensorboard --logdir` is given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """What it is called in a message."""
        return f"TensorBoard's folder {self.folder}"

    def connect(self) -> None:
        """Make the folder.

        Raises:
            StorageError: The disk refuses it.
        """
        _make(self.folder)

    def log(self, record: Record) -> None:
        """Write a run's event file, unless it is there.

        Raises:
            StorageError: The disk refuses it.
        """
        run = TrackedRun.of(record)
        # named for people, and still one for each run
        name = re.sub(r"[^\w.+=-]+", "_", run.name)
        folder = self.folder / f"{name}-{record.run_id[:8]}"
        path = folder / f"{_FILE}.{int(run.started)}.{run.digest}"
        if path.exists():
            return
        _make(folder)
        earlier = list(folder.glob(f"{_FILE}.*"))
        _write(path, _events(record, run))
        for file in earlier:
            _remove(file)

    def attach(self, path: Path) -> None:
        """Write a file's text for the Text page, or, of a page, where it is.

        Raises:
            StorageError: The disk refuses it.
        """
        page = path.suffix == ".html"
        text = str(path.resolve()) if page else f"```\n{path.read_text('utf-8')}\n```"
        _make(self.folder / _STUDY)
        event = Event(summary=text_pb(path.name, text))
        _write(self.folder / _STUDY / f"{_FILE}.0.{path.name}", [event])


def _events(record: Record, run: TrackedRun) -> Iterable[Event]:
    parameters = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in run.parameters.items()
    }
    started, ended = run.started, run.started + run.seconds
    begin = hparams_pb(parameters, trial_id=record.run_id, start_time_secs=started)
    yield Event(wall_time=started, summary=begin)
    for step, seconds, values in run.curves:
        for name, value in values.items():
            summary = scalar_pb(f"history/{name}", value)
            yield Event(wall_time=started + seconds, step=step, summary=summary)
    for name, value in run.metrics.items():
        yield Event(wall_time=ended, summary=scalar_pb(name, value))
    if record.error:
        yield Event(wall_time=ended, summary=text_pb("error", record.error))
    yield Event(wall_time=ended, summary=_end(record.status, ended))


def _end(status: RunStatus, seconds: float) -> Summary:
    """Return what says how a run ended; TensorBoard's own function for it wants TensorFlow."""
    content = HParamsPluginData()
    content.session_end_info.status = _FAILURE if status is RunStatus.FAILED else _SUCCESS
    content.session_end_info.end_time_secs = seconds
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )
    return summary


def _write(path: Path, events: Iterable[Event]) -> None:
    with atomic_file(path) as file:
        writer = RecordWriter(file)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)  # another program may be telling the same
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror or error}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}") from error
