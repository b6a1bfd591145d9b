"""What `torch.compile` is told about functions of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_when_compiled(function: Function) -> Function:
    """Have the compiler call `function` once, while compiling, and keep its result.

    Does what `torch.compiler.assume_constant_result` does, without importing the compiler, which
    takes longer than everything else an uncompiled program imports.
    """
    function._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
    return function
