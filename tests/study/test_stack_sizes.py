from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from minaction.data.load import load_dataset
from minaction.study import stack_sizes
from minaction.study.calibrate import Calibration
from minaction.study.cells import Cell
from minaction.study.stack_sizes import UNTIMED, choose_stacks
from minaction.train.execution import Execution

MLP = Cell(
    dataset="digits", model="mlp", energy="activation", batch_size=32, parameters=2000,
    epochs=100_000, lr=1e-3,
)  # fmt: skip
GRU = replace(MLP, model="gru", epochs=1)
LARGEST = {"mlp on digits": 20}


@pytest.fixture(scope="module")
def load():
    return functools.cache(load_dataset)


def choose(cells, mode, load, largest=LARGEST, seconds=1e4):
    calibration = Calibration(
        execution=Execution(), report={}, seconds=dict.fromkeys(cells, seconds)
    )
    return choose_stacks(cells, largest, mode, calibration, load, workers=1)


@pytest.mark.parametrize(("most", "size"), [(20, UNTIMED), (3, 3)])
def test_on_stacks_whatever_can_be_stacked_without_asking_what_is_faster(load, most, size):
    largest = {"mlp on digits": most, "gru on digits": most}
    found = choose([MLP, GRU], "on", load, largest)
    assert found["stacked"] == {"mlp on digits": size}
    assert found["not_stacked"]["gru on digits"].startswith("GRU cannot be stacked: Batching")


def test_off_and_nothing_to_stack_decide_nothing(load):
    def unused(name):
        pytest.fail("loaded")

    assert choose([MLP], "off", unused) == {}
    assert choose([MLP], "on", unused, largest={}) == {}


def test_auto_does_not_try_what_is_short(load):
    assert choose([MLP], "auto", load, seconds=9.0) == {}


class Clock:
    """Stands in for the timing of stacks: what a run's step takes by the size of the stack."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, trial, size):
        self.asked.append(size)
        return stack_sizes._Timing(seconds=self.seconds[size], run_bytes=0.0)


@pytest.mark.parametrize(
    ("seconds", "size", "asked"),
    [
        ({4: 0.5, 16: 0.4, 20: 0.3}, 20, [4, 16, 20]),
        ({4: 0.5, 16: 0.3, 20: 0.29}, 16, [4, 16, 20]),  # hardly faster: smaller groups
        ({4: 0.5, 16: 0.6}, 4, [4, 16]),
        ({4: 0.95, 16: 0.94}, None, [4, 16]),
        ({4: 3.0, 16: 3.1}, None, [4, 16]),
    ],
)
def test_auto_takes_the_fastest_size_if_it_is_faster_than_one_at_a_time(
    load, monkeypatch, seconds, size, asked
):
    clock = Clock(seconds)
    alone = stack_sizes.time_steps(replace(MLP, epochs=1), Execution(), load)
    monkeypatch.setattr(stack_sizes, "time_steps", lambda *_: replace(alone, step=1.0))
    monkeypatch.setattr(stack_sizes._Trial, "_time", lambda trial, n: clock(trial, n))
    found = choose([MLP], "auto", load)
    assert clock.asked == asked
    if size is None:
        said = found["not_stacked"]["mlp on digits"]
        assert said == f"{seconds[4]:.2f} times the seconds of single runs, at best"
        assert "stacked" not in found
    else:
        assert found == {"stacked": {"mlp on digits": size}}


def test_a_stack_is_really_timed(load):
    trial = stack_sizes._Trial(MLP, load, workers=1)
    size, ratio = trial.fastest(4, alone=10.0, allowance=1e4)
    assert size == 4
    assert 0 < ratio < 0.1


def test_trying_takes_no_longer_than_allowed(load):
    trial = stack_sizes._Trial(MLP, load, workers=1)
    assert trial.fastest(4, alone=10.0, allowance=1.0) == (1, float("inf"))
