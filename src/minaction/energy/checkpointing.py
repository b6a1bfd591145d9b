"""Activation checkpointing (`torch.utils.checkpoint`): layers that run again in the backward pass.

They do so outside the tape, which has consequences for what is computed from them in the first run.
"""

from __future__ import annotations

import contextlib
import sys

import torch
from torch import Tensor
from torch._C._autograd import (
    _top_saved_tensors_default_hooks,  # pyright: ignore[reportMissingModuleSource, reportAttributeAccessIssue]
)

_MODULE = "torch.utils.checkpoint"


def is_without_gradient() -> bool:
    """Return whether a checkpoint with `use_reentrant=True` is running.

    What it runs is cut off from the autograd graph, so that no energy of it has a gradient. Looks
    through the whole stack; ask only where gradients are off.
    """
    module = sys.modules.get(_MODULE)
    if module is None:
        return False
    code = module.CheckpointFunction.forward.__code__
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def tensors_kept() -> contextlib.AbstractContextManager[object]:
    """Have autograd keep what it saves in this block, also inside a checkpoint.

    A checkpoint drops what is saved and takes it from the second run, in the same order. What is
    computed by the tape is not computed again, so it must neither be dropped nor counted.
    """
    hooks = _top_saved_tensors_default_hooks(True)
    if hooks is None or hooks[0].__module__ != _MODULE:
        return contextlib.nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_as_is, _as_is)


def _as_is(tensor: Tensor) -> Tensor:
    return tensor
