"""Runs in a real MLflow: its SQLite store, and its server, which goes away."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from recorded_study import STUDY, TEXT, record, study_in

pytest.importorskip("mlflow", reason="needs mlflow: pip install 'minaction[mlflow]'")
pytest.importorskip("sqlalchemy", reason="needs sqlalchemy: pip install 'minaction[mlflow]'")
import mlflow

from minaction.errors import InputError, MinActionError
from minaction.integrations.mlflow import MlflowTracker
from minaction.integrations.tracking import send_study
from minaction.study.journal import latest_records
from minaction.study.read_study import parse_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store, made once: making its tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = Path.cwd()
    os.chdir(folder)  # where MLflow keeps artefacts of a store without a server
    yield f"sqlite:///{folder}/mlflow.db"
    os.chdir(before)


@pytest.fixture
def study(store):
    """An experiment of this test's own in the store, and a tracker of it."""
    text = TEXT.replace("recorded", f"study-{time.monotonic_ns()}")
    named = parse_study(text, source="study.toml")
    return MlflowTracker(named, store), lambda: found(store, named.name)


def found(uri, experiment):
    """All runs of an experiment by their run id here, the study's own under None."""
    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([experiment_id])
    by_id = {run.data.tags.get("minaction.run_id"): run for run in runs}
    assert len(by_id) == len(runs)  # each is there once
    return client, by_id


def test_runs_arrive_with_parameters_metrics_curves_and_files(study, tmp_path):
    directory = study_in(tmp_path / "study", record(0), record(1, error="no luck"))
    (directory / "report.html").write_text("<p>")
    tracker, look = study
    files = [directory / "study.toml", directory / "report.html", directory / "missing"]
    assert send_study(tracker, directory, files) == 2
    client, runs = look()
    parent, ok, failed = runs[None], runs[record(0).run_id], runs[record(1).run_id]
    assert ok.info.run_name == "digits mlp activation lam=0 seed=0"
    assert ok.data.params["lam"] == "0.0"
    assert ok.data.params["dataset"] == "digits"
    assert ok.data.metrics["test_accuracy"] == 0.9
    assert "note" not in ok.data.metrics
    curve = client.get_metric_history(ok.info.run_id, "history/val_loss")
    assert [(m.step, m.value) for m in curve] == [(10, 1.0), (20, 0.5)]
    assert ok.info.start_time == 1767225600000  # the first of January
    assert ok.info.end_time - ok.info.start_time == 3000
    assert (ok.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert failed.data.tags["minaction.error"] == "no luck"
    assert ok.data.tags["mlflow.parentRunId"] == parent.info.run_id
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert names == {"study.toml", "report.html"}


def test_what_is_there_is_left_alone_and_what_is_not_completed(study, tmp_path):
    directory = study_in(tmp_path / "study", record(0), record(1, error="no luck"))
    tracker, look = study
    send_study(tracker, directory, [])
    client, before = look()
    send_study(tracker, directory, [])
    assert {name: run.info.to_proto() for name, run in look()[1].items()} == {
        name: run.info.to_proto() for name, run in before.items()
    }
    study_in(directory, record(1, accuracy=0.5))  # tried again
    cut = before[record(0).run_id].info.run_id
    client.update_run(cut, status="RUNNING")  # as a driver leaves it that is killed now
    send_study(tracker, directory, [])
    _, after = look()
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    assert after[record(1).run_id].data.metrics["test_accuracy"] == 0.5
    assert after[record(1).run_id].data.tags["minaction.error"] == ""
    assert len(client.get_metric_history(cut, "history/val_loss")) == 2


def test_a_run_that_two_programs_tell_of_at_once_is_there_once(study, store, tmp_path):
    live, look = study
    live.connect()
    exporting = MlflowTracker(live._study, store)
    exporting.connect()  # knows of no run, and is told of none
    for tracker in (live, exporting, live):
        tracker.log(record(0))
    _, runs = look()
    assert runs.keys() == {None, record(0).run_id}


def test_a_deleted_experiment_and_an_unusable_uri_are_said_in_one_line(study, store, tmp_path):
    directory = study_in(tmp_path / "study")
    tracker, _ = study
    send_study(tracker, directory, [])
    client = mlflow.MlflowClient(store)
    client.delete_experiment(tracker._experiment)
    with pytest.raises(MinActionError, match=r"its experiment 'study-\d+' is deleted; restore it"):
        tracker.connect()
    with pytest.raises(InputError, match=r"MLflow at foo://bar: .* unsupported URI"):
        MlflowTracker(STUDY, "foo://bar")
    with pytest.raises(MinActionError, match=r"MLflow at sqlite:////proc/nowhere/mlflow.db: "):
        MlflowTracker(STUDY, "sqlite:////proc/nowhere/mlflow.db").connect()


def test_a_server_that_does_not_answer_is_an_error_without_its_password(tmp_path):
    tracker = MlflowTracker(STUDY, NOWHERE.replace("//", "//me:secret@"))
    with pytest.raises(MinActionError, match=r"^MLflow at http://127.0.0.1:1: no answer") as caught:
        send_study(tracker, study_in(tmp_path / "study"), [])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def command(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "minaction", "study", *map(str, arguments)],
        capture_output=True,
        text=True,
        **settings,
    )


