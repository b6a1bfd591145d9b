"""Exported programs: the same outputs, the same layers, and nothing in the file is ever run."""

import contextlib
import copy
import io
import json
import pickle
import weakref
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.energy.tape import Tape
from minaction.errors import ModelError
from minaction.models.exported import load_exported

WRONG = (AttributeError, LookupError, ModelError, RuntimeError, TypeError, ValueError)
BATCH = torch.export.Dim("batch", min=2)
# torch's own: a program's recurrent layers keep their weights in a list
pytestmark = pytest.mark.filterwarnings("ignore:The tensor attribute")


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding="same", groups=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


class Network(nn.Module):
    """Layers of all kinds, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.block, self.up = Block(8), nn.ConvTranspose2d(8, 4, 2)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))
        self.register_buffer("shift", torch.ones(4, 1, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5))
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 5)
        self.plain = nn.BatchNorm1d(5, affine=False)

    def forward(self, x):
        x = self.block(self.block(self.stem(x)))
        x = self.up(x) * self.scale + self.shift
        return self.plain(self.out(F.gelu(self.norm(self.head(x)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(5, 6, 2), nn.Linear(6, 3)
        self.tied = nn.Linear(6, 3)
        self.tied.weight = self.out.weight

    def forward(self, x):
        states = self.lstm(x)[0]
        one, other = states[-1].chunk(2, 1)
        return self.out(states), self.tied(torch.cat([other, one], 1)), x.shape[1] * 2


class Keyed(nn.Module):
    """Keyword and constant arguments, integers, views that depend on the batch."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 8), nn.Linear(8, 8)
        self.register_buffer("mask", torch.full((6, 6), float("-inf")).triu(1), persistent=False)
        self.constant = torch.arange(8.0)

    def forward(self, tokens, weight, *, double=False):
        x = self.embed(tokens) * weight[:, None, None] + self.constant
        scores = (x @ x.mT + self.mask).softmax(-1)
        x = self.out(scores @ x)[:, 1:]
        x = x.masked_fill(x > 2, 0.0).reshape(tokens.shape[0] * 5, -1)
        index = torch.arange(5, device=x.device)
        x = torch.where(x > 0, x, x.tanh()).to(torch.float64)
        return {"out": x * 2 if double else x, "part": x[index, :3], "top": x.topk(2)[0]}


MODELS = {
    "network": (Network, (randn(4, 3, 8, 8),), {}, ({0: BATCH},)),
    "recurrent": (Recurrent, (randn(7, 4, 5),), {}, None),
    "keyed": (
        Keyed,
        (torch.randint(20, (4, 6), generator=torch.Generator().manual_seed(0)),),
        {"weight": randn(4), "double": True},
        {"tokens": {0: BATCH}, "weight": {0: BATCH}, "double": None},
    ),
    "attention": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, enable_nested_tensor=False
        ),
        (randn(2, 5, 8),),
        {},
        None,
    ),
}


def saved(path, model, args, kwargs=None, shapes=None):
    program = torch.export.export(model.eval(), args, kwargs or {}, dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    torch.manual_seed(0)
    models = {name: build().eval() for name, (build, *_) in MODELS.items()}
    with torch.no_grad():
        for name, tensor in models["network"].named_buffers():
            if "running" in name:
                tensor.add_(0.5)
    for name, (_, args, kwargs, shapes) in MODELS.items():
        saved(folder / f"{name}.pt2", models[name], args, kwargs, shapes)
    return folder, models


def leaves(value):
    if isinstance(value, dict):
        value = tuple(value.values())
    return [leaf for part in value for leaf in leaves(part)] if type(value) is tuple else [value]


def assert_equal_outputs(loaded, model, args, kwargs):
    with torch.no_grad():
        outputs = zip(leaves(loaded(*args, **kwargs)), leaves(model(*args, **kwargs)), strict=True)
    for found, wanted in outputs:
        if isinstance(wanted, torch.Tensor):
            torch.testing.assert_close(found, wanted)
        else:
            assert found == wanted


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_weights_are_those_of_the_model(name, programs):
    folder, models = programs
    loaded = load_exported(folder / f"{name}.pt2")
    _, args, kwargs, _ = MODELS[name]
    assert_equal_outputs(loaded, models[name], args, kwargs)
    wanted = models[name].state_dict()
    assert loaded.state_dict().keys() == wanted.keys()
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, wanted[key])
    assert sum(p.numel() for p in loaded.parameters()) == sum(
        p.numel() for p in models[name].parameters()
    )
    assert not loaded.training


