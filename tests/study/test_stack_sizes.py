from __future__ import annotations

import functools
import time
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


@pytest.mark.parametrize(
    ("ratios", "size", "asked"),
    [
        ({4: 0.5, 16: 0.4, 20: 0.3}, 20, [4, 16, 20]),
        ({4: 0.5, 16: 0.3, 20: 0.29}, 16, [4, 16, 20]),  # hardly faster: smaller groups
        ({4: 0.5, 16: 0.6}, 4, [4, 16]),
        ({4: 0.95, 16: 0.94}, None, [4, 16]),
        ({4: 3.0, 16: 3.1}, None, [4, 16]),
    ],
)
def test_auto_takes_the_fastest_size_if_it_is_faster_than_one_at_a_time(
    load, monkeypatch, ratios, size, asked
):
    tried = []

    def ratio(trial, runs):
        tried.append(runs)
        return ratios[runs]

    monkeypatch.setattr(stack_sizes._Trial, "ratio", ratio)
    found = choose([MLP], "auto", load)
    assert tried == asked
    if size is None:
        said = found["not_stacked"]["mlp on digits"]
        assert said == f"{ratios[4]:.2f} times the seconds of single runs, at best"
        assert "stacked" not in found
    else:
        assert found == {
            "stacked": {"mlp on digits": size},
            "step_ratios": {"mlp on digits": ratios[size]},
        }


def test_auto_says_where_memory_suffices_for_no_stack(load, monkeypatch):
    def ratio(trial, runs):
        raise MemoryError

    monkeypatch.setattr(stack_sizes._Trial, "ratio", ratio)
    found = choose([MLP], "auto", load)
    assert found == {"not_stacked": {"mlp on digits": "out of memory with the smallest stack"}}


def trial_of(load):
    return stack_sizes._Trial(MLP, Execution(), load, workers=1)


def test_small_networks_are_faster_in_a_stack(load):
    """Steps of both are really timed; benchmarks found a factor of 2.7 (16 runs of this kind)."""
    assert trial_of(load).ratio(16) < 1


def test_trying_takes_no_longer_than_allowed_but_for_the_smallest_stack(load, monkeypatch):
    trial, tried = trial_of(load), []

    def ratio(runs):
        tried.append(runs)
        time.sleep(0.01)
        return 1 / runs

    monkeypatch.setattr(trial, "ratio", ratio)
    assert trial.fastest(20, allowance=0.0) == (4, 0.25)
    assert trial.fastest(20, allowance=60.0) == (20, 0.05)
    assert tried == [4, 4, 16, 20]
