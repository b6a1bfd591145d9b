"""Exported programs as modules with layers, under the names they had before they were exported."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minaction.errors import ModelError
from minaction.models.exported_archive import (
    InputTensor,
    Program,
    Ref,
    Step,
    damage,
    read_program,
    refs_in,
)
from minaction.models.exported_layers import Layer, find_layers
from minaction.models.exported_operators import function_of, name_of


def load_exported(path: Path) -> nn.Module:
    """Load an exported program (`torch.export.save`, .pt2) as a module, in evaluation mode.

    Linear layers, convolutions and batch norms become modules again; everything else is called as
    a function. Nothing in the file is unpickled or run. Several outputs come as a flat tuple.

    Raises:
        ModelError: The file is no exported program, or one that cannot be read safely.
    """
    program = read_program(path)
    try:
        return ExportedModel(program).eval()
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(damage(path, error)) from error


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A call of one submodule: the names of what it reads and writes."""

    module: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    last_reads: tuple[str, ...] = ()


class ExportedModel(nn.Module):
    """Runs an exported program. Takes its input tensors in order or by name.

    Args:
        program: What it does.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._inputs = program.inputs
        self._given = dict(program.given)
        self._bound = dict(program.bound)
        self._outputs = program.outputs
        layers = find_layers(program)
        calls = list(_calls(self, program, layers))
        self._calls = tuple(_with_last_reads(calls, self._outputs))
        for name, tensor in program.tensors.items():
            if not any(layer.holds(name) for layer in layers.values()):
                _place_tensor(self, name, tensor, persistent=name not in program.constants)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program.

        Raises:
            ModelError: The inputs are not those it was exported for.
        """
        values: dict[str, Any] = {**self._given, **self._matched(args, kwargs)}
        for call in self._calls:
            for name in call.reads:
                if name not in values:
                    values[name] = operator.attrgetter(self._bound[name])(self)
            result = operator.attrgetter(call.module)(self)(*(values[name] for name in call.reads))
            for name in call.last_reads:
                del values[name]
            results = (result,) if len(call.writes) == 1 else result
            values.update(zip(call.writes, results, strict=True))
        outputs = [self._output(value, values) for value in self._outputs]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _output(self, value: Any, values: Mapping[str, Any]) -> Any:
        if not isinstance(value, Ref):
            return value
        if value.name in values:
            return values[value.name]
        return operator.attrgetter(self._bound[value.name])(self)

    def _matched(self, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        names = [tensor.name for tensor in self._inputs]
        found = {name: kwargs[name] for name in names if name in kwargs}
        open_names = [name for name in names if name not in found]
        positional = list(_tensors(args))
        unknown = kwargs.keys() - names - self._given.keys()
        if unknown or len(positional) != len(open_names):
            raise ModelError(f"the program takes {self._takes()}")
        found.update(zip(open_names, positional, strict=True))
        for tensor in self._inputs:
            if not _fits(found[tensor.name], tensor):
                raise ModelError(
                    f"the program takes {self._takes()}, got {_described(found[tensor.name])}; "
                    "sizes are fixed unless it is exported with dynamic_shapes"
                )
        return found

    def _takes(self) -> str:
        return "; ".join(map(str, self._inputs)) or "no tensors"


class Functions(nn.Module):
    """Calls the functions that one module of the original model called.

    Args:
        steps: The calls, with names of their own.
        reads: Names of what it is given, in order.
        writes: Names of what it returns.
    """

    def __init__(
        self, steps: tuple[Step, ...], reads: tuple[str, ...], writes: tuple[str, ...]
    ) -> None:
        super().__init__()
        self._steps, self._reads, self._writes = steps, reads, writes

    def forward(self, *given: Any) -> Any:
        """Return the one value computed, or a tuple of them."""
        values = dict(zip(self._reads, given, strict=True))
        for step in self._steps:
            function = function_of(step.target)
            if function is None:
                continue
            args = [_resolved(argument, values) for argument in step.args]
            kwargs = {name: _resolved(argument, values) for name, argument in step.kwargs}
            _assign(step.outputs, function(*args, **kwargs), values)
        results = tuple(values[name] for name in self._writes)
        return results[0] if len(results) == 1 else results

    def does_the_same(self, other: object) -> bool:
        """Return whether another module makes the same calls."""
        return isinstance(other, Functions) and (
            (self._steps, self._reads, self._writes) == (other._steps, other._reads, other._writes)
        )

    def extra_repr(self) -> str:
        """Return the names of the functions."""
        return ", ".join(name_of(step.target) for step in self._steps)


def _calls(model: nn.Module, program: Program, layers: Mapping[str, Layer]) -> Iterator[_Call]:
    by_step = {step: name for name, layer in layers.items() for step in layer.steps}
    wanted = _last_readers(program)
    inner = _inner_modules(program)
    index = 0
    while index < len(program.steps):
        step, start = program.steps[index], index
        index += 1
        if step in by_step:
            layer = layers[by_step[step]]
            if step is layer.steps[0]:
                _place(model, layer.name, layer.build(program))
            yield _Call(module=layer.name, reads=(step.args[0].name,), writes=(step.outputs,))
            continue
        while step.path not in inner and index < len(program.steps):
            following = program.steps[index]
            if following.entry != step.entry or following in by_step:
                break
            index += 1
        run = program.steps[start:index]
        written = [name for s in run for name in _names(s.outputs)]
        reads = dict.fromkeys(ref.name for s in run for ref in refs_in((s.args, s.kwargs)))
        reads = tuple(name for name in reads if name not in written)
        writes = tuple(name for name in written if wanted.get(name, -1) >= index)
        if writes or any(name_of(s.target).endswith("_") for s in run):  # or changed in place
            functions = _renamed(run, reads, writes)
            path = step.path if step.path not in inner else _joined(step.path, name_of(step.target))
            yield _Call(module=_place_functions(model, path, functions), reads=reads, writes=writes)


def _inner_modules(program: Program) -> frozenset[str]:
    """Return the modules of the original model that hold others."""
    inner = {""}
    for path in {s.path for s in program.steps} | {t.rpartition(".")[0] for t in program.tensors}:
        parts = path.split(".")
        inner.update(".".join(parts[:depth]) for depth in range(len(parts)))
    return frozenset(inner)


def _last_readers(program: Program) -> dict[str, int]:
    """Return for every value the index of the last step that reads it."""
    last = {
        ref.name: index
        for index, step in enumerate(program.steps)
        for ref in refs_in((step.args, step.kwargs))
    }
    return last | {ref.name: len(program.steps) for ref in refs_in(program.outputs)}


def _with_last_reads(calls: list[_Call], outputs: tuple[Any, ...]) -> Iterator[_Call]:
    """Note which values a call is the last to read: they can go."""
    needed = {ref.name for ref in refs_in(outputs)}
    done: list[_Call] = []
    for call in reversed(calls):
        unread = dict.fromkeys(name for name in call.reads if name not in needed)
        needed.update(unread)
        done.append(
            _Call(
                module=call.module, reads=call.reads, writes=call.writes, last_reads=tuple(unread)
            )
        )
    return reversed(done)


def _renamed(run: Iterable[Step], reads: tuple[str, ...], writes: tuple[str, ...]) -> Functions:
    """Give the names of a run a numbering of its own, so that equal runs are equal."""
    numbers: dict[str, str] = {name: str(number) for number, name in enumerate(reads)}

    def rename(value: Any) -> Any:
        if isinstance(value, Ref):
            return Ref(numbers[value.name])
        return tuple(map(rename, value)) if isinstance(value, tuple) else value

    def name_outputs(outputs: Any) -> Any:
        if isinstance(outputs, str):
            return numbers.setdefault(outputs, str(len(numbers)))
        return tuple(map(name_outputs, outputs)) if isinstance(outputs, tuple) else outputs

    steps = [
        Step(
            target=step.target,
            args=rename(step.args),
            kwargs=rename(step.kwargs),
            outputs=name_outputs(step.outputs),
            path="",
            entry="",
        )
        for step in run
    ]
    own_reads, own_writes = (tuple(numbers[name] for name in names) for names in (reads, writes))
    return Functions(tuple(steps), own_reads, own_writes)


def _place_functions(model: nn.Module, path: str, functions: Functions) -> str:
    """Register a run under `path`, or find the equal one there; return its name."""
    parent, _, name = path.rpartition(".")
    holder = _holder(model, parent)
    while hasattr(holder, name):
        if functions.does_the_same(getattr(holder, name)):
            return _joined(parent, name)
        name += "_"
    holder.add_module(name, functions)
    return _joined(parent, name)


def _place(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    _holder(model, parent).add_module(name, module)


def _place_tensor(model: nn.Module, path: str, tensor: Tensor, *, persistent: bool) -> None:
    parent, _, name = path.rpartition(".")
    holder = _holder(model, parent)
    if isinstance(tensor, nn.Parameter):
        holder.register_parameter(name, tensor)
    else:
        holder.register_buffer(name, tensor, persistent=persistent)


def _holder(model: nn.Module, path: str) -> nn.Module:
    for name in path.split(".") if path else ():
        if name not in model._modules:
            model.add_module(name, nn.Module())
        model = model.get_submodule(name)
    return model


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _names(outputs: Any) -> Iterator[str]:
    if isinstance(outputs, str):
        yield outputs
    elif isinstance(outputs, tuple):
        for part in outputs:
            yield from _names(part)


def _resolved(argument: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(argument, Ref):
        return values[argument.name]
    if isinstance(argument, tuple):
        return [_resolved(part, values) for part in argument]
    return argument


def _assign(names: Any, result: Any, values: dict[str, Any]) -> None:
    if isinstance(names, str):
        values[names] = result
    elif isinstance(names, tuple):
        for name, part in zip(names, result, strict=True):
            _assign(name, part, values)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def _fits(value: Any, tensor: InputTensor) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype == tensor.dtype
        and value.ndim == len(tensor.sizes)
        and all(want in (None, size) for want, size in zip(tensor.sizes, value.shape, strict=True))
    )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__
