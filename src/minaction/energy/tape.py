"""The tape: observes a forward pass of any module and gives its trajectory.

Every nonlinearity ends in a torch function (`nn.ReLU` calls `F.relu`), so one torch-function mode
sees module and functional forms alike, inside `torch.compile`, `autocast` and `vmap` too, and
leaves nothing on the user's modules. Module hooks only add what a function cannot know: names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from minaction.energy.compiling import constant_when_compiled
from minaction.energy.recorder import Recorder, Reduce
from minaction.energy.trajectory import Trajectory
from minaction.errors import TapeError, suggest

Layers = Sequence[str | type[nn.Module]]


_HIDDEN_BY_COMPILER = (nn.Hardsigmoid, nn.Hardswish)


class Tape:
    """Records the trajectory of the forward passes run inside its `with` block.

    Observed by default: the output of every nonlinearity (module or functional form) and the
    hidden states of recurrent kernels, except the model's own output. A module called twice gives
    two layers, `name` and `name#2`; a functional call is named by its module and function,
    `block.relu`. A module without parameters and children that calls a nonlinearity, such as a
    hand-written GELU, is observed as a whole. The first axis of an activation is its batch axis.

    Compiled models run uncompiled inside the block, so that their layers can be named. Inside a
    compiled function layers are named by function and order (`relu`, `relu#2`), and `layers`
    cannot be used; the compiler hides the functions `F.tanh`, `F.sigmoid`, `F.hardsigmoid` and
    `F.hardswish` there (`torch.tanh`, `torch.sigmoid`, `nn.Tanh` and `nn.Sigmoid` are seen, and
    `nn.Hardsigmoid` and `nn.Hardswish` are refused). Not seen anywhere:
    nonlinearities written as arithmetic, such as `x.clamp(min=0)`; give them a module and name it
    in `layers`. Activation checkpointing
    (`torch.utils.checkpoint`) must be of the kind `use_reentrant=False`; what an energy needs of
    the activations inside is kept all the same.

    Args:
        model: Any module. It is not changed, and all hooks are gone when the block ends.
        layers: Names of layers or types of modules to observe instead of the default.
        reduce: Applied to each `Activation` at once; its results are then in `reduced`, and the
            trajectory is empty.
        clone: Work on copies, for models that overwrite an activation in place after computing it.
        observe_output: Observe the model's own output too if it comes from a nonlinearity.
        skip_no_grad: Leave out nonlinearities that run with gradients disabled, such as those of
            metrics or of a teacher network.

    Raises:
        TapeError: A layer asked for did not run, an activation was overwritten in place or has no
            batch axis, the model is a TorchScript one, which cannot be observed, or it checkpoints
            activations with `use_reentrant=True`, which cuts off their gradients.

    Example:
        >>> with Tape(model) as tape:
        ...     logits = model(x)
        >>> ActivationEnergy()(tape.trajectory)
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers | None = None,
        *,
        reduce: Reduce | None = None,
        clone: bool = False,
        observe_output: bool = False,
        skip_no_grad: bool = False,
    ) -> None:
        self.model = model
        self.layers = _checked_layers(layers)
        self.reduce = reduce
        self.clone = clone
        self.observe_output = observe_output
        self.skip_no_grad = skip_no_grad
        self._trajectory = Trajectory(layers=())
        self._reduced: dict[str, Tensor] = {}
        self._recorder: Recorder | None = None
        self._names: _ModuleNames | None = None
        self._handles: list[RemovableHandle] = []
        self._eagerly: AbstractContextManager[None] | None = None

    @property
    def trajectory(self) -> Trajectory:
        """The recorded trajectory."""
        return self._recorder.trajectory if self._recorder else self._trajectory

    @property
    def reduced(self) -> dict[str, Tensor]:
        """Results of `reduce` by layer name."""
        return dict(self._recorder.reduced) if self._recorder else self._reduced

    def __enter__(self) -> Tape:
        if self._recorder is not None:
            raise TapeError("this tape is recording already; open another one")
        if torch.compiler.is_compiling():
            refuse_in_compiled(self.model, self.layers)
            recorder = Recorder(self.reduce, clone=self.clone, skip_no_grad=self.skip_no_grad)
        else:
            _refuse_script(self.model)
            recorder = self._named_recorder()
        recorder.__enter__()
        self._recorder = recorder
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        recorder.__exit__(kind, error, traceback)
        self._detach()
        self._trajectory, self._reduced = recorder.trajectory, recorder.reduced
        if kind is None:
            recorder.check()
            if self._names is not None:
                self._names.check_layers()
        self._names = None

    def _named_recorder(self) -> Recorder:
        names = self._names = _ModuleNames(self.layers)
        recorder = Recorder(
            self.reduce,
            clone=self.clone,
            skip_no_grad=self.skip_no_grad,
            place=names.place,
            name_weight=names.name_weight,
        )
        try:
            if is_compiled(self.model):
                self._eagerly = torch.compiler.set_stance("force_eager")
            self._attach(recorder, names)
        except BaseException:
            self._detach()
            raise
        return recorder

    def _attach(self, recorder: Recorder, names: _ModuleNames) -> None:
        discards = self.layers is None and not self.observe_output
        for path, module in _hookable(self.model):

            def enter(module: nn.Module, _args: Any, path: str = path) -> None:
                names.enter(path, module)

            def leave(module: nn.Module, _args: Any, output: Any, path: str = path) -> None:
                name = names.leave(module)
                value = output[0] if isinstance(output, tuple) and output else output
                if name is not None and isinstance(value, Tensor):
                    recorder.take(name, value)
                if not path and discards:
                    recorder.discard_output(output)

            self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
            self._handles.append(module.register_forward_hook(leave, always_call=True))

    def __getstate__(self) -> dict[str, Any]:
        # a copy is no part of the autograd graph, and torch copies only what is not
        return {**self.__dict__, "_reduced": {k: v.detach() for k, v in self._reduced.items()}}

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._eagerly is not None:
            self._eagerly.__exit__(None, None, None)
        self._eagerly = None


