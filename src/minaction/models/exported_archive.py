"""Reads exported programs (`torch.export.save`, .pt2) without running anything in them.

`torch.export.load` unpickles sample inputs and objects, has sympy evaluate expressions, and
resolves any name in torch; the module it gives evaluates guards as Python. So loading a file is
running it. Of an archive only the graph, as JSON, and the raw bytes of weights and constants are
read here.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minaction.errors import ModelError
from minaction.models.exported_operators import TAKE_TEXT, function_of, name_of

SCHEMA = 8
"""Major version of the schema of programs that is read."""

_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 10: torch.complex64,
    11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}


@dataclass(frozen=True)
class Ref:
    """What an earlier step, or an input, has computed."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of a function.

    Attributes:
        target: The function, as the program names it.
        args: Positional arguments; a `Ref` stands for a value.
        kwargs: Keyword arguments.
        outputs: Name of the result, names of its parts, or None.
        path: Module of the original model that made the call.
        entry: Which entry into that module it was.
    """

    target: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    outputs: Any
    path: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class InputTensor:
    """A tensor the program takes: name, dtype and sizes; None where any size will do."""

    name: str
    dtype: torch.dtype
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.sizes)
        return f"{self.name}: {str(self.dtype).removeprefix('torch.')} [{sizes}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """An exported program.

    Attributes:
        inputs: The tensors it takes, in order.
        given: Other inputs, which were fixed when it was exported.
        steps: Its calls in order.
        outputs: What it returns.
        tensors: Parameters, buffers and constants by their names in the original model.
        constants: Names of those that are no part of its state.
        bound: Which of them each name in the steps stands for.
        axes: Number of axes of each tensor in the steps.
    """

    inputs: tuple[InputTensor, ...]
    given: Mapping[str, Any]
    steps: tuple[Step, ...]
    outputs: tuple[Any, ...]
    tensors: Mapping[str, Tensor]
    constants: frozenset[str]
    bound: Mapping[str, str]
    axes: Mapping[str, int]


def read_program(path: Path) -> Program:
    """Read an exported program.

    Raises:
        ModelError: The file is none, is damaged, holds pickled objects, or is of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(_Records(archive))
    except ModelError as error:
        raise ModelError(_one_line(f"{path}: {error}")) from None
    except (OSError, RecursionError, RuntimeError, zipfile.BadZipFile) as error:
        problem = f"{path}: cannot be read as an exported program ({error})"
        raise ModelError(_one_line(problem)) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(damage(path, error)) from error


def damage(path: Path, error: Exception) -> str:
    """Say in one line that a program makes no sense."""
    return _one_line(f"{path}: is a damaged exported program ({type(error).__name__}: {error})")


def _one_line(text: str) -> str:
    return " ".join(text.split())  # names in a program may be anything


def refs_in(value: Any) -> Iterator[Ref]:
    """Yield the references in nested tuples."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from refs_in(part)


class _Records:
    """The records of an archive, all in one folder, none compressed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if name in self._infos or info.compress_type != zipfile.ZIP_STORED:
                raise ModelError("is no archive that torch.export.save wrote")
            self._infos[name] = info

    def names(self, folder: str) -> list[str]:
        return [name for name in self._infos if name.startswith(folder)]

    def read(self, name: str) -> bytes:
        if name not in self._infos:
            raise ModelError(f"lacks its record {name!r}")
        return self._archive.read(self._infos[name])

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))


def _read(records: _Records) -> Program:
    if records.read("archive_format") != b"pt2" or records.read("byteorder") != b"little":
        raise ModelError("is no exported program")
    models = records.names("models/")
    if len(models) != 1:
        raise ModelError(f"holds {len(models)} programs, expected one")
    program = records.json(models[0])
    if program["schema_version"]["major"] != SCHEMA:
        raise ModelError(
            f"was exported by torch {program['torch_version']}, whose format is another one; "
            f"export it again with torch {torch.__version__.partition('+')[0]}"
        )
    name = models[0].removeprefix("models/").removesuffix(".json")
    weights, constants = (_tensors(records, kind, name) for kind in ("weights", "constants"))
    return _program(program["graph_module"], weights | constants, frozenset(constants))


def _tensors(records: _Records, kind: str, model: str) -> dict[str, Tensor]:
    config = records.json(f"data/{kind}/{model}_{kind}_config.json")["config"]
    storages: dict[str, Tensor] = {}
    known: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, meta in config.items():
        record = meta["path_name"]
        if meta["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", record):
            raise ModelError(f"{name!r} is a pickled object, and pickles are never loaded")
        if record not in storages:
            data = bytearray(records.read(f"data/{kind}/{record}"))
            storages[record] = torch.frombuffer(data or bytearray(1), dtype=torch.uint8)
        layout = json.dumps([record, meta["tensor_meta"]], sort_keys=True)
        if layout not in known:  # two names of one parameter stay one
            tensor = _tensor(storages[record], meta["tensor_meta"])
            known[layout] = (
                nn.Parameter(tensor, meta["tensor_meta"]["requires_grad"])
                if meta["is_param"]
                else tensor
            )
        found[name] = known[layout]
    return found


