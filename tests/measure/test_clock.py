"""Paired timing, with a clock that is told the time."""

from __future__ import annotations

import time

import pytest
import torch

from minaction.errors import InputError
from minaction.measure.clock import one_thread, time_pairs


class Machine:
    """A machine on which programs take known times, slowed down at times."""

    def __init__(self, before=0.4, after=0.1, slow=lambda call: 1.0):
        self.now = 0.0
        self.order = ""
        self.costs, self.slow = {"b": before, "a": after}, slow

    def program(self, name):
        def run():
            self.now += self.costs[name] * self.slow(len(self.order))
            self.order += name

        return run

    def times(self, **options):
        return time_pairs(self.program("b"), self.program("a"), clock=lambda: self.now, **options)


def test_medians_and_speedup():
    times = Machine().times(pairs=9)
    assert times.before_seconds == pytest.approx(0.4)
    assert times.after_seconds == pytest.approx(0.1)
    ends = [times.speedup_low, times.speedup, times.speedup_high]
    assert ends == pytest.approx([4, 4, 4])
    assert (times.pairs, times.calls) == (9, 1)


def test_the_programs_take_turns():
    machine = Machine()
    machine.times(pairs=6, warm_up=2)
    assert machine.order == "bbaa" + "ba" + "baab" * 3


def test_short_programs_are_repeated_within_a_measurement():
    times = Machine(before=1e-4, after=2e-5).times(pairs=5, min_seconds=0.01)
    assert times.calls == 100
    assert times.before_seconds == pytest.approx(1e-4)


def test_slow_phases_fall_on_both():
    times = Machine(slow=lambda call: 5.0 if call > 20 else 1.0).times(pairs=31)
    assert times.speedup == pytest.approx(4)
    assert times.speedup_low > 3.9


def test_the_interval_spans_what_was_seen():
    times = Machine(slow=lambda call: 1 + 0.3 * ((call * 7919) % 13) / 13).times(pairs=41)
    assert times.speedup_low < times.speedup < times.speedup_high
    assert times.speedup_low > 3
    assert times.speedup_high < 5
    again = Machine(slow=lambda call: 1 + 0.3 * ((call * 7919) % 13) / 13).times(pairs=41)
    assert again == times


def test_real_programs():
    times = time_pairs(lambda: time.sleep(0.004), lambda: time.sleep(0.001), pairs=5)
    assert times.before_seconds >= 0.004
    assert times.speedup > 1


@pytest.mark.parametrize("options", [{"pairs": 4}, {"min_seconds": 0}, {"min_seconds": -1}])
def test_bad_arguments(options):
    with pytest.raises(InputError, match=next(iter(options))):
        time_pairs(int, int, **options)


def test_one_thread_is_for_the_block_only():
    before = torch.get_num_threads()

    def fail():
        with one_thread():
            assert torch.get_num_threads() == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == before
