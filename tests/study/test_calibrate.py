from __future__ import annotations

import functools
import math
import time
from dataclasses import replace

import pytest

from minaction.data.load import load_dataset
from minaction.measure.environment import cxx_compiler
from minaction.study.calibrate import (
    ALLOWANCE,
    GAIN,
    Trials,
    accuracy_drop_bound,
    calibrate,
    candidates,
    choose,
)
from minaction.study.cells import Cell
from minaction.train.execution import Execution

AUTO = {"precision": "auto", "compile": "auto", "channels_last": "auto"}
PLAIN = Execution()
BFLOAT16 = Execution(precision="bfloat16")
COMPILED = Execution(compile=True)
CHANNELS_LAST = Execution(channels_last=True)
MLP = Cell(
    dataset="digits", model="mlp", energy="activation", batch_size=32, parameters=5000,
    epochs=10, lr=1e-3,
)  # fmt: skip
CNN = replace(MLP, model="cnn")
FOREVER = 10_000_000  # epochs: long enough that every candidate is worth trying


@pytest.fixture(scope="module")
def load():
    return functools.cache(load_dataset)


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    (tmp_path / "g++").write_text("#!/bin/sh\n")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("compiler")
def test_all_executions_are_candidates_and_the_plain_one_is_the_reference():
    found = candidates(AUTO)
    assert found[0] == PLAIN
    assert len(set(found)) == len(found) == 8


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_nothing_is_compiled():
    assert [c.compile for c in candidates(AUTO)] == [False] * 4


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("precision", "float32"),
        ("precision", "bfloat16"),
        ("compile", True),
        ("compile", False),
        ("channels_last", True),
        ("channels_last", False),
    ],
)
def test_what_the_study_file_asks_for_is_kept(key, value):
    found = candidates(AUTO | {key: value})
    assert len(found) == 4
    assert {getattr(c, key) for c in found} == {value}


def test_where_the_file_leaves_no_choice_nothing_is_tried():
    requested = {"precision": "bfloat16", "compile": False, "channels_last": True}

    def load(name):
        pytest.fail("loaded")

    found = calibrate([MLP], requested, load, workers=1, margin=0.005)
    assert found.execution == Execution(precision="bfloat16", channels_last=True)
    assert "no choice" in found.report["reason"]


def test_a_short_study_takes_the_reference(load):
    short = [replace(cell, epochs=1) for cell in (MLP, CNN)]  # even on a busy machine
    found = calibrate(short, AUTO, load, workers=2, margin=0.005)
    assert found.execution == PLAIN
    assert "short" in found.report["reason"]


def test_the_fastest_is_chosen():
    predicted = {PLAIN: 100.0, CHANNELS_LAST: 60.0, COMPILED: 50.0}
    assert choose(PLAIN, predicted, never, 0.005) == (COMPILED, "fastest")


def test_a_small_gain_is_not_worth_another_execution():
    predicted = {PLAIN: 100.0, COMPILED: 100.0 * GAIN + 0.1}
    assert choose(PLAIN, predicted, never, 0.005)[0] == PLAIN


def test_another_precision_must_keep_the_accuracy():
    predicted = {PLAIN: 100.0, BFLOAT16: 50.0, CHANNELS_LAST: 70.0}
    assert choose(PLAIN, predicted, lambda _: 0.0049, 0.005)[0] == BFLOAT16
    assert choose(PLAIN, predicted, lambda _: 0.005, 0.005)[0] == CHANNELS_LAST
    assert choose(PLAIN, predicted, lambda _: math.inf, 0.005)[0] == CHANNELS_LAST


def test_where_bfloat16_is_asked_for_its_accuracy_is_no_question():
    reference, faster = BFLOAT16, replace(BFLOAT16, channels_last=True)
    assert choose(reference, {reference: 10.0, faster: 5.0}, never, 0.005)[0] == faster


def never(execution):
    pytest.fail("the accuracy was in question")


