"""A study whose runs are stacked on a GPU."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from minaction.study.journal import latest_records

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
