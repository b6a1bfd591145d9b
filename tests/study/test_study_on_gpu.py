"""A study whose runs are stacked on a GPU, and one that does not fit into it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from real_study import study_of

from minaction.commands.plan import plan_lines
from minaction.data.load import load_dataset
from minaction.study.design import runs
from minaction.study.journal import latest_records
from minaction.study.plan import plan_study
from minaction.study.stacked_runs import Request, run_stacked
from minaction.train.execution import Execution
from minaction.train.memory import Halving

pytestmark = pytest.mark.gpu

STUDY = """
[study]
name = "stacked"
seeds = 4
[factors]
dataset = ["digits"]
model = ["mlp", "cnn", "gru"]
energy = ["activation"]
lam = [0, 1e-4]
[train]
epochs = 4
parameters = 5_000
"""


def test_a_study_on_the_gpu_has_the_results_of_one_on_the_cpu(tmp_path):
    spec = tmp_path / "study.toml"
    spec.write_text(STUDY)
    accuracies = {}
    for mode in ("on", "off"):
        out = tmp_path / mode
        done = subprocess.run(
            [sys.executable, "-m", "minaction", "study", "run", str(spec), "--out", str(out),
             "--fleet", mode, "--workers", "2"],
            capture_output=True, text=True,
        )  # fmt: skip
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        records = latest_records(out)
        assert len(records) == 24
        accuracies[mode] = {record.run_id: record.metrics["test_accuracy"] for record in records}
        stacked = [r for r in records if r.provenance.get("stacked", {}).get("runs", 1) > 1]
        assert len(stacked) == (16 if mode == "on" else 0)
        for record in stacked:
            assert record.provenance["device"] == torch.cuda.get_device_name()
    for key, accuracy in accuracies["on"].items():
        assert accuracy == pytest.approx(accuracies["off"][key], abs=0.03)


def test_a_plan_says_what_the_study_takes_on_the_gpu():
    plan = plan_study(study_of(seeds=40, epochs=100, train="parameters = 2000"), print)
    assert plan.stacked.gpu == torch.cuda.get_device_name()
    assert plan.stacked.sizes["mlp on digits"] > 1
    assert plan.stacked.seconds < max(cost.seconds for cost in plan.costs)
    assert any(torch.cuda.get_device_name() in line for line in plan_lines(plan))


@pytest.fixture
def little_memory():
    """Half a gibibyte: weights, moments and gradients of the next test take more."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.5 * 2**30 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("little_memory")
def test_a_stack_that_memory_does_not_suffice_for_is_halved():
    configs = runs(study_of(seeds=16, train="parameters = 1_000_000"))
    halving = Halving()
    requests = [Request(config=config) for config in configs]
    outcomes = dict(run_stacked(requests, load_dataset("digits"), Execution(), halving))
    assert halving.largest is not None
    assert halving.largest < len(requests)
    assert sorted(outcomes) == list(range(len(requests)))
    together = {outcome.record.provenance["stacked"]["runs"] for outcome in outcomes.values()}
    assert max(together) <= halving.largest