def test_a_study_whose_server_does_not_answer_goes_on_and_is_told_later(store, tmp_path):
    spec, out = tmp_path / "study.toml", tmp_path / "out"
    name = f"live-{time.monotonic_ns()}"
    spec.write_text(TEXT.replace("recorded", name).replace("seeds = 2", "seeds = 1"))
    track = ["--track", "mlflow", "--tracking-uri", NOWHERE, "--workers", "1"]
    done = command("run", spec, "--out", out, *track)
    assert done.returncode == 0, done.stderr
    (warning,) = (line for line in done.stderr.split("\n") if "127.0.0.1" in line)
    assert warning == (
        "warning: MLflow at http://127.0.0.1:1: no answer (Connection refused); the study goes on "
        f"and tells it later, and so does `minaction study export {out} --to mlflow "
        "--tracking-uri ...`"
    )
    assert len(latest_records(out)) == 2
    done = command("run", spec, "--out", out, "--track", "mlflow", "--tracking-uri", store)
    assert done.returncode == 0, done.stderr
    client, runs = found(store, name)
    assert set(runs) == {None, *(r.run_id for r in latest_records(out))}
    assert {f.path for f in client.list_artifacts(runs[None].info.run_id)} == {
        "study.toml",
        "report.html",
    }
    done = command("export", out, "--to", "mlflow", "--tracking-uri", NOWHERE)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    no_answer = "MLflow at http://127.0.0.1:1: no answer (Connection refused)"
    assert done.stderr == f"minaction: {no_answer}\n"
    done = command("export", out, "--to", "mlflow", "-o", "file")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name its store or server with --tracking-uri" in done.stderr


def test_without_mlflow_the_line_that_installs_it_is_said(tmp_path):
    spec = tmp_path / "study.toml"
    spec.write_text(TEXT)
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "mlflow.py").write_text("raise ModuleNotFoundError(\"No module named 'mlflow'\")\n")
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = command(
        *("run", spec, "--out", tmp_path / "out", "--track", "mlflow"),
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "runs for MLflow need mlflow (No module named 'mlflow'); install with:" in done.stderr
    assert not (tmp_path / "out").exists()


@contextlib.contextmanager
def server(folder, port):
    """MLflow's own server on its SQLite store."""
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", folder / "artifacts"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
        )
    try:
        until = time.monotonic() + 240
        while time.monotonic() < until and process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health"),
            ):
                break
            time.sleep(0.2)
        assert process.poll() is None, (folder / "log").read_text()
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_loses_no_run(tmp_path):
    pytest.importorskip("flask", reason="MLflow's server needs flask, flask-cors and graphene")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri, spec, out = f"http://127.0.0.1:{port}", tmp_path / "study.toml", tmp_path / "out"
    spec.write_text(TEXT.replace("seeds = 2", "seeds = 8"))
    run = [sys.executable, "-m", "minaction", "study", "run", spec, "--out", out]
    run += ["--track", "mlflow", "--tracking-uri", uri, "--workers", "1"]
    with server(tmp_path, port):
        driver = subprocess.Popen(run, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 240
        while time.monotonic() < until and driver.poll() is None:
            with contextlib.suppress(Exception):
                if len(found(uri, STUDY.name)[1]) >= 3:
                    break
            time.sleep(0.05)
        assert driver.poll() is None
    _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, errors
    assert errors.count(f"warning: MLflow at {uri}: ") == 1
    assert len(latest_records(out)) == 16
    with server(tmp_path, port):
        known = len(found(uri, STUDY.name)[1])
        assert 3 <= known < 17
        done = command("run", spec, "--out", out, "--track", "mlflow", "--tracking-uri", uri)
        assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
        client, runs = found(uri, STUDY.name)
        assert set(runs) == {None, *(r.run_id for r in latest_records(out))}
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        paths = {file.path for file in client.list_artifacts(runs[None].info.run_id)}
        assert paths == {"study.toml", "report.html"}
