"""Taking units out of a network: their means go into the biases, then their channels go.

The first step changes only weights and is plainly right. The second one changes shapes and relies
on the dependency graph having understood the network; so its result must compute the same as that
of the first, or it is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from minaction.compaction.batches import Batches, difference, first_line, run
from minaction.compaction.copying import copy_of
from minaction.compaction.coupling import Coupling, remove_units
from minaction.compaction.readings import Reading
from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.errors import CompactionError

ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative difference up to which two ways to compute the same agree; 1e-2 for other types."""


def without(
    model: nn.Module,
    batches: Batches,
    units: Sequence[tuple[Coupling, Sequence[int]]],
    readings: Mapping[str, Reading],
) -> nn.Module:
    """Return a copy of `model` without some units.

    Args:
        model: The network, in evaluation mode; not changed.
        batches: The calibration set; its first batch serves as check.
        units: Units by coupling.
        readings: What the layers read on the calibration set.

    Raises:
        CompactionError: The smaller network cannot be made or computes something else.
    """
    folded = copy_of(model)
    modules = dict(folded.named_modules())
    for coupling, indices in units:
        for name, where in coupling.readers.items():
            _fold(modules[name], where.of(indices), readings[name])
    with torch.no_grad():
        reference = run(folded, batches.first, batches.name)
    try:
        remove_units(folded, batches.first, {c.layer: indices for c, indices in units})
        with torch.no_grad():
            output = run_model(folded, batches.first)
    except Exception as error:
        raise CompactionError(f"the model does not run without them: {first_line(error)}") from None
    _require_same(reference, output)
    return folded


def _fold(module: nn.Module, channels: list[int], reading: Reading) -> None:
    """Let a layer take what it reads on some channels as constants: into its bias."""
    weight: Any = module.weight
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    with torch.no_grad():
        columns = weight[channels] if transposed else weight[:, channels]
        constants = reading.constant[channels].to(weight.device)
        if not transposed and bool(constants.any()):
            kernel_sums = (
                columns.double().flatten(2).sum(2) if weight.ndim > 2 else columns.double()
            )
            shift = kernel_sums @ constants
            bias: Any = module.bias
            if bias is None:
                bias = module.bias = nn.Parameter(torch.zeros_like(shift, dtype=weight.dtype))
            bias.copy_(bias.double() + shift)
        columns.zero_()
        if transposed:
            weight[channels] = columns
        else:
            weight[:, channels] = columns


def _require_same(reference: Any, output: Any) -> None:
    found, size = difference(reference, output)
    dtypes = [t.dtype for t in tensors_in([reference]) if t.is_floating_point()]
    allowed = max((ROUNDING.get(dtype, 1e-2) for dtype in dtypes), default=0.0)
    if not found <= allowed * size:
        raise CompactionError(
            f"without the channels the output differs by {found / max(size, 1e-30):.2g} of its "
            "size: they are mixed in a way that cannot be followed"
        )
