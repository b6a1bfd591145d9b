"""`minaction audit`: what it prints, and one line for everything it cannot do."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import minaction as ma
from minaction.cli import main
from minaction.errors import InputError
from minaction.measure.audit_inputs import random_batches

SOURCE = """
from torch import nn

def image():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

def text():
    return nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
"""


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Run the command line in a folder with the user's module."""
    (tmp_path / "audited_models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["audit", *map(str, arguments)])
        return (left.value.code, *capsys.readouterr())

    yield run
    sys.modules.pop("audited_models", None)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_data_set(cli):
    code, out, err = cli("audited_models:image", "--data", "digits", "--batch", 50)
    assert (code, err) == (0, "")
    validation = ma.load_dataset("digits").validation
    head, _, header, *_ = out.splitlines()
    assert head == f"Sequential: {len(validation):,} samples in 3 batches"
    assert header.split()[0] == "layer"


def test_json_is_the_audit(cli):
    torch.manual_seed(0)
    code, out, _ = cli("audited_models:image", "--shape", "8,8", "--batch", 4, "--json")
    torch.manual_seed(0)
    model = sys.modules["audited_models"].image()
    wanted = ma.audit(model, random_batches([8, 8], batch=4))
    assert code == 0
    assert json.loads(out) == wanted.to_dict()


def test_random_inputs_are_said_to_be_random(cli):
    code, out, err = cli("audited_models:image", "--shape", "64", "--batches", 2)
    assert code == 0
    assert out.startswith("Sequential: 64 samples in 2 batches\n")
    assert err.startswith("note: measured on random inputs")


def test_integers(cli):
    code, out, _ = cli(
        "audited_models:text", "--shape", "7", "--dtype", "int64", "--high", 30, "--batch", 3
    )
    assert code == 0
    assert out.startswith("Sequential: 3 samples in 1 batch\n")


def test_weights_and_layers(cli, tmp_path):
    cli("audited_models:image", "--shape", "64")
    model = sys.modules["audited_models"].image()
    save_file({n: torch.zeros_like(t) for n, t in model.state_dict().items()}, "zero.safetensors")
    options = ["--shape", "64", "--weights", "zero.safetensors", "--json"]
    found = json.loads(cli("audited_models:image", *options)[1])
    assert found["total"]["silent_units"] == 16
    found = json.loads(cli("audited_models:image", *options, "--layers", 1, "--layers", 2)[1])
    assert [layer["name"] for layer in found["layers"]] == ["1", "2"]


def test_an_exported_program(cli):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    torch.export.save(torch.export.export(model, (torch.ones(32, 3),)), "net.pt2")
    code, out, _ = cli("net.pt2", "--shape", "3", "--json")
    assert code == 0
    assert json.loads(out)["total"]["parameters"] == 26
    code, out, err = cli("net.pt2", "--shape", "3", "--batch", 4)
    assert (code, out) == (2, "")
    assert "the program takes input: float32 [32, 3], got float32 [4, 3]" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing argument 'MODULE:FACTORY'"),
        (["audited_models:image"], "give either --data NAME or --shape of one sample"),
        (["audited_models:image", "--data", "digits", "--shape", "64"], "give either --data NAME"),
        (["audited_models:image", "--data", "digit"], "unknown data set 'digit'"),
        (["audited_models:image", "--data", "digits", "--high", "3"], "--dtype and --high are for"),
        (["audited_models:image", "--shape", "64", "--data-dir", "."], "--data-dir is for data"),
        (["audited_models:image", "--shape", "8x8"], "--shape 8x8: expected whole numbers"),
        (["audited_models:image", "--shape", "8,0"], "expected positive sizes of one sample"),
        (["audited_models:image", "--shape", "63"], "Sequential does not run on this input"),
        (["audited_models:text", "--shape", "7", "--dtype", "int64"], "int64 inputs need high"),
        (["audited_models:text", "--shape", "7", "--high", "3"], "high is for integers"),
        (["audited_models:text", "--shape", "7", "--dtype", "int64", "--high", "99"],
         "does not run on this input: IndexError: index out of range"),
        (["audited_models:image", "--shape", "64", "--dtype", "int8"], "Invalid value for"),
        (["audited_models:image", "--shape", "64", "--batch", "0"], "Invalid value for '--batch'"),
        (["audited_models:image", "--shape", "64", "--layers", "x"], "layer 'x' did not run"),
        (["audited_models:image", "--shape", "64", "--weights", "w"], "w: no such file"),
        (["audited_models:imag", "--shape", "64"], "did you mean 'image'?"),
        (["absent.pt2", "--shape", "64"], "absent.pt2: no such file"),
    ],
)  # fmt: skip
def test_one_line_for_everything_it_cannot_do(arguments, problem, cli):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("minaction: ")
    assert err.count("\n") == 1
    assert problem in err


def test_options_are_checked_before_torch_is_imported():
    code = (
        "import sys\n"
        "from minaction.cli import main\n"
        "try:\n"
        "    main(['audit', 'a:b'])\n"
        "except SystemExit as left:\n"
        "    assert left.code == 2 and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "options", [{"shape": [10**12, 10**5]}, {"shape": [2], "dtype": "int64", "high": 10**30}]
)
def test_random_inputs_that_cannot_be_made_are_refused(options):
    with pytest.raises(InputError, match=r"^random inputs of shape .* cannot be made \(.*\); give"):
        next(random_batches(batch=4, **options))


def test_random_batches_are_the_same_every_time():
    one, other = ([*random_batches([3], batch=2, batches=2)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(*one)
    (tokens,) = random_batches([50], batch=4, dtype="int32", high=7)
    assert tokens.dtype == torch.int32
    assert (int(tokens.min()), int(tokens.max())) == (0, 6)