def _tensor(storage: Tensor, meta: Mapping[str, Any]) -> Tensor:
    dtype = _dtype(meta["dtype"])
    sizes = [int(size["as_int"]) for size in meta["sizes"]]
    if 0 in sizes:
        return torch.empty(sizes, dtype=dtype)
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    return storage.view(dtype).as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))


def _program(
    module: Mapping[str, Any], tensors: Mapping[str, Tensor], constants: frozenset[str]
) -> Program:
    graph, signature = module["graph"], module["signature"]
    values = graph["tensor_values"]
    inputs: list[InputTensor] = []
    given: dict[str, Any] = {}
    bound: dict[str, str] = {}
    for spec in signature["input_specs"]:
        ((kind, content),) = spec.items()
        if kind == "user_input":
            inputs.append(_input(content["arg"], values))
        elif kind == "constant_input":
            given[content["name"]] = _value(content["value"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            bound[content["arg"]["name"]] = content[f"{kind}_name"]
        else:
            raise ModelError(f"takes an input of the kind {kind!r}, which is not supported")
    missing = sorted(set(bound.values()) - tensors.keys())
    if missing:
        raise ModelError(f"lacks the values of {', '.join(missing)}")
    for spec in signature["output_specs"]:
        if "user_output" not in spec:
            raise ModelError(
                f"changes its own state ({', '.join(spec)}), which is not supported; export the "
                "model in evaluation mode"
            )
    return Program(
        inputs=tuple(inputs),
        given=given,
        steps=tuple(_step(node) for node in graph["nodes"]),
        outputs=tuple(_value(output) for output in graph["outputs"]),
        tensors=tensors,
        constants=constants,
        bound=bound,
        axes={name: len(meta["sizes"]) for name, meta in values.items()},
    )


def _input(argument: Mapping[str, Any], values: Mapping[str, Any]) -> InputTensor:
    if "as_tensor" not in argument:
        raise ModelError(f"takes an input that is no tensor ({', '.join(argument)})")
    name = argument["as_tensor"]["name"]
    meta = values[name]
    sizes = tuple(size.get("as_int") for size in meta["sizes"])
    return InputTensor(name=name, dtype=_dtype(meta["dtype"]), sizes=sizes)


def _step(node: Mapping[str, Any]) -> Step:
    target = node["target"]
    function_of(target)  # refuses what no program may call
    entry, path = _module(node["metadata"].get("nn_module_stack", ""))
    args, kwargs = [], []
    for given in node["inputs"]:
        name, value = given["name"], _value(given["arg"])
        if name in ("train", "training") and value is True:
            raise ModelError(
                "was exported in training mode; call eval() on the model and export it again"
            )
        if isinstance(value, str) and name_of(target) not in TAKE_TEXT:
            raise ModelError(f"gives text to {target!r}, which exported programs may not do here")
        if given["kind"] == 2:
            kwargs.append((name, value))
        else:
            args.append(value)
    outputs = [_names(output) for output in node["outputs"]]
    return Step(
        target=target,
        args=tuple(args),
        kwargs=tuple(kwargs),
        outputs=outputs[0] if len(outputs) == 1 else tuple(outputs) or None,
        path=path,
        entry=entry,
    )


def _module(stack: str) -> tuple[str, str]:
    """Return entry and path of the last in a stack written as `entry,path,type;entry,path,type`."""
    entry, path, *_ = [*stack.rpartition(";")[2].split(",", 2), "", ""]
    return entry, path if re.fullmatch(r"(\w+(\.\w+)*)?", path) else ""


def _names(output: Mapping[str, Any]) -> Any:
    value = _value(output)
    if isinstance(value, tuple):
        return tuple(part.name if isinstance(part, Ref) else None for part in value)
    return value.name if isinstance(value, Ref) else None


def _value(argument: Mapping[str, Any]) -> Any:
    """Return what an argument stands for: a number, a tuple, a `Ref`, ..."""
    ((kind, content),) = argument.items()
    if kind not in _ARGUMENTS:
        raise ModelError(f"passes an argument of the kind {kind!r}, which is not supported")
    return _ARGUMENTS[kind](content)


def _values(arguments: list[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(_value(argument) for argument in arguments)


def _dtype(code: int) -> torch.dtype:
    if code not in _DTYPES:
        raise ModelError(f"holds numbers of a type (code {code}) that is not supported")
    return _DTYPES[code]


_ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_int": int,
    "as_bool": bool,
    "as_float": float,  # infinities are text
    "as_string": str,
    "as_name": Ref,
    "as_tensor": lambda content: Ref(content["name"]),
    "as_scalar_type": _dtype,
    "as_memory_format": _MEMORY_FORMATS.__getitem__,
    "as_layout": lambda _: torch.strided,
    "as_device": lambda _: torch.device("cpu"),
    "as_ints": tuple,
    "as_bools": tuple,
    "as_floats": lambda content: tuple(float(part) for part in content),
    "as_tensors": lambda content: tuple(Ref(part["name"]) for part in content),
    **dict.fromkeys(["as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"], _value),
    **dict.fromkeys(
        ["as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"], _values
    ),
}
