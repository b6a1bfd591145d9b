"""Clean-ups that no signal cuts short."""

from __future__ import annotations

import contextlib
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class CleansUp(ABC):
    """A context manager of things that are to be given back whatever happens.

    What `_open` registers is undone when the context is left, or at once where `_open` fails or is
    interrupted; a signal that comes meanwhile waits until all is undone.
    """

    _opened: contextlib.ExitStack

    @abstractmethod
    def _open(self, opening: contextlib.ExitStack) -> None:
        """Get what is needed, and register with `opening` how it is given back."""

    def __enter__(self) -> Self:
        opening = contextlib.ExitStack()
        try:
            self._open(opening)
        except BaseException:
            with interrupts_held_back():
                opening.close()
            raise
        self._opened = opening
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with interrupts_held_back():
            self._opened.close()


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Put off what stops the program, so that a second signal cannot cut a clean-up short."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