def test_another_batch_size(programs):
    folder, models = programs
    for name, args, kwargs in (
        ("network", (randn(7, 3, 8, 8, seed=1),), {}),
        ("keyed", (torch.arange(18).view(3, 6),), {"weight": randn(3), "double": True}),
    ):
        loaded = load_exported(folder / f"{name}.pt2")
        assert_equal_outputs(loaded, models[name], args, kwargs)


def test_layers_are_modules_again(programs):
    folder, models = programs
    loaded = load_exported(folder / "network.pt2")
    layers = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d)
    for path, module in models["network"].named_modules():
        if isinstance(module, layers):
            assert repr(loaded.get_submodule(path)) == repr(module)


def test_copies_and_pickles_are_independent(programs):
    folder, models = programs
    loaded = load_exported(folder / "network.pt2")
    other = pickle.loads(pickle.dumps(copy.deepcopy(loaded)))
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    _, args, kwargs, _ = MODELS["network"]
    assert_equal_outputs(other, models["network"], args, kwargs)


def test_weights_can_be_trained(programs):
    loaded = load_exported(programs[0] / "network.pt2")
    loaded(randn(4, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def layers_of(model, x):
    with torch.no_grad(), Tape(model) as tape:
        model(x)
    return {layer.name: layer.value for layer in tape.trajectory.layers}


@pytest.mark.parametrize("name", ["network", "attention", "recurrent"])
def test_nonlinearities_are_observed_under_their_names(name, programs):
    folder, models = programs
    x = MODELS[name][1][0]
    wanted = layers_of(models[name], x)
    found = layers_of(load_exported(folder / f"{name}.pt2"), x)
    assert list(found) == list(wanted)
    for layer, value in wanted.items():
        torch.testing.assert_close(found[layer], value)


def test_intermediate_results_go_when_nothing_reads_them_any_more(programs):
    loaded = load_exported(programs[0] / "network.pt2")
    outputs, alive = [], []

    def note(_module, _inputs, output):
        alive.append(sum(ref() is not None for ref in outputs))
        outputs.append(weakref.ref(output))

    for module in loaded.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        loaded(randn(4, 3, 8, 8))
    assert len(outputs) > 10
    assert max(alive) <= 3


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "the program takes x: float32 [any, 3, 8, 8]"),
        ((randn(4, 3, 8, 9),), {}, "got float32 [4, 3, 8, 9]; sizes are fixed unless"),
        ((randn(4, 3, 8, 8).double(),), {}, "got float64 [4, 3, 8, 8]"),
        ((randn(3, 8, 8),), {}, "got float32 [3, 8, 8]"),
        ((randn(4, 3, 8, 8),), {"y": 1}, "the program takes x"),
        ((), {"x": 3}, "got int"),
    ],
)
def test_inputs_it_was_not_exported_for(args, kwargs, problem, programs):
    with pytest.raises(ModelError, match="the program takes") as caught:
        load_exported(programs[0] / "network.pt2")(*args, **kwargs)
    assert problem in str(caught.value)


# --- files


