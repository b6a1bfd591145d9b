"""Running a user's model without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode without gradients; afterwards put everything back.

    Modes, buffers and attributes are restored, so that a network that keeps a state between
    forward passes, such as a spiking one, starts every pass from the state it was given in.

    Args:
        model: Any module.
    """
    states = [_State(module) for module in model.modules()]
    try:
        for state in states:
            # set as a flag: `eval()` may be overridden to do more, or not be allowed
            state.module.training = False
        with torch.no_grad():
            yield
    finally:
        for state in states:
            state.restore()


class _State:
    """What a forward pass could change in one module, children and parameters aside."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.buffers = dict(module._buffers)
        held = [*self.buffers.values(), *self.attributes.values()]
        self.contents = [(t, t._version, t.clone()) for t in held if _is_plain_tensor(t)]

    def restore(self) -> None:
        """Put everything back."""
        for name in vars(self.module).keys() - self.attributes.keys():
            del self.module.__dict__[name]
        self.module.__dict__.update(self.attributes)
        self.module._buffers.clear()
        self.module._buffers.update(self.buffers)
        with torch.no_grad():
            for tensor, version, content in self.contents:
                if tensor._version != version:
                    tensor.copy_(content)


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
