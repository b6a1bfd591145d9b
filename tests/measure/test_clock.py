"""Paired timing, with a clock that is told the time."""

from __future__ import annotations

import time

import pytest
import torch

from minaction.errors import DeviceError, InputError
from minaction.measure.clock import (
    cuda_seconds,
    one_thread,
    time_pairs,
    time_program,
    timer_for,
    wall_seconds,
)


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
        return time_pairs(self.program("b"), self.program("a"), timer=self.timer, **options)

    def timer(self, program, calls):
        return wall_seconds(program, calls, clock=lambda: self.now)


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


def test_one_program_is_timed_by_itself():
    machine = Machine(before=0.001)
    times = time_program(machine.program("b"), measurements=9, timer=machine.timer)
    assert (times.calls, times.measurements) == (10, 9)
    assert machine.order == "b" * (3 + 1 + 90)
    found = [times.seconds_p05, times.seconds_low, times.seconds, times.seconds_high]
    assert found == pytest.approx([0.001] * 4)


def test_the_spread_of_the_measurements_is_told_beside_the_interval_of_the_median():
    machine = Machine(before=0.01, slow=lambda call: 1 + ((call * 7919) % 101) / 100)
    times = time_program(machine.program("b"), measurements=201, timer=machine.timer)
    assert times.seconds_p05 == pytest.approx(0.0105, rel=0.03)
    assert times.seconds == pytest.approx(0.015, rel=0.05)
    assert times.seconds_p95 == pytest.approx(0.0195, rel=0.03)
    assert times.seconds_p05 < times.seconds_low < times.seconds < times.seconds_high
    assert times.seconds_high < times.seconds_p95


def test_few_measurements_are_refused():
    with pytest.raises(InputError, match="measurements is 4; expected 5 or more"):
        time_program(int, measurements=4)


def test_a_cpu_is_timed_by_the_clock_on_the_wall():
    assert timer_for(torch.device("cpu")) is wall_seconds
    assert timer_for(torch.device("cuda:1")).keywords == {"device": torch.device("cuda:1")}
    with pytest.raises(DeviceError, match="how long something takes on meta is not known"):
        timer_for(torch.device("meta"))


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_events():
    device = torch.device("cuda:0")
    x = torch.ones(2048, 2048, device=device)
    once = cuda_seconds(lambda: x @ x, 20, device=device)
    assert 1.5 < cuda_seconds(lambda: x @ x, 40, device=device) / once < 2.7


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
