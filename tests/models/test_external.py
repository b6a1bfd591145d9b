"""Models of the user: what cannot be loaded gives one line, and no pickle is ever opened."""

import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from minaction.errors import ModelError
from minaction.models.external import load_model, load_weights

SOURCE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.out = nn.Linear(width, 2)

    @classmethod
    def wide(cls):
        return cls(8)

ready = make()
number = 3

def needs(width):
    return Net(width)

def fails():
    raise ValueError("no weights\\nhere")

def leaves():
    raise SystemExit(3)
"""
FILES = {
    "user_models": SOURCE,
    "user_broken": "import a_module_that_is_not_there\n",
    "user_syntax": "def make(:\n",
    "user_exits": "import sys\nsys.exit(1)\n",
    "user_raises": "1 / 0\n",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory with the user's modules."""
    for name, source in FILES.items():
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "user_package" / "inner").mkdir(parents=True)
    (tmp_path / "user_package" / "inner" / "nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    assert sys.path == before
    for name in [name for name in sys.modules if name.split(".")[0].startswith("user_")]:
        del sys.modules[name]


class Bomb:
    """Pickled code: loading it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("user_models:make", nn.Sequential),
        ("user_models:ready", nn.Sequential),
        ("user_models:Net", nn.Module),
        ("user_models:Net.wide", nn.Module),
        ("user_package.inner.nets:make", nn.Sequential),
        ("torch.nn:ReLU", nn.ReLU),
    ],
)
def test_factories_classes_and_modules(target, kind, here):
    assert isinstance(load_model(target), kind)


def test_a_ready_module_is_given_as_it_is(here):
    assert load_model("user_models:ready") is sys.modules["user_models"].ready


def test_weights_are_loaded(here):
    wanted = {name: torch.randn(t.shape) for name, t in load_model("user_models:make")
              .state_dict().items()}  # fmt: skip
    save_file(wanted, "weights.safetensors")
    found = load_model("user_models:make", Path("weights.safetensors")).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_tied_parameter_may_be_stored_once(tmp_path):
    def tied():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    save_model(model, str(tmp_path / "tied.safetensors"))
    load_weights(other, tmp_path / "tied.safetensors")
    assert torch.equal(other[1].weight, model[0].weight)
    assert other[1].weight is other[0].weight


def test_an_exported_program(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    x = torch.ones(2, 3)
    torch.export.save(torch.export.export(model.eval(), (x,)), tmp_path / "net.pt2")
    renamed = (tmp_path / "net.pt2").rename(tmp_path / "net.bin")  # the content says what it is
    loaded = load_model(str(renamed))
    assert torch.equal(loaded(x), model(x))
    assert type(loaded.get_submodule("0")) is nn.Linear


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("user_models:mak", "user_models has no 'mak'; did you mean 'make'?"),
        ("user_models:Net.narrow", "user_models has no 'narrow'"),
        ("user_models:number", "user_models:number is of type int, expected a function, class or"),
        ("user_models:needs", "user_models:needs failed: TypeError: needs() missing 1 required"),
        ("user_models:fails", "failed: ValueError: no weights; it is called without arguments"),
        ("user_models:leaves", "user_models:leaves failed: SystemExit: 3"),
        ("pathlib:PurePath", "pathlib:PurePath gives PurePosixPath, expected a torch.nn.Module"),
        ("user_absent:make", "there is no module 'user_absent'; install it"),
        ("user_package.absent:make", "there is no module 'user_package.absent'"),
        ("user_broken:make", "importing user_broken failed: ModuleNotFoundError: No module named"),
        ("user_syntax:make", "importing user_syntax failed: SyntaxError: invalid syntax"),
        ("user_exits:make", "importing user_exits failed: SystemExit: 1"),
        ("user_raises:make", "importing user_raises failed: ZeroDivisionError"),
        ("user_models.py:make", "is a file; give the module that it is: user_models:FACTORY"),
        ("user_package/inner/nets.py:make", "give the module that it is: user_package.inner.nets:"),
        ("user_models", "expected package.module:factory or the path of an exported program"),
        ("user_models:", "expected package.module:factory or"),
        (":make", "expected package.module:factory or"),
        ("", "expected package.module:factory or"),
        ("absent.pt2", "absent.pt2: no such file"),
        ("absent.pt", "absent.pt: no such file"),
    ],
)  # fmt: skip
def test_one_line_for_what_is_no_model(target, problem, here):
    with pytest.raises(ModelError) as caught:
        load_model(target)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_exported_program_brings_its_weights(tmp_path):
    with pytest.raises(ModelError, match="is a file with weights of its own; leave w out"):
        load_model(str(tmp_path / "net.pt2"), Path("w"))


# --- pickles


def test_a_safetensors_file_whose_header_begins_like_a_pickle_is_loaded(tmp_path):
    path = tmp_path / "net.safetensors"
    model = nn.Linear(2, 2)
    for length in range(256):  # until the header is as long as its first byte says
        save_file(model.state_dict(), path, metadata={"note": "x" * length})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    load_weights(model, path)


def pickles(folder, marker):
    """Files that run code when they are unpickled, under honest and other names."""
    torch.save({"0.weight": Bomb(marker)}, folder / "zipped.pt")
    torch.save(Bomb(marker), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / f"plain{protocol}.pkl").write_bytes(pickle.dumps(Bomb(marker), protocol))
    for name in ("zipped.pt", "legacy.pth", "plain0.pkl", "plain4.pkl"):
        for suffix in (".safetensors", ".pt2", ".bin"):
            (folder / name).with_suffix(suffix).write_bytes((folder / name).read_bytes())
    return sorted(p for p in folder.iterdir() if p.is_file())


def test_pickles_are_never_opened(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "files").mkdir()
    model = nn.Sequential(nn.Linear(2, 2))
    before = model[0].weight.clone()
    for path in pickles(tmp_path / "files", marker):
        content = path.read_bytes()
        for load in (lambda p: load_model(str(p)), lambda p: load_weights(model, p)):
            with pytest.raises(ModelError) as caught:
                load(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)
        assert path.read_bytes() == content
        assert not marker.exists()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    "load", [lambda p: load_model(str(p)), lambda p: load_weights(nn.ReLU(), p)]
)
def test_the_message_says_how_to_convert_a_pickle(load, tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(ModelError, match="is a pickle") as caught:
        load(path)
    command = str(caught.value).partition('python -c "')[2].removesuffix('"')
    exec(command)
    assert (tmp_path / "net.safetensors").is_file()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ModelError, match="is a TorchScript program; give MODULE:FACTORY"):
        load_model(str(path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("net.pt2", b"", "is no model that can be loaded"),
        ("net.pt2", b"hello", "is no model that can be loaded"),
        ("net.onnx", b"\x08\x07\x12", "is no model that can be loaded"),
        ("net.txt", b"hello", "is no model that can be loaded"),
        ("net.safetensors", b"\x02\0\0\0\0\0\0\0{}", "holds weights without a model"),
    ],
)
def test_files_that_are_no_models(name, content, problem, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(str(path))
    assert str(caught.value).startswith(f"{path}: {problem}")


def test_archives_and_folders(tmp_path):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="is an archive of another program; give MODULE:FACTORY"):
        load_model(str(path))
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(ModelError, match="is a folder; give the path of a file"):
        load_model(str(tmp_path / "folder.pt2"))


# --- weights that do not fit


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: w.pop("0.bias"), "does not fit Sequential: missing 0.bias"),
        (lambda w: w.update(extra=torch.ones(1)), "does not fit Sequential: unexpected extra"),
        (lambda w: w.update({"2.weight": w.pop("0.weight")}),
         "missing 0.weight; unexpected 2.weight"),
        (lambda w: w.update({"0.weight": torch.ones(5, 3)}), "0.weight is [5, 3], the model's is"),
        (lambda w: w.update({f"x.{n}": torch.ones(1) for n in range(9)}), "x.4 and 4 more"),
    ],
)  # fmt: skip
def test_weights_of_another_model(change, problem, tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weights = {name: tensor.clone() + 1 for name, tensor in model.state_dict().items()}
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(model, tmp_path / "w.safetensors")
    assert str(caught.value).startswith(f"{tmp_path / 'w.safetensors'}: ")
    assert problem in str(caught.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]"])
def test_damaged_weights(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.safetensors: cannot be read as a safetensors file"):
        load_weights(nn.Linear(2, 2), path)


def test_missing_weights(tmp_path):
    with pytest.raises(ModelError, match=r"w\.safetensors: no such file"):
        load_weights(nn.Linear(2, 2), tmp_path / "w.safetensors")
