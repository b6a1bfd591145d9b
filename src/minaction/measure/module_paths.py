"""Which module is running."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from minaction.energy.tape import is_compiled


class ModulePath:
    """Knows, inside its `with` block, which of a model's modules is running.

    What is compiled runs uncompiled inside the block; all hooks are gone when it ends.

    Args:
        model: Any module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._stack: list[tuple[str, nn.Module]] = []
        self._handles: list[RemovableHandle] = []
        self._eagerly: Any = None

    @property
    def current(self) -> str:
        """Name of the innermost module that runs; empty for the model itself."""
        return self._stack[-1][0] if self._stack else ""

    def __enter__(self) -> ModulePath:
        # a function may be compiled too, but not before the compiler is imported, which takes long
        if is_compiled(self.model) or "torch._dynamo" in sys.modules:
            self._eagerly = torch.compiler.set_stance("force_eager")
        for path, module in self.model.named_modules():
            name = ".".join(part for part in path.split(".") if part != "_orig_mod")

            def enter(module: nn.Module, _args: Any, name: str = name) -> None:
                self._stack.append((name, module))

            self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._stack = [], []
        if self._eagerly is not None:
            self._eagerly.__exit__(None, None, None)

    def _leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        while self._stack:
            if self._stack.pop()[1] is module:  # anything above it ended without notice
                return
