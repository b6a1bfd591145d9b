from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_study import PLAIN, comparable, study_of, task_of

from minaction.data.load import load_dataset
from minaction.errors import InputError
from minaction.study import stacked_runs
from minaction.study.design import runs
from minaction.study.record import RunStatus
from minaction.study.run import run_one
from minaction.study.stacked_runs import Request, run_stacked
from minaction.train.execution import Execution
from minaction.train.memory import Halving

CONFIGS = runs(study_of(seeds=2, model='"mlp"\nlr = [1e-3, 3e-3]', train="parameters = 2_000"))
BUDGET = {"lam": "budget", "margin": 0.2, "aim": 0.5, "validate_every": 9, "epochs": 2}
BASELINE = {"run_id": "0", "status": RunStatus.OK, "steps": [9], "accuracies": [0.3]}
DISCRETE = ("accuracy", "fraction", "macs", "acs")
"""Metrics that count: one unit that falls silent or one sample that changes sides is a jump."""


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def stacked(requests, dataset):
    outcomes = dict(run_stacked(requests, dataset, Execution(), Halving()))
    return [outcomes[number] for number in range(len(requests))]


def assert_same_but_for_rounding(found, expected):
    """Both records say the same within what float32 leaves."""
    one, other = comparable(found), comparable(expected)
    metrics, wanted = one.pop("metrics"), other.pop("metrics")
    history, past = one.pop("history"), other.pop("history")
    assert one.pop("layers").keys() == other.pop("layers").keys()
    assert one == other
    assert metrics.keys() == wanted.keys()
    for name, value in wanted.items():
        if name == "gauge_output_difference":  # rounding itself
            assert metrics[name] < 1e-4
        elif isinstance(value, float):
            loose = any(word in name for word in DISCRETE)
            assert metrics[name] == pytest.approx(value, rel=0.02 if loose else 1e-4), name
        else:
            assert metrics[name] == value, name
    for entry, before in zip(history, past, strict=True):
        assert list(entry) == list(before)
        assert entry == pytest.approx(before, rel=1e-4, abs=0.01)


def test_records_are_those_of_single_runs(digits):
    found = stacked([Request(config=config) for config in CONFIGS], digits)
    for config, finished in zip(CONFIGS, found, strict=True):
        expected = run_one(config, digits, Execution()).record
        assert_same_but_for_rounding(finished.record, expected)
        provenance = dict(finished.record.provenance)
        assert provenance.pop("stacked") == {"runs": 8, "seconds_attributed": True}
        assert provenance.keys() == expected.provenance.keys()
        assert provenance["execution"] == PLAIN


def test_budgets_are_stacked_and_a_run_that_cannot_be_made_fails_alone(digits):
    requests = [
        Request(config={**CONFIGS[0], **BUDGET, "seed": seed}, baseline=baseline)
        for seed, baseline in enumerate([None, BASELINE, BASELINE])
    ]
    failed, *found = stacked(requests, digits)
    assert isinstance(failed, InputError)
    assert "the baseline of this budget" in str(failed)
    for request, finished in zip(requests[1:], found, strict=True):
        expected = run_one(request.config, digits, Execution(), BASELINE).record
        metrics = finished.record.metrics
        assert metrics["shadow_price"] == pytest.approx(expected.metrics["shadow_price"], rel=1e-3)
        assert metrics["lam_final"] == finished.record.history[-1]["lam"]
        assert finished.record.provenance["baseline"] == "0"
        assert finished.record.provenance["stacked"]["runs"] == 2


def test_a_run_that_cannot_be_measured_takes_no_other_with_it(tasks, monkeypatch):
    measure = stacked_runs.finish_run

    def breaking(run, *arguments):
        if run.config["seed"] == 0:
            raise ZeroDivisionError("of this run alone")
        return measure(run, *arguments)

    monkeypatch.setattr(stacked_runs, "finish_run", breaking)
    runs_of = [task_of({**CONFIGS[0], "seed": seed}) for seed in range(3)]
    answers = {a.pop("run"): a for a in tasks.answers({"task": "stack", "runs": runs_of})}
    assert answers[0]["error"].startswith("ZeroDivisionError: of this run alone (")
    assert [answers[n]["record"]["config"]["seed"] for n in (1, 2)] == [1, 2]


