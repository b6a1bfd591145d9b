"""A study's runs in MLflow: an experiment, a run for the study, and in it one for each of its runs.

Needs the extra `mlflow`: mlflow-skinny and what it takes to use a database as a store. The full
mlflow does as well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minaction.errors import InputError, MinActionError
from minaction.integrations.tracking import TrackedRun
from minaction.study.record import Record, RunStatus
from minaction.study.study_file import Study

# a server that is away is told of later: waiting for it is not worth minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

try:
    import mlflow
    from mlflow.entities import Metric, Param, Run, RunTag
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
except ImportError as error:
    raise InputError(
        f"runs for MLflow need mlflow ({error}); install with: pip install 'minaction[mlflow]'"
    ) from None

RUN_ID, STUDY, DIGEST = "minaction.run_id", "minaction.study_sha256", "minaction.record_digest"
STATUS, ERROR = "minaction.status", "minaction.error"
_PARENT = "mlflow.parentRunId"
_METRICS_PER_REQUEST = 1000
_PARAMETERS_PER_REQUEST = 100
_TEXT_LIMIT = 5000
"""Characters of a tag or parameter that every store takes."""
_DATABASES = ("mssql", "mysql", "postgresql", "sqlite")
_UNFINISHED = ("RUNNING", "SCHEDULED")


class MlflowTracker:
    """Logs a study's runs with parameters, metrics and curves, its files as artefacts.

    What is there already, as the tags of runs tell, is not logged again; a run that was tried
    again, or of which MLflow heard only a part, is completed.

    Args:
        study: The study; its name is the experiment's.
        uri: Tracking URI; None for the one MLflow is set to, `$MLFLOW_TRACKING_URI` or its own
            default.

    Raises:
        InputError: MLflow cannot use the URI.
    """

    def __init__(self, study: Study, uri: str | None = None) -> None:
        self._study = study
        self.uri = uri or mlflow.get_tracking_uri()
        self._experiment = self._parent = ""
        self._known: dict[str, tuple[str, str | None]] = {}
        if not self.uri.startswith(_DATABASES):  # which would be connected to
            _ = self._client

    @property
    def name(self) -> str:
        """What it is called in a message, without a password."""
        return f"MLflow at {_without_password(self.uri)}"

    @functools.cached_property
    def _client(self) -> mlflow.MlflowClient:
        try:
            return mlflow.MlflowClient(tracking_uri=self.uri)
        except UnsupportedModelRegistryStoreURIException as error:
            raise InputError(f"{self.name}: {_first_line(error)}") from None

    def connect(self) -> None:
        """Find the experiment and what it knows of the study; make what is missing.

        Raises:
            MinActionError: MLflow does not answer, or its experiment is deleted.
        """
        with self._named_failures():
            self._experiment = self._find_experiment()
            self._known, studies = {}, []
            for run in self._search():
                if RUN_ID in run.data.tags:
                    self._known[run.data.tags[RUN_ID]] = _told(run)
                else:
                    studies.append(run.info.run_id)
            self._parent = studies[0] if studies else self._make_parent()

    def log(self, record: Record) -> None:
        """Log a run, unless this record of it is there.

        Raises:
            MinActionError: MLflow does not answer.
        """
        run = TrackedRun.of(record)
        with self._named_failures():
            known, digest = self._known.get(record.run_id) or self._looked_up(record.run_id)
            if digest != run.digest:
                self._known[record.run_id] = self._log(record, run, known), run.digest

    def attach(self, path: Path) -> None:
        """Log a file as an artefact of the study's own run.

        Raises:
            MinActionError: MLflow does not answer, or cannot store files.
        """
        with self._named_failures():
            self._client.log_artifact(self._parent, str(path))

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._study.name)
        if found is None:
            return self._client.create_experiment(self._study.name)
        if found.lifecycle_stage == "deleted":
            raise MinActionError(
                f"{self.name}: its experiment {self._study.name!r} is deleted; restore it, or "
                "delete it for good with `mlflow gc`"
            )
        return found.experiment_id

    def _looked_up(self, run_id: str) -> tuple[str | None, str | None]:
        """Return what MLflow was told of a run since we asked; another program may tell it, too."""
        found = next(self._search(f" and tags.`{RUN_ID}` = '{run_id}'"), None)
        return (None, None) if found is None else _told(found)

    def _search(self, condition: str = "") -> Iterator[Run]:
        """Yield the study's runs, those that meet a further condition."""
        of_study = f"tags.`{STUDY}` = '{self._study.sha256}'{condition}"
        token = None
        while True:
            page = self._client.search_runs([self._experiment], of_study, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _make_parent(self) -> str:
        tags = {STUDY: self._study.sha256}
        run = self._client.create_run(self._experiment, tags=tags, run_name=self._study.name)
        self._client.set_terminated(run.info.run_id)
        return run.info.run_id

    def _log(self, record: Record, run: TrackedRun, run_id: str | None) -> str:
        """Log a run as a new one, or as that with MLflow's `run_id`, which is returned."""
        started = run.started or time.time()
        tags = {
            RUN_ID: record.run_id,
            STUDY: self._study.sha256,
            DIGEST: run.digest,
            STATUS: str(record.status),
            ERROR: (record.error or "")[:_TEXT_LIMIT],
            _PARENT: self._parent,
        }
        if run_id is None:
            made = self._client.create_run(
                self._experiment, start_time=_milliseconds(started), tags=tags, run_name=run.name
            )
            run_id = made.info.run_id
        else:
            self._client.update_run(run_id, status="RUNNING")
        params = [Param(name, _text(value)) for name, value in run.parameters.items()]
        for start in range(0, len(params), _PARAMETERS_PER_REQUEST):
            self._client.log_batch(run_id, params=params[start : start + _PARAMETERS_PER_REQUEST])
        metrics = list(_metrics(run, started))
        for start in range(0, len(metrics), _METRICS_PER_REQUEST):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_REQUEST])
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        status = "FAILED" if record.status is RunStatus.FAILED else "FINISHED"
        self._client.set_terminated(run_id, status, _milliseconds(started + run.seconds))
        return run_id

    @contextlib.contextmanager
    def _named_failures(self) -> Iterator[None]:
        """Turn what MLflow, its store's driver or the network raise into one line."""
        try:
            yield
        except MinActionError:
            raise
        except Exception as error:
            raise MinActionError(f"{self.name}: {_first_line(error)}") from error


def _told(run: Run) -> tuple[str, str | None]:
    """Return MLflow's id of a run and which record it has; None: not the whole of one."""
    finished = run.info.status not in _UNFINISHED
    return run.info.run_id, run.data.tags.get(DIGEST) if finished else None


def _metrics(run: TrackedRun, started: float) -> Iterator[Metric]:
    for step, seconds, values in run.curves:
        moment = _milliseconds(started + seconds)
        yield from (Metric(f"history/{name}", v, moment, step) for name, v in values.items())
    moment = _milliseconds(started + run.seconds)
    yield from (Metric(name, value, moment, 0) for name, value in run.metrics.items())


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_TEXT_LIMIT]


def _first_line(error: Exception) -> str:
    text = _without_password(" ".join(str(error).split()))
    if "ConnectionPool(" in text:  # a network's error, of which all but the end is noise
        reason = re.search(r"\[Errno -?\d+\] ([\w ]+)|timed out", text)
        return f"no answer ({reason[1] or reason[0]})" if reason else "no answer"
    return text.split(". ")[0] or type(error).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
