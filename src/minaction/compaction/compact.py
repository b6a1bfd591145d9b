"""Compaction: a network without the units that do nothing, and what that saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from minaction.compaction.batches import Batches, difference, run
from minaction.compaction.copying import copy_of
from minaction.compaction.cost import cost_of
from minaction.compaction.coupling import WEIGHTED
from minaction.compaction.onnx import export
from minaction.compaction.shrink import KeptUnit, RemovedUnit, Shrinking
from minaction.compaction.table import compaction_table
from minaction.energy.tape import is_compiled
from minaction.errors import CompactionError, InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Compaction:
    """A smaller network, and what was taken out of it.

    Attributes:
        model: The smaller network, in evaluation mode.
        removed: Every unit taken out.
        kept: Units that were constant and had to stay, with the reason.
        not_covered: Layers no unit could be taken from, with the reason.
        units: For each linear layer and convolution its units before and after.
        macs_before: Multiply-accumulates per sample, before.
        macs_after: The same, after.
        macs_not_counted: Operations that ran and are not among the MACs.
        parameters_before: Parameters before.
        parameters_after: Parameters after.
        bytes_before: Size of the weights as a safetensors file, before.
        bytes_after: The same, after.
        max_output_difference: Largest difference between the outputs of the two networks on the
            calibration set, relative to the largest output.
        max_output_difference_held_out: The same on the held-out set, None if there is none.
        example: One batch of the calibration set.
    """

    model: nn.Module
    removed: tuple[RemovedUnit, ...]
    kept: tuple[KeptUnit, ...]
    not_covered: Mapping[str, str]
    units: Mapping[str, tuple[int, int]]
    macs_before: float
    macs_after: float
    macs_not_counted: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    max_output_difference: float
    max_output_difference_held_out: float | None
    example: Any

    @property
    def exact(self) -> tuple[RemovedUnit, ...]:
        """The units whose removal changes nothing on the calibration set."""
        return tuple(unit for unit in self.removed if unit.exact)

    @property
    def approximate(self) -> tuple[RemovedUnit, ...]:
        """The units whose removal is an approximation."""
        return tuple(unit for unit in self.removed if not unit.exact)

    def to_onnx(self, path: str | Path) -> Path:
        """Write the smaller network as an ONNX file, checked in onnxruntime; return the path.

        Raises:
            InputError: onnx, onnxruntime or onnxscript is not installed.
            CompactionError: It cannot be exported, or computes something else in onnxruntime.
            StorageError: The disk refuses the file.
        """
        return export(self.model, self.example, path)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the network and the example as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {name: [asdict(unit) for unit in values[name]] for name in ("removed", "kept")}
        values |= {"units": {name: list(counts) for name, counts in self.units.items()}}
        values |= {"macs_not_counted": list(self.macs_not_counted)}
        return {key: value for key, value in values.items() if key not in ("model", "example")}

    def __str__(self) -> str:
        return compaction_table(self.to_dict())


def compact(
    model: nn.Module,
    calibration: Any,
    *,
    held_out: Any = None,
    tolerance: float = 0.0,
    macs: float | None = None,
    batch_size: int = 256,
) -> Compaction:
    """Take the units out of a copy of `model` that do nothing on a calibration set.

    A unit (a channel or feature) goes if it is 0, or constant, wherever a linear layer or
    convolution reads it, or if all weights that read it are 0: the network then computes the same
    as before. Its constant goes into the biases of the layers that read it. Where that is not
    exact, because a convolution reads it through padding with zeros, the unit stays and is listed
    in `kept`. What must be removed together (residual sums, concatenation, batch norms, depthwise
    convolutions) is found by torch-pruning's dependency graph, and every removal is checked: a
    layer that cannot be followed is left as it is and listed in `not_covered`.

    With a `tolerance`, units go as well whose effect on each layer that reads them is below that
    fraction of the largest such effect of a unit of their layer. The effect is the root mean
    square of the activation minus the mean that replaces it, times the norm of the weights that
    read it. With a share of `macs`, further units go until no more than that is left: those first
    whose removal changes the outputs least, to first order, for each MAC it saves, over all layers.
    Such removals change the network and are listed apart (`approximate`).

    At least one unit of a layer stays. Attention and recurrent layers are not taken apart, but the
    feed-forward layers of a transformer are.

    Args:
        model: Any module in evaluation mode; not changed.
        calibration: Inputs: a tensor `[samples, ...]`, a tuple of positional or a mapping of
            keyword arguments, or an iterable of such batches, which is gone through several times.
        held_out: Other inputs, on which the outputs are compared too.
        tolerance: See above; 0 removes only what does nothing.
        macs: The share of the MACs of `model` to be left at most, e.g. 0.25; default: any.
        batch_size: Samples per batch where the inputs are not batches already.

    Returns:
        The smaller network, what was removed and what it costs.

    Raises:
        CompactionError: The model is in training mode, has NaN weights, cannot be copied, traced
            or run on the calibration set; or has collapsed: it gives the same output for all of it;
            or cannot be brought to so few MACs.
        InputError: `tolerance`, `macs` or `batch_size` is out of range.

    Example:
        >>> compaction = compact(model.eval(), x, held_out=x_validation)
        >>> compaction.macs_after / compaction.macs_before
    """
    _check_arguments(tolerance, macs, batch_size)
    _check_model(model)
    batches = Batches(calibration, batch_size, "the calibration set")
    others = None if held_out is None else Batches(held_out, batch_size, "the held-out set")
    original = copy_of(model)
    with torch.no_grad():
        run(original, batches.first, batches.name)
    shrinking = _shrunk(original, batches, tolerance, macs)
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in shrinking.model.named_parameters():
        parameter.requires_grad_(trained.get(name, True))
    return _compaction(original, shrinking, batches, others)


def _shrunk(
    original: nn.Module, batches: Batches, tolerance: float, macs: float | None
) -> Shrinking:
    shrinking = Shrinking(model=original, batches=batches)
    shrinking.exactly()
    if tolerance:
        shrinking.below(tolerance)
        shrinking.exactly()
    if macs is not None:
        shrinking.down_to(macs * cost_of(original, batches.first).macs)
        shrinking.exactly()
    return shrinking


def _compaction(
    original: nn.Module, shrinking: Shrinking, batches: Batches, others: Batches | None
) -> Compaction:
    """Return what was removed, and what the network costs and computes before and after."""
    smaller = shrinking.model
    before, after = (cost_of(network, batches.first) for network in (original, smaller))
    return Compaction(
        model=smaller,
        removed=tuple(shrinking.removed),
        kept=tuple(shrinking.kept),
        not_covered=dict(shrinking.not_covered),
        units=_units(original, smaller),
        macs_before=before.macs,
        macs_after=after.macs,
        macs_not_counted=before.not_counted,
        parameters_before=before.parameters,
        parameters_after=after.parameters,
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        max_output_difference=_largest_difference(original, smaller, batches),
        max_output_difference_held_out=(
            None if others is None else _largest_difference(original, smaller, others)
        ),
        example=batches.first,
    )


def _check_arguments(tolerance: float, macs: float | None, batch_size: int) -> None:
    if isinstance(tolerance, bool) or not 0 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance!r}; expected a number from 0 to below 1")
    if macs is not None and (isinstance(macs, bool) or not 0 < macs <= 1):
        raise InputError(f"macs is {macs!r}; expected a share above 0 and up to 1")
    if isinstance(batch_size, bool) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}; expected 1 or more")


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise CompactionError(f"model is a {type(model).__name__}; give an nn.Module")
    if isinstance(model, torch.fx.GraphModule) and hasattr(model, "_guards_fn"):
        raise CompactionError(
            "the model is an exported program, whose layers have become functions; load its file "
            "with minaction.models.external.load_model"
        )
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise CompactionError(
                f"{name or 'the model'} is TorchScript, which cannot be made smaller; give the "
                "original module"
            )
        if module.training:
            raise CompactionError(
                f"{name or 'the model'} is in training mode, where it may compute something else "
                "than in use; call model.eval() first"
            )
    if is_compiled(model):
        raise CompactionError("the model is compiled; give the original module")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise CompactionError(f"{name} is not initialised yet; run the model once first")
        if tensor.is_meta:
            raise CompactionError(
                f"{name} is on the meta device, without values; load weights first"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CompactionError(
                f"{name} has NaN or infinite elements; train or load the model first"
            )


def _units(before: nn.Module, after: nn.Module) -> dict[str, tuple[int, int]]:
    def outputs(model: nn.Module) -> dict[str, int]:
        return {
            name: module.out_features if isinstance(module, nn.Linear) else module.out_channels
            for name, module in model.named_modules()
            if isinstance(module, WEIGHTED)
        }

    smaller = outputs(after)
    return {name: (count, smaller[name]) for name, count in outputs(before).items()}


def _largest_difference(model: nn.Module, smaller: nn.Module, batches: Batches) -> float:
    worst = size = 0.0
    for one, other in zip(batches.run(model), batches.run(smaller), strict=True):
        found = difference(one, other)
        worst, size = max(worst, found[0]), max(size, found[1])
    return worst / size if size else worst
