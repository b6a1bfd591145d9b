"""Measuring what a real study kept, and the command that does it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from real_study import study_of, task_of, tasks_in
from safetensors.torch import load_file, save_file

from minaction.cli import main
from minaction.compaction.compact import compact
from minaction.compaction.cost import cost_of
from minaction.data.load import load_dataset
from minaction.errors import DeviceError, InputError, StudyDirectoryError
from minaction.measure.flops import count_macs
from minaction.measure.joules.meters import Tally
from minaction.measure.joules.reading import Source
from minaction.study.compact_runs import load_run_model
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, Record, latest_records
from minaction.study.measure_runs import measure_runs, setting_of
from minaction.study.measurements import COUNTS, read_measurements

STUDY = study_of(model='["mlp", "gru"]', train="parameters = 5_000\nsave_weights = true")
SILENCED, WHOLE, *GRUS = (run_id(config) for config in runs(STUDY))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study of two MLPs, one with silent units, and two GRUs, which cannot be compacted."""
    folder = tmp_path_factory.mktemp("study")
    open_study_directory(folder, STUDY)
    shared = tmp_path_factory.mktemp("worker") / "shared"
    with Journal(folder) as journal, tasks_in(shared) as tasks:
        for config in runs(STUDY):
            weights = folder / "models" / f"{run_id(config)}.safetensors"
            answer = tasks.do(task_of(config, weights=str(weights)))
            journal.append(Record.from_line(json.dumps(answer["record"])))
    for name, silent in ((SILENCED, 9), (WHOLE, 0)):
        weights = folder / "models" / f"{name}.safetensors"
        tensors = load_file(weights)
        tensors["net.1.bias"].fill_(10.0)  # no unit is silent
        tensors["net.3.bias"].fill_(1000.0)
        tensors["net.1.bias"][:silent] = -1e4
        save_file(tensors, weights)
    return folder


@pytest.fixture
def directory(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "study")


def test_every_network_is_measured_once_a_round_and_a_resume_does_the_rest(directory):
    notes = []
    first = measure_runs(directory, rounds=1, note=notes.append)
    assert {one.run_id for one in first} == {run_id(config) for config in runs(STUDY)}
    (directory / "measurements.jsonl").write_bytes(
        b"".join((directory / "measurements.jsonl").read_bytes().splitlines(True)[:3])
    )
    rest = measure_runs(directory, rounds=2)
    found = read_measurements(directory)
    assert found[3:] == rest
    assert sorted((one.run_id, one.round) for one in found) == [
        (name, turn) for name in sorted({one.run_id for one in first}) for turn in (0, 1)
    ]
    assert measure_runs(directory, rounds=2) == []
    assert notes[-1] == "measured 4 of 4 times"


def test_what_is_counted_is_that_of_the_network_before_and_after_compaction(directory):
    found = {one.run_id: one for one in measure_runs(directory, rounds=1)}
    dataset = load_dataset("digits")
    records = {record.run_id: record for record in latest_records(directory)}
    model = load_run_model(directory, records[SILENCED], dataset)
    compaction = compact(model, dataset.train.x)
    one = found[SILENCED]
    assert one.units_removed == len(compaction.removed) >= 9
    for stage, network in ((one.before, model), (one.after, compaction.model)):
        cost = cost_of(network, dataset.test.x[:256])
        assert (stage["macs_dense"], stage["parameters"]) == (cost.macs, cost.parameters)
        timed = dataset.train.x[: records[SILENCED].config["batch_size"]]
        moved = count_macs(network, [timed], training=False).bytes_moved
        assert stage["bytes_moved"] == pytest.approx(moved, rel=1e-12)
        assert set(COUNTS) <= set(stage)
        assert all(stage[f"{name}_seconds"] > 0 for name in ("inference", "single", "training"))
    for name in GRUS:  # whose weights are those of the training
        assert found[name].before["macs_effective"] == records[name].metrics["macs_effective"]
    assert (found[WHOLE].after, found[WHOLE].units_removed) == (None, 0)
    for name in GRUS:
        assert found[name].compacted is None
        assert "cannot be traced" in found[name].no_compaction


def test_where_and_how_it_was_measured_is_in_every_line(directory):
    threads, smallest = torch.get_num_threads(), torch.tensor(1e-310, dtype=torch.float64)
    found = measure_runs(directory, rounds=1)
    assert torch.get_num_threads() == threads
    assert smallest * 2 != 0
    for one in found:
        assert one.setting == setting_of(torch.device("cpu"))
        assert one.conditions["threads"] == 1
        assert 0 < one.conditions["cpu_share"] < 1.5
        assert one.provenance["batch_size"] == 32
        assert (one.before["inference_joules"] is None) == bool(one.no_joules)


class Meter:
    """Draws 3 J for each look at it."""

    scope, unit, source = "cpu package", "joules", Source.COUNTER
    min_window_seconds, poll_seconds = 1e-3, None

    def open(self):
        return Tally(total=lambda: 3.0, others=lambda: None)


def test_joules_are_those_of_a_sample(directory):
    for one in measure_runs(directory, rounds=1, find=lambda device: Meter()):
        reading = one.provenance["joules"]["before"]
        assert one.before["inference_joules"] == pytest.approx(reading["value"] / 32)
        assert reading["idle"] > 0
        assert one.no_joules is None


def test_what_cannot_be_measured_is_one_line(directory, tmp_path):
    with pytest.raises(InputError, match="rounds is 0"):
        measure_runs(directory, rounds=0)
    with pytest.raises(StudyDirectoryError, match=r"no study.toml in it"):
        measure_runs(tmp_path)
    with pytest.raises(DeviceError, match="how long something takes on meta is not known"):
        measure_runs(directory, device="meta")
    (directory / "models" / f"{WHOLE}.safetensors").unlink()
    with pytest.raises(StudyDirectoryError, match="save_weights = true"):
        measure_runs(directory)
    assert not (directory / "measurements.jsonl").exists()


def test_whoever_flushes_denormal_numbers_goes_on_doing_so(directory):
    torch.set_flush_denormal(True)
    measure_runs(directory, rounds=1)
    assert torch.tensor(1e-310, dtype=torch.float64) * 2 == 0


# --- the command


@pytest.fixture
def minaction(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


def test_the_command_measures_and_says_what_to_do_next(minaction, directory):
    code, out, err = minaction("measure", directory, "--rounds", 1)
    assert code == 0, err  # which has lines of progress where it takes long
    assert "4 measurements of 4 networks; `minaction analyse" in out
    code, out, _ = minaction("measure", directory, "--rounds", 1, "--json")
    assert json.loads(out) == {"measured": 0, "file": str(directory / "measurements.jsonl")}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--batch", 3], "--batch is for a model of yours"),
        (["--data", "digits"], "--data is for a model of yours"),
        (["--device", "nowhere"], "--device nowhere: cannot be used here"),
        (["--device", "meta"], "how long something takes on meta is not known"),
        (["--rounds", 0], "--rounds"),
    ],
)
def test_options_that_say_nothing_of_a_study(minaction, directory, options, problem):
    code, out, err = minaction("measure", directory, *options)
    assert (code, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1


def test_rounds_are_for_a_study(minaction):
    code, _, err = minaction("measure", "module:factory", "--rounds", 2)
    assert code == 2
    assert "--rounds is for a study's directory" in err