class _ModuleNames:
    """Knows, through module hooks, which module is running, and what is to be observed."""

    def __init__(self, layers: Layers | None) -> None:
        self.layers = layers
        self.stack: list[tuple[str, nn.Module, list[str]]] = []
        self.ran: list[str] = []
        self.found: set[str | type[nn.Module]] = set()

    def enter(self, path: str, module: nn.Module) -> None:
        """Note that `module` starts to run."""
        self.stack.append((path, module, []))
        self.ran.append(path)

    def leave(self, module: nn.Module) -> str | None:
        """Note that `module` ends; return its name if its output is to be observed."""
        while self.stack:
            path, top, pending = self.stack.pop()
            if top is module:  # anything above it ended without notice
                return self._wanted(path or type(module).__name__, module, default=bool(pending))
        return None

    def place(self, function: str) -> str | None:
        """Return the layer name of a nonlinear function; None if it is not to be observed here."""
        if not self.stack:
            return self._wanted(function, None, default=True)
        path, module, pending = self.stack[-1]
        if is_pointwise(module):
            pending.append(function)  # observed as a whole, when the module returns
            return None
        return self._wanted(f"{path}.{function}" if path else function, None, default=True)

    def name_weight(self, function: str, weight: Tensor) -> str:
        """Return the parameter name of a weight, or one by module and function."""
        if not self.stack:
            return f"{function}.weight"
        path, module, _ = self.stack[-1]
        name = next((n for n, p in module.named_parameters() if p is weight), f"{function}.weight")
        return f"{path}.{name}" if path else name

    def _wanted(self, name: str, module: nn.Module | None, *, default: bool) -> str | None:
        if self.layers is None:
            return name if default else None
        if module is None:
            self.ran.append(name)
        matches = [
            layer
            for layer in self.layers
            if (layer == name if isinstance(layer, str) else isinstance(module, layer))
        ]
        self.found.update(matches)
        return name if matches else None

    def check_layers(self) -> None:
        """Raise TapeError for a layer that was asked for and did not run."""
        for layer in self.layers or ():
            if layer in self.found:
                continue
            if isinstance(layer, str):
                names = suggest(layer, {name for name in self.ran if name})
                raise TapeError(f"layer {layer!r} did not run in the forward pass{names}")
            raise TapeError(f"no {layer.__name__} ran in the forward pass")


