"""Multiply-accumulates and bytes of any network, forward and in a training step."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from minaction.energy.scale_rules import tensors_in
from minaction.errors import InputError
from minaction.measure.batches import batch_size, batches_of, check_eager, name_of, run_untouched
from minaction.measure.mac_count import LayerMacs, MacCount
from minaction.measure.mac_trace import MacTrace, Operation
from minaction.measure.module_paths import ModulePath


def count_macs(
    model: nn.Module, inputs: Any, *, training: bool = True, batches: int | None = None
) -> MacCount:
    """Count the MACs and bytes of a forward pass and a training step, per sample.

    Works on any module, which is left as it was. The model runs in evaluation mode, where dense and
    effective MACs, accumulates and bytes are counted; then, on the first batch, in training mode
    with gradients, to see which of them a training step needs. Of each product of two factors the
    gradients cost as many MACs again for each factor that needs one and reaches the output: two for
    most layers, one for a layer that reads the samples, or that is frozen.

    Counted are linear layers, convolutions, recurrent kernels, attention and other matrix products
    of any kind. Functions known to have no MACs, embeddings among them, are listed as `cheap`;
    whatever else the model calls is listed as `uncounted`.

    Args:
        model: Any module. On the meta device it needs no memory, and only effective MACs are not
            counted.
        inputs: One batch (a tensor, a tuple of positional or a mapping of keyword arguments), or an
            iterable of batches, read once and not kept. The first axis is the batch axis.
        training: Count the training step too. What activation checkpointing computes again is not
            among its MACs.
        batches: How many batches to read at most; default: all.

    Raises:
        InputError: There are no inputs, they are on another device than the model, the model does
            not run on them (in training mode either), or it moves itself while it runs.
        TapeError: A part of the model is TorchScript.

    Example:
        >>> count = count_macs(model, x)
        >>> print(count)
        >>> count.macs_dense, count.macs_training, count.bytes_moved, count.uncounted

    Reference: Yik et al. 2025, doi:10.1038/s41467-025-56739-4 (NeuroBench: effective MACs and ACs).
    """
    if batches is not None and batches < 1:
        raise InputError(f"batches is {batches}, expected a number from 1")
    check_eager(model)
    path = ModulePath(model)
    trace = MacTrace(model, lambda: path.current)
    step: _TrainingStep | None = None
    samples = seen = 0
    for batch in itertools.islice(batches_of(inputs), batches):
        samples, seen = samples + batch_size(batch), seen + 1
        trace.start(batch)
        trace.finish(run_untouched(model, batch, [path, trace]))
        if training and step is None:
            step = _TrainingStep(model, batch)
    if not seen:
        raise InputError("inputs holds no batch; give at least one")
    return _counted(model, trace, step, samples, seen)


class _TrainingStep:
    """What one training step on one batch costs."""

    def __init__(self, model: nn.Module, batch: Any) -> None:
        path = ModulePath(model)
        trace = MacTrace(model, lambda: path.current, zeros=False)
        trace.start(batch)
        output = run_untouched(model, batch, [path, trace], training=True)
        trace.finish(output)
        reached = _reached(tensors_in([output]))
        self.samples = batch_size(batch)
        self.forward = sum(operation.macs_dense for operation in trace.operations.values())
        self.backward: Counter[tuple[str, str]] = Counter()
        self.bytes = trace.traffic.total
        self.uncounted = trace.not_counted + _unseen_gradients(reached)
        for gradients in trace.backward:
            if any(id(node) in reached for node in gradients.nodes):
                self.backward[gradients.place] += gradients.macs
                self.bytes += gradients.bytes


def _reached(outputs: Iterable[Tensor]) -> dict[int, Any]:
    """Return the nodes of the autograd graph that the gradients of the outputs reach."""
    reached: dict[int, Any] = {}
    waiting = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if id(node) not in reached:
            reached[id(node)] = node  # kept, so that its id stays its own
            waiting += [following for following, _ in node.next_functions if following is not None]
    return reached


def _unseen_gradients(reached: dict[int, Any]) -> Counter[str]:
    """Custom autograd functions, whose backward passes cannot be seen."""
    return Counter(
        f"backward of {type(node).__name__.removesuffix('Backward')} (custom autograd function)"
        for node in reached.values()
        if isinstance(node, BackwardCFunction)
    )


def _counted(
    model: nn.Module, trace: MacTrace, step: _TrainingStep | None, samples: int, seen: int
) -> MacCount:
    known = not trace.without_values
    operations = trace.operations.values()
    places = dict.fromkeys([*trace.operations, *(step.backward if step else ())])
    layers = tuple(
        _layer(place, trace.operations.get(place, Operation()), step, samples, seen, known)
        for place in places
        if place in trace.operations or (step and step.backward[place])
    )
    return MacCount(
        model=name_of(model),
        samples=samples,
        batches=seen,
        layers=layers,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs_dense=sum(operation.macs_dense for operation in operations) / samples,
        macs_effective=sum(o.macs_effective for o in operations) / samples if known else None,
        acs_effective=sum(o.acs_effective for o in operations) / samples if known else None,
        macs_training_forward=step.forward / step.samples if step else None,
        macs_backward=sum(step.backward.values()) / step.samples if step else None,
        weight_bytes=trace.traffic.weights / seen,
        activation_bytes=trace.traffic.activations / samples,
        training_bytes=step.bytes / step.samples if step else None,
        cheap={name: n / samples for name, n in trace.cheap.items() if n},
        uncounted=dict(trace.not_counted | (step.uncounted if step else Counter())),
    )


def _layer(
    place: tuple[str, str],
    operation: Operation,
    step: _TrainingStep | None,
    samples: int,
    seen: int,
    known: bool,
) -> LayerMacs:
    return LayerMacs(
        name=place[0],
        operation=place[1],
        calls=operation.calls / seen,
        macs_dense=operation.macs_dense / samples,
        macs_effective=operation.macs_effective / samples if known else None,
        acs_effective=operation.acs_effective / samples if known else None,
        macs_backward=step.backward[place] / step.samples if step else None,
        bytes_moved=operation.bytes / samples,
    )
