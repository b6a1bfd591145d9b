"""Compacting what a real study kept, and the command that does it."""

from __future__ import annotations

import json
import shutil

import onnxruntime
import pytest
import torch
from real_study import study_of, task_of, tasks_in
from safetensors.torch import load_file, save_file

from minaction.cli import main
from minaction.compaction.compact import compact
from minaction.data.load import load_dataset
from minaction.errors import CompactionError, InputError, StudyDirectoryError
from minaction.study.compact_runs import CompactionPlan, compact_runs, load_run_model
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, Record, RunStatus
from minaction.study.run import cross_entropy
from minaction.train.evaluate import evaluate

STUDY = study_of(seeds=2, epochs=2, train="parameters = 5_000\nsave_weights = true")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A study of four runs, one of them collapsed, with their networks."""
    folder = tmp_path_factory.mktemp("study")
    open_study_directory(folder, STUDY)
    shared = tmp_path_factory.mktemp("worker") / "shared"
    with Journal(folder) as journal, tasks_in(shared) as tasks:
        for config in runs(STUDY):
            weights = folder / "models" / f"{run_id(config)}.safetensors"
            answer = tasks.do(task_of(config, weights=str(weights)))
            record = Record.from_line(json.dumps(answer["record"]))
            if config["lam"] and config["seed"]:
                record = Record(**{**vars(record), "status": RunStatus.COLLAPSED})
            else:
                silence_some_units(weights)
            journal.append(record)
    return folder


def silence_some_units(path):
    weights = load_file(path)
    weights["net.1.bias"][:3] = -1e4
    save_file(weights, path)


@pytest.fixture
def minaction(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def first_run():
    return run_id(runs(STUDY)[0])


def test_every_run_that_ended_well(directory):
    dataset = load_dataset("digits")
    found = list(compact_runs(directory, (), CompactionPlan()))
    assert {one.name for one in found} == {run_id(config) for config in runs(STUDY)[:3]}
    for one in found:
        model = load_run_model(directory, one.record, dataset)
        expected = compact(model, dataset.train.x, held_out=dataset.validation.x)
        assert one.compaction.removed == expected.removed
        assert len(one.compaction.exact) >= 3
        before, after = one.compaction.units["net.1"]
        assert before - after >= 3
        test = evaluate(model, dataset.test, cross_entropy).accuracy
        assert one.accuracy["test"]["before"] == test
        assert one.accuracy["test"]["after"] == one.accuracy["test"]["removed"]
        assert one.accuracy["test"]["after"] == pytest.approx(test, abs=0.003)
        assert one.latency == []
        json.dumps(one.to_dict(), allow_nan=False)


def test_fine_tuning_comes_after_the_removal_and_is_repeatable(directory):
    plan = CompactionPlan(tolerance=0.6, fine_tune_epochs=1.5)
    [one], [again] = (list(compact_runs(directory, [first_run()], plan)) for _ in range(2))
    assert one.accuracy["validation"]["after"] > one.accuracy["validation"]["removed"]
    assert one.accuracy == again.accuracy
    for name, tensor in one.compaction.model.state_dict().items():
        assert torch.equal(tensor, again.compaction.model.state_dict()[name])
    assert not one.compaction.model.training


def test_runs_that_are_not_there(directory, tmp_path):
    plan = CompactionPlan()
    with pytest.raises(InputError, match="has no run 'abc'"):
        list(compact_runs(directory, ["abc"], plan))
    with pytest.raises(InputError, match="ended as collapsed; choose another"):
        list(compact_runs(directory, [run_id(runs(STUDY)[3])], plan))
    with pytest.raises(StudyDirectoryError, match=r"no study.toml in it"):
        list(compact_runs(tmp_path, (), plan))


def test_networks_that_were_not_kept(directory, tmp_path):
    copied = tmp_path / "study"
    shutil.copytree(directory, copied)
    (copied / "models" / f"{first_run()}.safetensors").unlink()
    with pytest.raises(StudyDirectoryError, match="save_weights = true"):
        list(compact_runs(copied, [first_run()], CompactionPlan()))


def test_a_network_that_cannot_be_compacted_is_named_and_the_others_are(
    minaction, directory, tmp_path
):
    copied = tmp_path / "study"
    shutil.copytree(directory, copied)
    path = copied / "models" / f"{first_run()}.safetensors"
    weights = load_file(path)
    weights["net.1.bias"].fill_(-1e4)
    save_file(weights, path)
    with pytest.raises(CompactionError, match=rf"run {first_run()} \(mlp\): .*has collapsed"):
        list(compact_runs(copied, (), CompactionPlan()))
    code, out, err = minaction("compact", copied, "--no-latency", "--json")
    assert code == 2
    assert len(json.loads(out)) == 2  # those of the others
    note, problem = err.splitlines()
    assert note.startswith(f"note: run {first_run()} (mlp): the network has collapsed")
    assert "1 network could not be compacted" in problem


def test_other_data_than_it_was_trained_on(directory, tmp_path):
    copied = tmp_path / "study"
    shutil.copytree(directory, copied)
    journal = copied / "journal.jsonl"
    fingerprint = load_dataset("digits").fingerprint
    journal.write_text(journal.read_text().replace(fingerprint, "0" * 64))
    with pytest.raises(InputError, match="was trained on another digits"):
        list(compact_runs(copied, [first_run()], CompactionPlan()))


# --- the command


def test_the_table(minaction, directory):
    code, out, err = minaction("compact", directory, "--run", first_run(), "--no-latency")
    assert (code, err) == (0, "")
    assert out.startswith(first_run())
    for line in ("units of net.1", "MACs per sample", "parameters", "bytes of weights"):
        assert line in out
    assert "test accuracy, %" in out
    assert "silent" in out
    assert max(map(len, out.splitlines())) <= 110


def test_json_and_files(minaction, directory, tmp_path):
    out_folder = tmp_path / "small"
    code, out, err = minaction(
        "compact", directory, "--run", first_run(), "--out", out_folder, "--onnx", "--json"
    )
    assert (code, err) == (0, "")
    [values] = json.loads(out)
    assert values["run_id"] == first_run()
    assert values["parameters_after"] < values["parameters_before"]
    assert [(entry["runtime"], entry["batch"]) for entry in values["latency"]] == [
        ("pytorch", 256),
        ("pytorch", 1),
        ("onnxruntime", 256),
        ("onnxruntime", 1),
    ]
    names = {f"{first_run()}.{kind}" for kind in ("safetensors", "pt2", "json", "onnx")}
    assert {file.name for file in out_folder.iterdir()} == names
    assert json.loads((out_folder / f"{first_run()}.json").read_text()) == values
    check_files(out_folder / first_run(), values)


def check_files(stem, values):
    x = load_dataset("digits").test.x[:5]
    session = onnxruntime.InferenceSession(stem.with_suffix(".onnx"))
    [logits] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    program = torch.export.load(stem.with_suffix(".pt2")).module()
    torch.testing.assert_close(program(x), torch.from_numpy(logits), rtol=1e-4, atol=1e-5)
    weights = stem.with_suffix(".safetensors")
    assert weights.stat().st_size == values["bytes_after"]
    assert sum(t.numel() for t in load_file(weights).values()) == values["parameters_after"]


def test_a_pt2_file_of_a_compact_network_is_a_model_again(minaction, directory, tmp_path):
    minaction("compact", directory, "--run", first_run(), "--out", tmp_path, "--no-latency")
    program = tmp_path / f"{first_run()}.pt2"
    code, out, err = minaction(
        "compact", program, "--data", "digits", "--no-latency", "--json", "--macs", 0.5
    )
    assert (code, err) == (0, "")
    [values] = json.loads(out)
    assert values["removed"]
    assert any(unit["kind"] == "least" for unit in values["removed"])
    assert values["macs_after"] <= 0.5 * values["macs_before"]
    assert values["accuracy"].keys() == {"validation", "test"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--run", "abc"], "has no run 'abc'"),
        (["--onnx"], "--onnx: say where the files go with --out FOLDER"),
        (["--data", "digits"], "are for a model of yours"),
        (["--tolerance", "1"], "tolerance is 1.0; expected a number from 0 to below 1"),
        (["--tolerance", "-1"], "Invalid value for '--tolerance'"),
        (["--macs", "2"], "macs is 2.0; expected a share above 0 and up to 1"),
    ],
)
def test_wrong_options_for_a_study(minaction, directory, arguments, problem):
    code, out, err = minaction("compact", directory, *arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert len(err.splitlines()) == 1


def test_an_out_folder_that_is_a_file(minaction, directory, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    code, _, err = minaction(
        "compact", directory, "--run", first_run(), "--out", blocked, "--no-latency"
    )
    assert code == 2
    assert f"{blocked}: is a file; give a folder" in err
    assert blocked.read_text() == "mine"
