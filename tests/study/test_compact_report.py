"""The report on compacted networks: by hand on made-up rows, and on what a real study kept."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from real_study import tasks_in
from scipy import stats

from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, Record, RunStatus
from minaction.study.read_study import parse_study

SCRIPT = Path(__file__).parents[2] / "results" / "compact_report.py"
STUDY = """
[study]
name = "small"
seeds = 2
[factors]
dataset = "digits"
model = "mlp"
energy = "unit_macs"
lam = [0, "budget"]
[train]
epochs = 4
batch_size = 32
lr = 3e-3
parameters = 5_000
proximal = true
save_weights = true
[budget]
margin = 0.1
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compact_report", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its processes import what it made by this name
    sys.path.insert(0, str(SCRIPT.parent))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPT.parent))
    del sys.modules[spec.name]


def made_up(seed):
    """A row as the script makes it."""
    rng = np.random.default_rng(seed)
    dense, tuned, compacted = rng.uniform(0.9, 0.92, 3)
    return {
        "dataset": "mnist", "model": "cnn", "parameters": 100, "seed": seed,
        "units": {"a": [16, 4 + seed], "b": [10, 10]}, "exact": 3, "approximate": seed,
        "macs": [1000.0, 100.0 * (seed + 1)], "bytes": [4000, 500],
        "accuracy": {"dense": dense, "dense_tuned": tuned, "trained": 0.9, "removed": 0.8,
                     "compacted": compacted},
        "latency": [{"runtime": "pytorch", "batch": 256, "before_seconds": 3e-3,
                     "after_seconds": 1e-3, "speedup": 3.0 + seed}],
    }  # fmt: skip


def test_the_numbers_equal_those_by_hand(script):
    rows = [made_up(seed) for seed in range(4)]
    found = script.summary(rows, 0.005)
    accuracy = pd.DataFrame([row["accuracy"] for row in rows])
    for name in ("dense", "dense_tuned"):
        change = 100 * (accuracy["compacted"] - accuracy[name])
        low, high = stats.t.interval(0.95, 3, change.mean(), stats.sem(change))
        interval = found["change_pp"][name]
        assert [interval[key] for key in ("estimate", "low", "high")] == pytest.approx(
            [change.mean(), low, high]
        )
        assert found["non_inferior"][name] is bool(low > -0.5)
    assert found["seeds"] == 4
    assert found["macs_fold"]["estimate"] == pytest.approx(10 / 24**0.25)
    (latency,) = found["latency"]
    assert latency["speedup"]["estimate"] == pytest.approx((3 * 4 * 5 * 6) ** 0.25)
    assert found["units"]["a"]["after"]["estimate"] == 5.5


def test_one_seed_claims_nothing(script):
    found = script.summary([made_up(0)], 0.005)
    assert found["non_inferior"] == {"dense": None, "dense_tuned": None}


def test_cells_stay_apart(script):
    rows = [made_up(0), made_up(1) | {"dataset": "digits"}, made_up(2)]
    assert [[row["seed"] for row in cell] for cell in script.cells_of(rows)] == [[0, 2], [1]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A study whose second seed's budget run has collapsed."""
    folder, study = tmp_path_factory.mktemp("study"), parse_study(STUDY, source="study.toml")
    open_study_directory(folder, study)
    plain = {"precision": "float32", "compile": False, "channels_last": False}
    baseline = None
    shared = tmp_path_factory.mktemp("worker") / "shared"
    with Journal(folder) as journal, tasks_in(shared) as tasks:
        for config in runs(study):
            weights = folder / "models" / f"{run_id(config)}.safetensors"
            task = {"task": "run", "config": config, "execution": plain, "weights": str(weights)}
            if config["lam"]:
                task["baseline"] = baseline
            record = Record.from_line(json.dumps(tasks.do(task)["record"]))
            if not config["lam"] and not config["seed"]:
                baseline = {
                    "run_id": record.run_id,
                    "status": record.status,
                    "steps": [entry["step"] for entry in record.history],
                    "accuracies": [entry["val_accuracy"] for entry in record.history],
                }
            if config["lam"] and config["seed"]:
                record = Record(**{**vars(record), "status": RunStatus.COLLAPSED})
            journal.append(record)
    return folder


@pytest.mark.slow
def test_a_real_study_becomes_tables(script, directory):
    script.main([f"--study={directory}", "--fine-tune=2", "--pairs=5", "--workers=1"])
    found = json.loads((directory / "compaction.json").read_text())
    assert found["not_compared"] == 1
    (row,), (cell,) = found["rows"], found["cells"]
    assert row["exact"] > 0
    assert row["macs"][1] < row["macs"][0]
    assert min(row["accuracy"].values()) > 0.5
    assert {(e["runtime"], e["batch"]) for e in cell["latency"]} == {
        (runtime, batch) for runtime in ("pytorch", "onnxruntime") for batch in (256, 1)
    }
    page = (directory / "compaction.md").read_text()
    assert "1 budget runs have no pair" in page
    assert f"{100 * row['accuracy']['compacted']:.2f} %" in page


def test_a_study_without_pairs_is_one_line(script, tmp_path, capsys):
    open_study_directory(tmp_path, parse_study(STUDY, source="study.toml"))
    with pytest.raises(SystemExit) as left:
        script.main([f"--study={tmp_path}"])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
