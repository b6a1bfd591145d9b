"""Inputs of a measurement: batches, checked, and run through a model that is left as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.energy.untouched import untouched
from minaction.errors import InputError, MinActionError, TapeError


def batches_of(inputs: Any) -> Iterable[Any]:
    """Return the batches in `inputs`: one batch, or an iterable of them.

    Raises:
        InputError: It is neither.
    """
    if isinstance(inputs, (Tensor, tuple, Mapping)):
        return (inputs,)
    if isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes)):
        return inputs
    raise InputError(f"inputs: expected tensors or batches of them, got {type(inputs).__name__}")


def batch_size(batch: Any) -> int:
    """Return the number of samples of a batch.

    Raises:
        InputError: It holds no tensor, or an empty one.
    """
    tensors = list(tensors_in([batch]))
    if not tensors:
        raise InputError(f"inputs: a batch holds tensors, got {type(batch).__name__}")
    if any(tensor.numel() == 0 for tensor in tensors):
        raise InputError("inputs: a batch is empty; give at least one sample")
    return next((len(tensor) for tensor in tensors if tensor.ndim), 1)


def check_eager(model: nn.Module) -> None:
    """Raise an error for what is no module, cannot be seen from Python, or has no shapes yet.

    Raises:
        TapeError: A part is TorchScript.
        InputError: It is no module, or a part is not initialised.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TapeError(
                f"{f'module {path!r}' if path else 'the model'} is TorchScript and cannot be "
                "observed; use the original module"
            )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise InputError(f"{name} is not initialised yet; run the model once first")


def run_untouched(
    model: nn.Module,
    batch: Any,
    modes: Sequence[AbstractContextManager[Any]],
    *,
    training: bool = False,
) -> Any:
    """Run a model on a batch inside `modes`, and leave it as it was.

    Args:
        model: Any module.
        batch: A tensor, a tuple of positional or a mapping of keyword arguments.
        modes: Entered in turn; the last one sees a call when all others have.
        training: Run in training mode and record gradients; otherwise evaluate without.

    Raises:
        InputError: The model does not run on the batch, or moves itself while it runs.
    """
    _check_devices(model, batch)
    try:
        with ExitStack() as stack:
            stack.enter_context(untouched(model, training=training))
            for mode in modes:
                stack.enter_context(mode)
            return run_model(model, batch)
    except MinActionError:
        raise
    except Exception as error:
        hint = "; training steps are counted in training mode" if training else ""
        if type(batch) in (tuple, list) and len(batch) > 1:
            hint += "; a batch holds the model's arguments: leave labels out"
        raise InputError(
            f"{name_of(model)} does not run on this input: {_described(error)}{hint}"
        ) from error


def name_of(model: nn.Module) -> str:
    """Return the name of a model's class."""
    return type(model).__name__


def _check_devices(model: nn.Module, batch: Any) -> None:
    own = dict.fromkeys(tensor.device for tensor in [*model.parameters(), *model.buffers()])
    for tensor in tensors_in([batch]):
        if own and tensor.device not in own:
            raise InputError(
                f"inputs are on {tensor.device}, the weights of {name_of(model)} on "
                f"{' and '.join(map(str, own))}; move one of them"
            )


def _described(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
