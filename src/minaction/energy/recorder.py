"""Collects what the functions of a forward pass compute, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode

from minaction.energy.checkpointing import is_without_gradient, tensors_kept
from minaction.energy.functions import (
    CELLS,
    CONVOLUTIONS,
    NONLINEARITIES,
    RESHAPES,
    SEQUENCES,
    WEIGHTED,
    is_batch_first,
    is_packed,
    name_of,
    weights_of,
)
from minaction.energy.trajectory import Activation, Trajectory
from minaction.errors import TapeError

Reduce = Callable[[Activation], Tensor]
"""What becomes of an activation at once, a scalar tensor."""

Place = Callable[[str], str | None]
"""From a function's name to the qualified name of its layer or weight; None: not to be taken."""


class Recorder(TorchFunctionMode):
    """While active, collects the activations and weights of nonlinear and weighted functions.

    Args:
        reduce: Applied to every activation at once, so that nothing but its result is kept;
            None keeps the activations themselves.
        clone: Work on a copy of each activation, for models that overwrite one in place later.
        skip_no_grad: Leave out what runs with gradients disabled.
        place: Where the running function belongs; None names layers by function and order.
        name_weight: Name of a weight that the running function uses.
    """

    def __init__(
        self,
        reduce: Reduce | None = None,
        *,
        clone: bool = False,
        skip_no_grad: bool = False,
        place: Place | None = None,
        name_weight: Callable[[str, Tensor], str] | None = None,
    ) -> None:
        super().__init__()
        self.reduce = reduce
        self.clone = clone
        self.skip_no_grad = skip_no_grad
        self.place = place
        self.name_weight = name_weight
        self.layers: list[Activation] = []
        self.reduced: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._last: Tensor | None = None
        self._unbatched: str | None = None
        self._unit_axes: dict[int, int] = {}
        self._watched: dict[str, tuple[Tensor, int]] = {}
        # what is traced is not executed yet, and a copy cannot be overwritten
        self._traced = torch.compiler.is_compiling()
        self._watches = not (clone or self._traced)
        self._with_gradients = torch.is_grad_enabled()

    @property
    def trajectory(self) -> Trajectory:
        """What was recorded so far."""
        return Trajectory(layers=tuple(self.layers), weights=dict(self.weights))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` and record what it computed."""
        output = func(*args, **kwargs) if kwargs else func(*args)
        name = name_of(func)
        if name is not None:
            self._see(name, args, kwargs or {}, output)
        return output

    def _see(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        if self.skip_no_grad and not torch.is_grad_enabled():
            if name in NONLINEARITIES:
                self._check_checkpoint(name)
        elif name in RESHAPES:
            if args and args[0] is self._last:
                self._last = output
        elif name in WEIGHTED:
            self._take_weights(name, args, kwargs, output)
        # what is computed from a parameter alone, such as a learned gate, is no activation
        elif name in NONLINEARITIES and not (args and isinstance(args[0], nn.Parameter)):
            self._take_placed(name, output)

    def _take_weights(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self._unit_axes[states.ndim] = 1 if name in CONVOLUTIONS else -1
        if name in SEQUENCES:
            if is_packed(args):
                raise TapeError("a packed sequence has no batch axis; give the model padded ones")
            self._take_placed(name, states if is_batch_first(args) else states.transpose(0, 1))
            self._last = None  # a state, never mistaken for a read-out
        elif name in CELLS:
            self._take_placed(name, states)
            self._last = None
        if self.reduce is not None:
            return
        for weight in weights_of(name, args, kwargs):
            if all(weight is not known for known in self.weights.values()):
                full = self.name_weight(name, weight) if self.name_weight else f"{name}.weight"
                self.weights[self._unique(full)] = weight

    def _take_placed(self, name: str, value: Tensor) -> None:
        full = self.place(name) if self.place else name
        if full is not None:
            self.take(full, value)

    def take(self, name: str, value: Tensor) -> None:
        """Record one activation under `name`."""
        self._check_batched()
        self._last = value
        if value.ndim < 2:  # no hidden layer, but the model's own output may look so
            self._unbatched = name
            return
        name = self._unique(name)
        if self._with_gradients and not (self._traced or torch.is_grad_enabled()):
            self._check_checkpoint(name)
        activation = Activation(
            name=name,
            value=value.clone() if self.clone else value,
            unit_axis=self._unit_axes.get(value.ndim, 1 if value.ndim >= 4 else -1),
            index=len(self.layers) + len(self.reduced),
            named=self.place is not None,
        )
        if self.reduce is None:
            self.layers.append(activation)
        else:
            with nullcontext() if self._traced else tensors_kept():
                self.reduced[name] = self.reduce(activation)
        if self._watches:
            self._watch(name, value)

    def _watch(self, name: str, value: Tensor) -> None:
        # a reduced activation may be overwritten later if no gradient needs it
        needed = self.reduce is None or self.reduced[name].requires_grad
        if needed and not (is_transformed(value) or value.is_inference()):
            self._watched[name] = (value, value._version)

    def discard_output(self, output: Any) -> None:
        """Forget the last activation if it is the model's output: logits are no hidden layer."""
        if isinstance(output, tuple) and output:
            output = output[0]
        if self._last is None or self._last is not output:
            return
        self._last = None
        if self._unbatched is not None:
            self._unbatched = None
            return
        name = self.layers.pop().name if self.reduce is None else self.reduced.popitem()[0]
        self._watched.pop(name, None)

    def check(self) -> None:
        """Raise TapeError if an activation has no batch axis or was changed after it was taken."""
        self._check_batched()
        for name, (value, version) in self._watched.items():
            if version != value._version:
                raise TapeError(
                    f"the activation of {name!r} was overwritten in place by a later operation; "
                    "use clone=True"
                )

    def _check_batched(self) -> None:
        if self._unbatched is not None:
            raise TapeError(
                f"the activation of {self._unbatched!r} has one axis, not [batch, ...]; give the "
                "model batches, or leave the layer out with layers=[...]"
            )

    @staticmethod
    def _check_checkpoint(name: str) -> None:
        if is_without_gradient():
            raise TapeError(
                f"the energy of {name!r} would have no gradient inside torch.utils.checkpoint with "
                "use_reentrant=True; use use_reentrant=False"
            )

    def _unique(self, name: str) -> str:
        """Return `name`, or `name#2`, `name#3` … where it was given out before."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"


def is_transformed(value: Any) -> bool:
    """Return whether a value is a tensor inside a `torch.func` transform, such as `vmap`."""
    return isinstance(value, Tensor) and is_functorch_wrapped_tensor(value)