def test_the_accuracy_bound_of_real_trainings_decides(load):
    assert accuracy_drop_bound(MLP, PLAIN, PLAIN, load) == 0.0
    cell = replace(MLP, lr=0.01)
    bound = accuracy_drop_bound(cell, BFLOAT16, PLAIN, load)
    assert 0 < bound < 0.1  # some of 2 x 359 predictions differ
    predicted = {PLAIN: 2.0, BFLOAT16: 1.0}
    assert choose(PLAIN, predicted, lambda _: bound, 1e-6)[0] == PLAIN
    assert choose(PLAIN, predicted, lambda _: bound, 0.2)[0] == BFLOAT16


@pytest.mark.usefixtures("no_compiler")
def test_a_long_study_tries_all_there_is_and_says_what_it_found(load):
    cells = [replace(CNN, epochs=FOREVER), replace(MLP, epochs=1)]
    found = calibrate(cells, AUTO, load, workers=2, margin=1e-6)
    labels = {"float32", "float32 channels-last", "bfloat16", "bfloat16 channels-last"}
    assert found.report["predicted_seconds"].keys() == labels
    assert min(found.report["predicted_seconds"].values()) > 120
    assert found.report["failed"] == {}
    assert found.report["not_tried"] == []
    for label, bound in found.report["accuracy_drop_upper_bound"].items():
        assert label.startswith("bfloat16")
        assert bound is None or found.execution.precision == "float32" or bound < 1e-6


@pytest.mark.usefixtures("no_compiler")
def test_a_layout_of_images_is_not_tried_on_a_network_without_them(load):
    requested = AUTO | {"precision": "float32"}
    found = calibrate([replace(MLP, epochs=FOREVER)], requested, load, workers=1, margin=0.005)
    assert found.execution == PLAIN
    assert found.report["predicted_seconds"].keys() == {"float32"}


def test_when_the_time_allowed_is_over_nothing_more_is_tried(load):
    trials = Trials([CNN], load, 1, margin=0.005, allowance=0.0)
    trials.run(PLAIN, 100.0, [CHANNELS_LAST, BFLOAT16, COMPILED])
    assert trials.predicted.keys() == {PLAIN}
    assert trials.accuracy_drop(BFLOAT16) == math.inf
    account = trials.account()
    assert account["not_tried"] == ["float32 channels-last", "bfloat16", "float32 compiled"]
    assert account["accuracy_drop_upper_bound"] == {"bfloat16": None}


def test_compiling_is_not_begun_when_it_would_take_too_long(load):
    trials = Trials([CNN], load, 1, margin=0.005, allowance=8.0)
    trials.run(PLAIN, 100.0, [CHANNELS_LAST, COMPILED])
    assert trials.predicted.keys() == {PLAIN, CHANNELS_LAST}
    assert trials.account()["not_tried"] == ["float32 compiled"]


def test_cells_that_cannot_run_do_not_stop_the_others(load):
    hopeless = [replace(MLP, parameters=10), replace(MLP, batch_size=5000)]
    short = replace(MLP, epochs=1)  # even on a busy machine
    found = calibrate([*hopeless, short], AUTO, load, workers=1, margin=0.005)
    assert "short" in found.report["reason"]
    assert calibrate(hopeless, AUTO, load, workers=1, margin=0.005).execution == PLAIN


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # torch's compiler uses what it deprecates
@pytest.mark.skipif(cxx_compiler() is None, reason="no C++ compiler")
def test_with_a_compiler_a_long_study_spends_no_more_than_a_tenth_on_trying(load):
    load("digits")
    started = time.perf_counter()
    cells = [replace(CNN, epochs=60_000, parameters=50_000)]
    found = calibrate(cells, AUTO, load, workers=1, margin=0.05)
    seconds = time.perf_counter() - started
    predicted = found.report["predicted_seconds"]
    assert found.report["failed"] == {}
    assert any("compiled" in label for label in predicted)
    drops = found.report["accuracy_drop_upper_bound"]  # found before compiling took its time
    assert None not in [drop for label, drop in drops.items() if "compiled" not in label]
    assert seconds < 2 * ALLOWANCE * predicted["float32"]
