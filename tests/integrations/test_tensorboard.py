"""Event files, read by TensorBoard itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from recorded_study import record, study_in

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'minaction[tensorboard]'")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from minaction.errors import StorageError
from minaction.integrations.tensorboard import TensorBoardTracker
from minaction.integrations.tracking import send_study


def files(directory):
    return [directory / "study.toml", directory / "report.html"]


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def values(events, tag):
    return [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors(tag)]


def run_folders(folder):
    return sorted(path for path in folder.iterdir() if path.name != "study")


@pytest.fixture
def directory(tmp_path):
    study_in(tmp_path / "study", record(0), record(1, error="no luck"))
    (tmp_path / "study" / "report.html").write_text("<p>")
    return tmp_path / "study"


def test_runs_arrive_with_parameters_metrics_curves_and_files(directory):
    folder = directory / "tensorboard"
    assert send_study(TensorBoardTracker(folder), directory, files(directory)) == 2
    failed, ok = run_folders(folder)
    assert ok.name.startswith("digits_mlp_activation_lam=0_seed=0-")
    events = read(ok)
    assert values(events, "test_accuracy") == [(0, pytest.approx(0.9))]
    assert values(events, "history/val_loss") == [(10, 1.0), (20, 0.5)]
    assert {e.wall_time for e in events.Tensors("history/val_loss")} == {
        1767225601.5,  # the first of January, 1.5 and 3 s later
        1767225603.0,
    }
    session = metadata.parse_session_start_info_plugin_data(
        events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    )
    assert session.hparams["lam"].number_value == 0
    assert session.hparams["dataset"].string_value == "digits"
    assert session.group_name == record(0).run_id
    ended = metadata.parse_session_end_info_plugin_data(
        read(failed).SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    )
    assert ended.status == api_pb2.STATUS_FAILURE
    assert b"no luck" in read(failed).Tensors("error")[0].tensor_proto.string_val[0]
    study = read(folder / "study")
    assert b"seeds = 2" in study.Tensors("study.toml")[0].tensor_proto.string_val[0]
    page = study.Tensors("report.html")[0].tensor_proto.string_val[0]
    assert page.decode() == str(directory / "report.html")


def test_what_is_there_is_left_alone_and_a_new_try_takes_its_place(directory, tmp_path):
    folder = tmp_path / "events"
    send_study(TensorBoardTracker(folder), directory, files(directory))
    failed, _ = run_folders(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*tfevents*")}
    study_in(directory, record(1, accuracy=0.5))
    send_study(TensorBoardTracker(folder), directory, [])
    (file,) = failed.iterdir()
    assert file not in before
    assert values(read(failed), "test_accuracy") == [(0, 0.5)]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*tfevents*")}
    assert sum(after.get(path) == time for path, time in before.items()) == len(before) - 1


def test_a_folder_that_cannot_be_made_is_said(directory):
    (directory / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/events: Not a directory"):
        send_study(TensorBoardTracker(directory / "file" / "events"), directory, [])


def test_on_the_command_line(directory):
    def export(*arguments):
        command = [sys.executable, "-m", "minaction", "study", "export", directory, "--to"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = export("tensorboard")
    assert (code, said) == (
        0,
        f"TensorBoard's folder {directory}/tensorboard: 2 runs of recorded\n",
    )
    assert len(run_folders(directory / "tensorboard")) == 2
    code, said = export("tensorboard", "--tracking-uri", "x")
    assert (code, said.count("\n")) == (2, 1)
    assert "--tracking-uri is for MLflow; give it with mlflow, or leave it out" in said
    code, said = export("csv", "--tracking-uri", "x")
    assert (code, said.count("\n")) == (2, 1)


def test_without_tensorboard_the_line_that_installs_it_is_said():
    code = (
        "import sys; sys.modules['tensorboard'] = None\nimport minaction.integrations.tensorboard"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: runs for TensorBoard need tensorboard (" in done.stderr
    assert "); install with: pip install 'minaction[tensorboard]'\n" in done.stderr