def run_model(model: nn.Module, x: Any) -> Any:
    """Run `model` on `x`: a tensor, a tuple of positional or a mapping of keyword arguments."""
    if isinstance(x, Mapping):
        return model(**x)
    if type(x) in (tuple, list):  # a named tuple, such as a packed sequence, is one argument
        return model(*x)
    return model(x)


def is_pointwise(module: nn.Module) -> bool:
    """Return whether a module has no children and no parameters (but a PReLU's)."""
    if module._modules:
        return False
    return isinstance(module, nn.PReLU) or all(p is None for p in module._parameters.values())


def needs_hooks(model: nn.Module) -> bool:
    """Return whether functions alone would not give the layers that module hooks would.

    True where a module without parameters and children is not torch's own, e.g. a hand-written
    GELU, and where a part is compiled or TorchScript.
    """
    return any(
        _is_compiled(module)
        or _is_own_pointwise(module)
        or isinstance(module, torch.jit.ScriptModule)
        for module in model.modules()
    )


def _refuse_script(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TapeError(
                f"{f'module {path!r}' if path else 'the model'} is TorchScript and cannot be "
                "observed; use the original module"
            )


def refuse_in_compiled(model: nn.Module, layers: Layers | None) -> None:
    """Raise TapeError for what cannot be observed from inside a compiled function."""
    if layers is not None:
        raise TapeError("layers cannot be named inside torch.compile; leave `layers` out")
    for path, module in model.named_modules():
        if _is_own_pointwise(module):
            raise TapeError(
                f"module {path!r} is observed as a whole, which torch.compile does not allow; "
                "observe outside the compiled function"
            )
        if isinstance(module, _HIDDEN_BY_COMPILER):
            _refuse_hidden(path, type(module).__name__)


def _refuse_hidden(path: str, kind: str) -> None:
    raise TapeError(
        f"torch.compile hides module {path!r} ({kind}); observe outside the compiled function"
    )


# run as it is: the compiler swallows this error, and the energy would come out as 0
_refuse_hidden._torchdynamo_disable = True  # pyright: ignore[reportFunctionMemberAccess]


def _is_own_pointwise(module: nn.Module) -> bool:
    return not _is_of_torch(type(module)) and is_pointwise(module)


@constant_when_compiled  # or every compiled call would look it up again
def _is_of_torch(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith("torch.nn.")


def is_compiled(model: nn.Module) -> bool:
    """Return whether a part of the model was compiled on its own."""
    return any(_is_compiled(module) for module in model.modules())


def _is_compiled(module: nn.Module) -> bool:
    # by trait, not by type: importing the type would import the whole compiler
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _hookable(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules by name, without the wrappers that `torch.compile` puts around them."""
    return [
        (".".join(part for part in path.split(".") if part != "_orig_mod"), module)
        for path, module in model.named_modules()
        if "_orig_mod" not in module._modules
    ]


def _checked_layers(layers: Layers | None) -> Layers | None:
    if layers is None:
        return None
    if isinstance(layers, (str, type)):
        raise TapeError("layers must be a list of names or module types; write [...] around it")
    if not layers:
        raise TapeError("layers is empty; name at least one, or leave it out for the default")
    for layer in layers:
        if not isinstance(layer, str) and not _is_module_type(layer):
            raise TapeError(f"layers: expected a name or a module type, got {layer!r}")
    return tuple(layers)


def _is_module_type(layer: Any) -> bool:
    return isinstance(layer, type) and issubclass(layer, nn.Module)
