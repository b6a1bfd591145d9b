"""`minaction measure`: what it prints, and that no input breaks it."""

from __future__ import annotations

import json
import signal
import sys

import pytest
import torch
from torch import nn

from minaction.cli import main

MODELS = """
from torch import nn

class Mover(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        self.to("meta")
        return self.layer(x)

def image():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

def text():
    return nn.Embedding(30, 4)
"""


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Run `minaction measure` beside a module of models: exit code, output, errors."""
    (tmp_path / "measured_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    threads = torch.get_num_threads()

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["measure", *map(str, arguments)])
        return (left.value.code, *capsys.readouterr())

    yield run
    sys.modules.pop("measured_models", None)
    torch.set_num_threads(threads)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_person_reads_latency_joules_or_why_not(cli):
    code, out, err = cli("measured_models:image", "--data", "digits", "--measurements", 5)
    assert (code, err) == (0, "")
    labels = [line[:14].strip() for line in out.splitlines() if line[:1].strip()]
    assert labels == [
        *("network", "latency", "throughput", "MACs", "weights", "bytes moved"),
        *("joules", "instructions", "modelled", "conditions"),
    ]
    assert "a model, not a measurement" in " ".join(out.split())
    assert all(len(line) <= 100 for line in out.splitlines())


def test_a_machine_reads_json(cli):
    options = ["--shape", "8,8", "--batch", 5, "--threads", 1, "--measurements", 5, "--json"]
    code, out, _ = cli("measured_models:image", *options)
    found = json.loads(out)
    assert code == 0
    assert (found["samples"], found["conditions"]["threads"]) == (5, 1)
    assert found["work"]["macs_dense"] == 64 * 16 + 16 * 10
    for meter in found["meters"]:
        assert meter["reading"]["value"] != 0
        assert (meter["reading"]["value"] is None) == bool(meter["reading"]["reason"])


def test_random_inputs_are_said_to_be_random(cli):
    options = ["--shape", "7", "--dtype", "int64", "--high", 30, "--measurements", 5]
    code, out, err = cli("measured_models:text", *options)
    assert code == 0
    assert "Embedding, batches of 32 on cpu" in out
    assert err.startswith("note: measured on random inputs")


def test_an_exported_program(cli):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    torch.export.save(torch.export.export(model, (torch.ones(32, 3),)), "net.pt2")
    code, out, _ = cli("net.pt2", "--shape", "3", "--measurements", 5, "--json")
    assert code == 0
    assert json.loads(out)["work"]["parameters"] == 26


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing argument 'DIR|MODULE:FACTORY'"),
        (["measured_models:image"], "give either --data NAME or --shape of one sample"),
        (["nosuch"], "nosuch: no such file or directory; give a study's directory, MODULE:FACTORY"),
        (["net.pt2", "--rounds", 2], "net.pt2: no such file or directory"),
        (["measured_models:image", "--shape", "63"], "Sequential does not run on this input"),
        (["measured_models:image", "--shape", "8x8"], "--shape 8x8: expected whole numbers"),
        (["measured_models:imag", "--shape", "64"], "measured_models has no 'imag'"),
        (["measured_models:Mover", "--shape", "6"], "its parameters while it runs"),
        (["measured_models:image", "--shape", "64", "--device", "meta"],
         "where nothing is computed"),
        (["measured_models:image", "--shape", "64", "--device", "gpu"],
         "--device gpu: cannot be used here"),
        (["measured_models:image", "--shape", "64", "--device", "cuda:77"],
         "--device cuda:77: cannot be used here"),
        (["measured_models:image", "--shape", "64", "--threads", "0"], "Invalid value for"),
        (["measured_models:image", "--shape", "64", "--measurements", "4"], "Invalid value for"),
    ],
)  # fmt: skip
def test_unusable_input_is_one_line(cli, arguments, problem):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1
