"""`minaction compact` on a model of the user's: a factory, an exported program, or neither."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import save_file

from minaction.cli import main
from minaction.models.conventional import MLP

FACTORY = """
import torch
from minaction.models.conventional import MLP

def net():
    return MLP(4, (8, 6), 3)

def images():
    return torch.nn.Sequential(torch.nn.Flatten(), MLP(64, (9,), 10))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A user's module, weights, inputs and program, written once: exporting takes long."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "users_net.py").write_text(FACTORY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MLP(4, (8, 6), 3)
        with torch.no_grad():
            for index in (1, 3):
                model.net[index].bias += 3
            model.net[1].bias[[2, 5]] = -1e4
        save_file(model.state_dict(), folder / "weights.safetensors")
        save_file({"x": torch.rand(50, 4)}, folder / "inputs.safetensors")
        save_file({"x": torch.rand(20, 4)}, folder / "others.safetensors")
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(model.eval(), (torch.rand(2, 4),), dynamic_shapes=(batch,))
        torch.export.save(program, folder / "program.pt2")
    return folder


@pytest.fixture
def workplace(files, tmp_path, monkeypatch):
    """A copy of the files; the current directory."""
    monkeypatch.chdir(shutil.copytree(files, tmp_path / "workplace"))
    return tmp_path / "workplace"


@pytest.fixture
def compact(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["compact", *map(str, arguments)])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


@pytest.mark.parametrize(
    "target", [["users_net:net", "--weights", "weights.safetensors"], ["program.pt2"]], ids=len
)
def test_a_factory_with_weights_and_an_exported_program(workplace, compact, target):
    data = ["--calibration", "inputs.safetensors", "--held-out", "others.safetensors"]
    code, out, err = compact(*target, *data, "--json", "--no-latency", "--out", "small")
    assert (code, err) == (0, "")
    [values] = json.loads(out)
    assert [(u["layer"], u["unit"], u["kind"]) for u in values["removed"]] == [
        ("net.1", 2, "silent"),
        ("net.1", 5, "silent"),
    ]
    assert values["units"]["net.1"] == [8, 6]
    assert values["max_output_difference_held_out"] < 1e-5
    assert values["accuracy"] == {}
    assert len(list((workplace / "small").iterdir())) == 3


def test_a_data_set(workplace, compact):
    code, out, err = compact("users_net:images", "--data", "digits", "--no-latency")
    assert (code, err) == (0, "")
    assert "validation accuracy, %" in out
    assert out.startswith("images\n")


@pytest.mark.slow
def test_latency_is_measured_unless_told_not_to(workplace, compact):
    data = ["--calibration", "inputs.safetensors"]
    _, out, _ = compact("program.pt2", *data)
    assert out.count("batch 256") == out.count("batch 1,") == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["users_net:net"], "give either --data NAME or --calibration FILE.safetensors"),
        (["users_net:net", "--run", "a", "--data", "digits"], "for a study's directory"),
        (["users_net:net", "--fine-tune", "1", "--data", "digits"], "for a study's directory"),
        (["users_net:nett", "--calibration", "inputs.safetensors"], "nett"),
        (["nowhere", "--calibration", "inputs.safetensors"], "nowhere"),
        (["users_net:net", "--calibration", "none.safetensors"], "none.safetensors"),
        (["users_net:net", "--data", "digits"], "does not run on the calibration set"),
        (["users_net:net", "--calibration", "users_net.py"], "users_net.py"),
        (["users_net.py", "--calibration", "inputs.safetensors"], "users_net.py"),
        (
            ["users_net:net", "--data", "digits", "--held-out", "others.safetensors"],
            "--held-out goes with --calibration",
        ),
    ],
)
def test_unusable_input_is_one_line(workplace, compact, arguments, problem):
    code, out, err = compact(*arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert len(err.splitlines()) == 1


def test_an_empty_file_of_inputs(workplace, compact):
    save_file({}, "empty.safetensors")
    code, _, err = compact("users_net:net", "--calibration", "empty.safetensors")
    assert code == 2
    assert "empty.safetensors: holds no tensor" in err
    save_file({"x": torch.zeros(0, 4)}, "empty.safetensors")
    code, _, err = compact("users_net:net", "--calibration", "empty.safetensors")
    assert code == 2
    assert "the calibration set is empty" in err


class Bomb:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "inputs.safetensors"])
def test_pickles_are_refused_without_being_opened(workplace, compact, name):
    (workplace / name).write_bytes(pickle.dumps(Bomb()))
    before = (workplace / name).read_bytes()
    weights = name if name.startswith("weights") else "weights.safetensors"
    data = ["--calibration", "inputs.safetensors"]
    code, out, err = compact("users_net:net", "--weights", weights, *data)
    assert (code, out) == (2, "")
    assert f"{name}: is a pickle" in err
    assert not (workplace / "exploded").exists()
    assert (workplace / name).read_bytes() == before


def test_torch_pickles_are_refused_too(workplace, compact):
    torch.save({"weight": Bomb()}, "model.pt")
    data = ["--calibration", "inputs.safetensors"]
    for arguments in (["model.pt"], ["users_net:net", "--weights", "model.pt"]):
        code, _, err = compact(*arguments, *data)
        assert code == 2
        assert "pickle" in err
    assert not (workplace / "exploded").exists()