def test_a_diverged_run_has_the_record_it_has_alone(digits):
    configs = [CONFIGS[0], {**CONFIGS[0], "lr": 1e15}]
    fine, diverged = stacked([Request(config=config) for config in configs], digits)
    expected = run_one(configs[1], digits, Execution()).record
    assert fine.record.status is RunStatus.OK
    assert diverged.record.status is expected.status is RunStatus.DIVERGED
    assert diverged.record.metrics.keys() == expected.metrics.keys()
    assert diverged.record.metrics["steps"] == expected.metrics["steps"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "gru", "epochs": 1}, "GRU cannot be stacked: Batching rule not implemented"),
        (
            {"energy": "unit_macs", "lam": 1.0, "proximal": True},
            "proximal steps take units out of one network at a time",
        ),
    ],
)
def test_what_cannot_be_stacked_runs_alone_and_says_why(digits, change, reason):
    config = {**CONFIGS[0], **change, "epochs": 1}
    one, other = stacked([Request(config=config), Request(config={**config, "seed": 1})], digits)
    assert comparable(one.record) == comparable(run_one(config, digits, Execution()).record)
    for finished in (one, other):
        assert finished.record.provenance["stacked"]["runs"] == 1
        assert finished.record.provenance["stacked"]["reason"].startswith(reason)


def test_a_worker_answers_for_each_run_of_a_stack_also_where_something_breaks(tasks, tmp_path):
    configs = [*CONFIGS[:2], {**CONFIGS[0], "parameters": 10}]
    weights = [tmp_path / f"{number}.safetensors" for number in range(3)]
    runs_of = [task_of(c, weights=str(w)) for c, w in zip(configs, weights, strict=True)]
    answers = {a.pop("run"): a for a in tasks.answers({"task": "stack", "runs": runs_of})}
    assert answers.keys() == {0, 1, 2}
    assert [answers[n]["record"]["status"] for n in (0, 1)] == ["ok", "ok"]
    assert "cannot meet the budget of 10 parameters" in answers[2]["error"]
    assert [path.exists() for path in weights] == [True, True, False]

    unknown = [task_of({**config, "dataset": "digit"}) for config in CONFIGS[:2]]
    answers = list(tasks.answers({"task": "stack", "runs": unknown}))
    assert [answer["run"] for answer in answers] == [0, 1]
    assert all("unknown data set 'digit'" in answer["error"] for answer in answers)


SHORT_OF_MEMORY = """
import json, resource, sys
sys.path[:0] = [sys.argv[1]]
import torch
torch.set_num_threads(1)
from test_stacked_runs import CONFIGS
from minaction.data.load import load_dataset
from minaction.study.stacked_runs import Request, run_stacked
from minaction.train.execution import Execution
from minaction.train.memory import Halving

digits, execution = load_dataset("digits"), Execution()
config = {**CONFIGS[0], "steps": 1}
del config["epochs"]
requests = [Request(config={**config, "seed": seed}) for seed in range(8)]
list(run_stacked(requests[:2], digits, execution, Halving()))  # all that is needed once is loaded
large = {"parameters": 400_000, "batch_size": 1000}
requests = [Request(config={**request.config, **large}) for request in requests]
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (int(sys.argv[2]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
halving, found = Halving(), {}
for number, outcome in run_stacked(requests, digits, execution, halving):
    record = getattr(outcome, "record", None)
    found[number] = record.provenance["stacked"]["runs"] if record else str(outcome)
json.dump([halving.largest, [found[number] for number in range(8)]], sys.stdout)
"""


def short_of_memory(mebibytes):
    """Stack 8 large runs in a process that may take so much more memory; what became of them."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(Path(__file__).parent), str(mebibytes)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_out_of_memory_halves_the_stack_and_all_runs_are_made():
    largest, found = short_of_memory(120)
    assert largest in (1, 2, 4)
    assert set(found) <= {1, 2, 4}


@pytest.mark.slow
def test_out_of_memory_even_alone_fails_with_the_reason():
    largest, found = short_of_memory(5)
    assert largest == 1
    for said in found:
        assert said.startswith("out of memory with 8, 4, 2, 1 at once (")
        assert said.endswith("; choose a smaller batch or network")
