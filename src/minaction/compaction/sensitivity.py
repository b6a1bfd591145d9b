"""How much the outputs of a network depend on each unit, to first order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minaction.compaction.batches import Batches, first_line, samples_in
from minaction.compaction.coupling import Coupling
from minaction.compaction.readings import Reading, channel_axis
from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.errors import CompactionError


def output_changes(
    model: nn.Module,
    couplings: Sequence[Coupling],
    readings: Mapping[str, Reading],
    batches: Batches,
) -> dict[str, Tensor]:
    """Return by how much the outputs change if a unit becomes a constant.

    For activations `a` of a unit, the constant `c` that replaces it and outputs `y`, each divided
    by its root mean square, it is the mean over samples of `|dy/da (a - c)|^2`, with `(a - c)`
    taken at all places where the unit is read. One random projection of `y` per sample has that
    norm as its expectation, so one gradient per batch is enough (Hutchinson's estimator).

    Args:
        model: A copy of its own, in evaluation mode; gradients get switched on for its parameters.
        couplings: Units and where they are read.
        readings: What the layers read on the calibration set.
        batches: The calibration set; the first axis of a batch is that of its samples.

    Returns:
        For the layer of each coupling a tensor `[units]`, float64; infinite where a layer reads the
        unit in a way no gradient tells of.

    Raises:
        CompactionError: The outputs have no gradient.

    Reference: Molchanov et al. 2019, arXiv:1906.10771 (the same expansion, of the loss).
    """
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    readers = list(dict.fromkeys(name for coupling in couplings for name in coupling.readers))
    totals = {coupling.layer: torch.zeros(coupling.units).double() for coupling in couplings}
    generator, samples = torch.Generator().manual_seed(0), 0
    for batch in batches:
        rows = samples_in(batch)
        changes = _first_order(model, readers, readings, batch, generator)
        for coupling in couplings:
            totals[coupling.layer] += _squared(coupling, changes, rows)
        samples += rows
    return {layer: total / samples for layer, total in totals.items()}


def _first_order(
    model: nn.Module,
    readers: Iterable[str],
    readings: Mapping[str, Reading],
    batch: Any,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return the change of a projection of the outputs with each channel read, `[rows, channels]`.

    Readers whose input has no part in the outputs are left out.
    """
    read: list[tuple[str, Tensor]] = []
    modules = dict(model.named_modules())

    def listen(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            value = args[0] if args else kwargs["input"]
            if value.requires_grad:
                read.append((name, value))

        return modules[name].register_forward_pre_hook(hook, with_kwargs=True)

    handles = [listen(name) for name in readers]
    try:
        # cuDNN's recurrent kernels have no gradient in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            projected = _projection(run_model(model, batch), generator)
            if not read:
                return {}
            values = [value for _, value in read]
            gradients = torch.autograd.grad(projected, values, allow_unused=True)
    except Exception as error:
        raise CompactionError(
            f"no gradient tells which units the output depends on: {first_line(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    rows = samples_in(batch)
    changes: dict[str, Tensor] = {}
    for (name, value), gradient in zip(read, gradients, strict=True):
        if gradient is None:
            continue
        axis = channel_axis(modules[name], value)
        away = value.detach().movedim(axis, -1) - readings[name].constant.to(value)
        change = (gradient.movedim(axis, -1) * away).double()
        change = change.flatten(1, -2).sum(1) if change.ndim > 2 else change
        if len(change) % rows == 0:  # steps of one sample may lie on the first axis too
            change = change.unflatten(0, (rows, -1)).sum(1)
        earlier = changes.get(name)
        changes[name] = change if earlier is None else earlier + change
    return changes


def _projection(output: Any, generator: torch.Generator) -> Tensor:
    """Return the sum of all outputs, each divided by its root mean square, times noise."""
    terms = []
    for tensor in tensors_in([output]):
        if tensor.requires_grad:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor)
            size = tensor.detach().square().mean().sqrt().clamp_min(1e-30)
            terms.append((noise * tensor / size).sum())
    if not terms:
        raise CompactionError("the outputs have no gradient")
    return torch.stack(terms).sum()


def _squared(coupling: Coupling, changes: Mapping[str, Tensor], rows: int) -> Tensor:
    """Return the sum over samples of the squared change with each unit, `[units]`."""
    total = torch.zeros(rows, coupling.units).double()
    for name, where in coupling.readers.items():
        change = changes.get(name)
        if change is None or len(change) != rows:
            return torch.full((coupling.units,), torch.inf).double()
        total.index_add_(1, where.units, change.cpu()[:, where.channels])
    return total.square().sum(0)