def rewritten(source, target, change, *, compression=zipfile.ZIP_STORED):
    """Copy an archive record by record; `change(name, content)` gives the new content."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            content = change(info.filename.partition("/")[2], old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
    return target


def with_program(source, target, change):
    """Copy an archive with its program, as JSON, changed in place."""

    def change_record(name, content):
        if name != "models/model.json":
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return rewritten(source, target, change_record)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def evil_samples(marker):
    def change(name, content):
        if name != "data/sample_inputs/model.pt":
            return content
        file = io.BytesIO()
        torch.save(((Bomb(marker),), {}), file)
        return file.getvalue()

    return change


def test_pickled_sample_inputs_are_not_read(programs, tmp_path):
    marker = tmp_path / "ran"
    path = rewritten(programs[0] / "network.pt2", tmp_path / "evil.pt2", evil_samples(marker))
    assert_equal_outputs(load_exported(path), programs[1]["network"], MODELS["network"][1], {})
    assert not marker.exists()


def code(marker):
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def evil_guards(program, marker):
    program["guards_code"] = [f"{code(marker)} is None"]


def evil_expressions(program, marker):
    def change(value):
        if isinstance(value, dict):
            if "expr_str" in value:
                value["expr_str"] = code(marker)
            for part in value.values():
                change(part)
        elif isinstance(value, list):
            for part in value:
                change(part)

    change(program)


def evil_names(program, marker):
    program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [
        f"x={code(marker)}"
    ]
    for node in program["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {"stack_trace": f"\n{code(marker)}\n", "nn_module_stack": f"a,\n{code},"}


@pytest.mark.parametrize("evil", [evil_guards, evil_expressions, evil_names])
def test_what_torch_would_evaluate_is_ignored(evil, programs, tmp_path):
    marker = tmp_path / "ran"
    path = with_program(
        programs[0] / "network.pt2", tmp_path / "evil.pt2", lambda program: evil(program, marker)
    )
    assert_equal_outputs(load_exported(path), programs[1]["network"], MODELS["network"][1], {})
    assert not marker.exists()


def node(target, *arguments):
    return {
        "target": target,
        "inputs": [{"name": "", "arg": argument, "kind": 1} for argument in arguments],
        "outputs": [{"as_tensor": {"name": "evil"}}],
        "metadata": {},
        "name": "evil",
    }


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten.warn.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten._unsafe_index.Tensor",
        "torch.ops.aten.__class__.default",
        "torch.ops.aten.register_hook.default",
        "torch.ops.aten.numpy.default",
        "torch.ops.aten.relu/../os.default",
        "torch.ops.mylib.run.default",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
        "_operator.call",
        "math.factorial",
        "#extension:run",
        "eval",
        "",
    ],
)
def test_functions_that_no_program_may_call(target, programs, tmp_path):
    def change(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes.insert(0, node(target, {"as_tensor": {"name": "x"}}))
        nodes[1]["inputs"][0]["arg"] = {"as_tensor": {"name": "evil"}}

    path = with_program(programs[0] / "network.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ModelError, match=r"evil\.pt2: the program calls .*may not do here"):
        load_exported(path)


@pytest.mark.parametrize(
    "target",
    ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.aten.relu.default"],
)
def test_text_is_for_few_functions_only(target, programs, tmp_path):
    marker = tmp_path / "ran"

    def change(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes.insert(0, node(target, {"as_string": f"touch {marker}"}))

    path = with_program(programs[0] / "network.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ModelError, match=r"evil\.pt2: (gives text to|the program calls)"):
        load_exported(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "argument",
    [
        {"as_operator": "torch.os.system"},
        {"as_graph": {}},
        {"as_custom_obj": {"name": "x"}},
        {"a": 1},
    ],
)
def test_arguments_that_no_program_may_pass(argument, programs, tmp_path):
    def change(program):
        program["graph_module"]["graph"]["nodes"].insert(0, node("torch.ops.aten.relu", argument))

    path = with_program(programs[0] / "network.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ModelError, match="passes an argument of the kind"):
        load_exported(path)


@pytest.mark.parametrize("field", [("use_pickle", True), ("path_name", "custom_obj_0"),
                                   ("path_name", "../../weight_0")])  # fmt: skip
def test_pickled_weights_are_refused(field, programs, tmp_path):
    def change(name, content):
        if name == "data/weights/model_weights_config.json":
            config = json.loads(content)
            config["config"]["out.weight"][field[0]] = field[1]
            return json.dumps(config).encode()
        return content

    path = rewritten(programs[0] / "network.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ModelError, match=r"'out.weight' is a pickled object"):
        load_exported(path)


def test_weights_that_point_beyond_their_record(programs, tmp_path):
    def change(name, content):
        if name == "data/weights/model_weights_config.json":
            config = json.loads(content)
            config["config"]["out.weight"]["tensor_meta"]["sizes"][0]["as_int"] = 10**6
            return json.dumps(config).encode()
        return content

    path = rewritten(programs[0] / "network.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ModelError, match="cannot be read as an exported program"):
        load_exported(path)


def test_compressed_and_repeated_records_are_refused(programs, tmp_path):
    source = programs[0] / "network.pt2"
    packed = rewritten(
        source, tmp_path / "packed.pt2", lambda _, c: c, compression=zipfile.ZIP_DEFLATED
    )
    twice = tmp_path / "twice.pt2"
    twice.write_bytes(source.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    for path in (packed, twice):
        with pytest.raises(ModelError, match=r"no archive that torch\.export\.save wrote"):
            load_exported(path)


def test_a_model_in_training_mode(tmp_path):
    path = tmp_path / "training.pt2"
    torch.export.save(torch.export.export(nn.Dropout(0.5).train(), (randn(2, 3),)), path)
    with pytest.raises(ModelError, match="was exported in training mode; call eval"):
        load_exported(path)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning")
def test_a_model_that_changes_its_state(tmp_path):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("seen", torch.zeros(3))

        def forward(self, x):
            self.calls += 1
            self.seen.copy_(x[0])  # read by nothing
            return x + self.calls

    path = saved(tmp_path / "counting.pt2", Counting(), (randn(2, 3),))
    loaded, x = load_exported(path), randn(2, 3)
    assert torch.equal(loaded(x), x + 1)
    assert torch.equal(loaded(x), x + 2)
    assert torch.equal(loaded.seen, x[0])
    functional = torch.export.load(path).run_decompositions({})
    torch.export.save(functional, tmp_path / "functional.pt2")
    with pytest.raises(ModelError, match="changes its own state"):
        load_exported(tmp_path / "functional.pt2")


def test_another_version_of_the_format(programs, tmp_path):
    def change(program):
        program["schema_version"]["major"] = 9

    path = with_program(programs[0] / "network.pt2", tmp_path / "new.pt2", change)
    with pytest.raises(ModelError, match="whose format is another one; export it again"):
        load_exported(path)


@pytest.mark.parametrize("cut", [0, 10, 1000, -200])
def test_torn_files(cut, programs, tmp_path):
    path = tmp_path / "torn.pt2"
    path.write_bytes((programs[0] / "network.pt2").read_bytes()[:cut])
    with pytest.raises(ModelError, match=r"torn\.pt2: (cannot be read|lacks its record)"):
        load_exported(path)


@pytest.mark.parametrize("record", ["models/model.json", "data/weights/weight_0", "byteorder",
                                    "data/weights/model_weights_config.json"])  # fmt: skip
def test_missing_records(record, programs, tmp_path):
    path = rewritten(
        programs[0] / "network.pt2",
        tmp_path / "less.pt2",
        lambda name, content: None if name == record else content,
    )
    with pytest.raises(ModelError, match=r"less\.pt2: (lacks its record|holds 0 programs)"):
        load_exported(path)


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 200))]
)
def test_damaged_programs_give_one_line(seed, programs, tmp_path):
    """Values of the program are replaced at random: it loads, or there is one clear line."""
    generator = torch.Generator().manual_seed(seed)

    def pick(number):
        return int(torch.randint(number, (), generator=generator))

    def damage(program):
        value = program["graph_module"]
        while True:
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            key = keys[pick(len(keys))]
            if not isinstance(value[key], (dict, list)) or not value[key] or pick(6) == 0:
                value[key] = [None, -1, "x", [], {}, 1e9, True, {"as_int": 3}][pick(8)]
                return
            value = value[key]

    path = with_program(programs[0] / "network.pt2", tmp_path / "damaged.pt2", damage)
    problem = ""
    try:
        loaded = load_exported(path)
    except ModelError as error:
        problem = str(error)
    if problem:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    else:  # well-formed, though perhaps wrong
        with contextlib.suppress(*WRONG):
            loaded(randn(4, 3, 8, 8))


def test_files_are_left_as_they_are(programs):
    path = programs[0] / "network.pt2"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    load_exported(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
