"""Which calls of an exported program are layers: modules again, with their own parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from minaction.models.exported_archive import Program, Ref, Step, refs_in
from minaction.models.exported_operators import name_of

_CONVOLUTIONS: Mapping[str, Callable[..., nn.Module]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
}
_BATCH_NORMS: Mapping[int, Callable[..., nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_TENSORS: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight", "bias"),
    **dict.fromkeys(_CONVOLUTIONS, ("weight", "bias")),
    "batch_norm": ("weight", "bias", "running_mean", "running_var"),
}
"""Names of the tensors that follow the input in a call."""
_COUNTER = "num_batches_tracked"
"""A batch norm's state that it does not read in evaluation mode."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer and the calls of it, which differ in nothing but their input.

    Attributes:
        name: Its name in the original model.
        steps: Its calls.
    """

    name: str
    steps: tuple[Step, ...]

    def build(self, program: Program) -> nn.Module:
        """Return the layer as a module that holds the program's tensors."""
        step = self.steps[0]
        kind = name_of(step.target)
        _, *tensors = _arguments(step)[: 1 + len(_TENSORS[kind])]
        held: dict[str, Tensor | None] = {
            name: program.tensors[program.bound[ref.name]]
            for name, ref in zip(_TENSORS[kind], tensors, strict=True)
            if ref is not None
        }
        options = _arguments(step)[1 + len(tensors) :]
        if kind == "linear":
            module = _linear(held)
        elif kind == "batch_norm":
            module = _batch_norm(held, options, program.axes[step.args[0].name])
        else:
            module = _convolution(kind, held, options)
        if kind == "batch_norm":
            held[_COUNTER] = program.tensors.get(f"{self.name}.{_COUNTER}")
        for name, tensor in held.items():
            setattr(module, name, tensor)
        return module

    def holds(self, tensor: str) -> bool:
        """Return whether a tensor of the program, by its name, is part of the layer."""
        own = (*_TENSORS[name_of(self.steps[0].target)], _COUNTER)
        return any(tensor == f"{self.name}.{name}" for name in own)


def find_layers(program: Program) -> dict[str, Layer]:
    """Return the layers of a program by name."""
    readers: dict[str, list[Step]] = {}
    calls: dict[str, list[Step]] = {}
    for step in program.steps:
        for ref in refs_in((step.args, step.kwargs)):
            if ref.name in program.bound:
                readers.setdefault(program.bound[ref.name], []).append(step)
        name = _layer_name(step, program)
        if name is not None:
            calls.setdefault(name, []).append(step)
    found: dict[str, Layer] = {}
    for name, steps in calls.items():
        layer = Layer(name=name, steps=tuple(steps))
        read_by = [step for tensor, by in readers.items() if layer.holds(tensor) for step in by]
        if all(s in steps and _arguments(s)[1:] == _arguments(steps[0])[1:] for s in read_by):
            found[name] = layer
    return found


def _layer_name(step: Step, program: Program) -> str | None:
    """Return the common prefix of a call's tensors if they are those of one layer."""
    kind = name_of(step.target)
    if kind not in _TENSORS or step.kwargs or not isinstance(_arguments(step)[0], Ref):
        return None
    names = set()
    for wanted, ref in zip(_TENSORS[kind], _arguments(step)[1:], strict=False):
        if ref is None and wanted != "running_mean":
            continue
        prefix, _, own = program.bound.get(ref.name, "").rpartition(".") if ref else ("", "", "")
        if not prefix or own != wanted:
            return None
        names.add(prefix)
    return names.pop() if len(names) == 1 else None


def _arguments(step: Step) -> tuple[Any, ...]:
    """Positional arguments, all tensors spelled out."""
    missing = 1 + len(_TENSORS[name_of(step.target)]) - len(step.args)
    return step.args + (None,) * missing


def _linear(held: Mapping[str, Any]) -> nn.Module:
    rows, columns = held["weight"].shape
    return nn.Linear(columns, rows, bias="bias" in held, device="meta")


def _convolution(kind: str, held: Mapping[str, Any], options: tuple[Any, ...]) -> nn.Module:
    given = dict(zip(("stride", "padding", "dilation", "groups"), options, strict=False))
    rows, columns, *kernel = held["weight"].shape
    return _CONVOLUTIONS[kind](
        columns * given.get("groups", 1), rows, tuple(kernel), **given, bias="bias" in held,
        device="meta",
    )  # fmt: skip


def _batch_norm(held: Mapping[str, Any], options: tuple[Any, ...], axes: int) -> nn.Module:
    _, momentum, eps = options[:3]
    features = len(held["running_mean"])
    return _BATCH_NORMS[axes](features, eps, momentum, affine="weight" in held, device="meta")
