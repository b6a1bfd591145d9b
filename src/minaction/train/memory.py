"""Work on many items at once, on fewer where memory does not suffice."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from minaction.errors import DeviceMemoryError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Halving:
    """Does work on groups of items and halves a group for which memory does not suffice.

    What did not fit is remembered: later groups are halved before they are tried.

    Attributes:
        largest: Items that a group may have as far as is known; None: no limit met yet.
    """

    def __init__(self) -> None:
        self.largest: int | None = None

    def map(
        self, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Sequence[Item], Result | DeviceMemoryError]]:
        """Yield each group that was worked on and what came of it.

        Args:
            work: Called with a group; whatever it raises for want of memory is caught. It may be
                called again with parts of the same group, so it must not have changed them.
            items: The whole group.
        """
        waiting, tried = deque([items]), []
        while waiting:
            group = waiting.popleft()
            if self.largest is not None and len(group) > self.largest:
                middle = (len(group) + 1) // 2
                waiting.extendleft([group[middle:], group[:middle]])
                continue
            result = _within_memory(work, group)
            if not isinstance(result, _Lacking):
                yield group, result
                continue
            tried.append(len(group))
            if len(group) > 1:
                self.largest = (len(group) + 1) // 2
                waiting.appendleft(group)
                continue
            sizes = ", ".join(map(str, dict.fromkeys(tried)))
            problem = f"out of memory with {sizes} at once ({result.reason})"
            yield group, DeviceMemoryError(f"{problem}; choose a smaller batch or network")


class _Lacking:
    """That memory did not suffice; holds no traceback, which would hold the memory."""

    def __init__(self, error: BaseException) -> None:
        self.reason = str(error).strip().partition("\n")[0][:200]


def _within_memory(
    work: Callable[[Sequence[Item]], Result], group: Sequence[Item]
) -> Result | _Lacking:
    try:
        return work(group)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        lacking = _Lacking(error)
    gc.collect()  # what lies in cycles holds memory as well
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return lacking


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory does not suffice, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
