"""Running a user's model without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from minaction.errors import InputError


@contextmanager
def untouched(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """Put `model` in evaluation mode without gradients; afterwards put everything back.

    Modes, buffers, attributes, gradients, the place of parameters and the state of the random
    generators are restored, so that a network that keeps a state between forward passes, such as a
    spiking one, starts every pass from the state it was given in.

    Args:
        model: Any module.
        training: Put it in training mode and record gradients instead.

    Raises:
        InputError: The model moved its parameters to another device or type, or replaced them;
            they are put back.
    """
    states = [_State(module) for module in model.modules()]
    devices = sorted({t.device.index for t in model.parameters() if t.device.type == "cuda"})
    moved: list[str] = []
    try:
        with torch.random.fork_rng(devices):
            for state in states:
                state.prepare(training=training)
            with torch.set_grad_enabled(training):
                yield
    finally:
        for state in states:
            moved += state.restore()
        if moved:  # also in place of what it led to
            raise InputError(
                f"{type(model).__name__} moves or replaces its parameters while it runs "
                f"({moved[0]}); do that before, not in forward()"
            )


class _State:
    """What a forward pass could change in one module, children and values of parameters aside."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.buffers = dict(module._buffers)
        held = [*self.buffers.values(), *self.attributes.values()]
        self.contents = [(t, t._version, t.clone()) for t in held if _is_plain_tensor(t)]
        self.parameters = [
            (name, parameter, parameter.data, parameter.grad)
            for name, parameter in module._parameters.items()
            # not those that stand in for parameters inside a transform
            if isinstance(parameter, nn.Parameter) and not is_lazy(parameter)
        ]

    def prepare(self, *, training: bool) -> None:
        """Set the mode, and put gradients aside so that none is added to."""
        # set as a flag: `eval()` may be overridden to do more, or not be allowed
        self.module.training = training
        for _, parameter, _, _ in self.parameters:
            parameter.grad = None

    def restore(self) -> list[str]:
        """Put everything back; return the parameters that had moved."""
        moved = []
        for name in vars(self.module).keys() - self.attributes.keys():
            del self.module.__dict__[name]
        self.module.__dict__.update(self.attributes)
        self.module._buffers.clear()
        self.module._buffers.update(self.buffers)
        with torch.no_grad():
            for name, parameter, data, grad in self.parameters:
                if self.module._parameters.get(name) is not parameter or _differ(parameter, data):
                    moved.append(name)
                    self.module._parameters[name] = parameter
                    parameter.data = data
                parameter.grad = grad
            for tensor, version, content in self.contents:
                if tensor._version != version or _changed(tensor, content):
                    tensor.copy_(content)
        return moved


def _differ(parameter: Tensor, data: Tensor) -> bool:
    return parameter.device != data.device or parameter.data_ptr() != data.data_ptr()


def _changed(tensor: Tensor, content: Tensor) -> bool:
    # batch normalisation changes its statistics without counting up their version
    comparable = tensor.layout is torch.strided and not tensor.is_meta
    return comparable and not torch.equal(tensor, content)


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
