from __future__ import annotations

import gc
import weakref

import pytest
import torch

from minaction.errors import DeviceMemoryError
from minaction.train.memory import Halving, is_out_of_memory

ASKS_TOO_MUCH = 1 << 50  # bytes


class Worker:
    """Doubles numbers, a few at a time at most; asks for real memory that nobody has beyond."""

    def __init__(self, room):
        self.room, self.groups = room, []

    def __call__(self, items):
        self.groups.append(list(items))
        if len(items) > self.room:
            torch.empty(ASKS_TOO_MUCH, dtype=torch.uint8)
        return [2 * item for item in items]


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_every_item_is_done_once_in_order_in_groups_that_fit(room, count):
    work, halving = Worker(room), Halving()
    done = list(halving.map(work, range(count)))
    assert [item for group, _ in done for item in group] == list(range(count))
    assert all(result == [2 * item for item in group] for group, result in done)
    assert max(len(group) for group, _ in done) <= room
    assert halving.largest is None or halving.largest <= max(room, 1)


def test_what_did_not_fit_is_not_tried_again():
    work, halving = Worker(3), Halving()
    list(halving.map(work, range(8)))
    work.groups.clear()
    list(halving.map(work, range(8)))
    assert [len(group) for group in work.groups] == [2, 2, 2, 2]


def test_what_does_not_fit_even_alone_says_so_and_the_others_go_on():
    done = list(Halving().map(Worker(0), range(4)))
    assert [list(group) for group, _ in done] == [[0], [1], [2], [3]]
    for _, result in done:
        assert isinstance(result, DeviceMemoryError)
        assert str(result).startswith("out of memory with 4, 2, 1 at once (")
        assert "choose a smaller batch" in str(result)


def test_what_a_failed_try_left_in_a_cycle_is_freed_before_the_next_one():
    class Holder:
        def __init__(self):
            self.itself = self

    held = []

    def work(items):
        assert not any(reference() for reference in held)
        held.append(weakref.ref(Holder()))
        if len(items) > 1:
            torch.empty(ASKS_TOO_MUCH, dtype=torch.uint8)

    gc.disable()
    try:
        next(Halving().map(work, range(2)))
    finally:
        gc.enable()
    assert len(held) == 2


def test_any_other_error_is_raised():
    def work(items):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(Halving().map(work, range(4)))


def test_errors_that_say_out_of_memory():
    with pytest.raises(RuntimeError) as found:
        torch.empty(ASKS_TOO_MUCH, dtype=torch.uint8)
    assert is_out_of_memory(found.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
