"""The blocks of docs/integrations.md and the examples run."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from recorded_study import TEXT
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def block_with(text):
    (block,) = (block for block in blocks("python") if text in block)
    return compile(block, "docs/integrations.md", "exec")


def test_every_python_block_is_run_below():
    assert len(blocks("python")) == 2


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_the_block_about_lightning_runs():
    pl = pytest.importorskip("lightning.pytorch", reason="needs Lightning")

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

        def training_step(self, batch):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    samples = [(torch.randn(4), torch.tensor(i % 3)) for i in range(8)]
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    names = {
        "Trainer": pl.Trainer,
        "module": Module(),
        "loader": DataLoader(samples, batch_size=4),
        "settings": {"accelerator": "cpu", "max_epochs": 1, **quiet},
    }
    exec(block_with("EnergyCallback"), names)
    assert names["trainer"].callback_metrics["minaction/energy"] > 0


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_the_block_about_transformers_runs(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    names = {
        "Trainer": transformers.Trainer,
        "model": transformers.BertForSequenceClassification(config),
        "args": transformers.TrainingArguments(
            str(tmp_path),
            max_steps=2,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        "dataset": [{"input_ids": torch.randint(0, 9, (4,)), "labels": i % 2} for i in range(8)],
    }
    exec(block_with("add_energy"), names)
    assert names["trainer"].state.log_history[0]["minaction/energy"] > 0


def test_the_extras_named_are_those_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"minaction\[(\w+)\]", PAGE))
    assert named == {"lightning", "transformers", "mlflow", "tensorboard"}
    assert named <= project["optional-dependencies"].keys()


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    pytest.importorskip("mlflow", reason="needs mlflow")
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    (tmp_path / "study.toml").write_text(TEXT)
    lines = [line for block in blocks("sh") for line in block.strip().split("\n")]
    assert len(lines) == 4
    for line in lines:
        program, *arguments = line.split()
        assert program == "minaction"
        done = subprocess.run(
            [sys.executable, "-m", "minaction", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_the_lightning_example_runs():
    pytest.importorskip("lightning", reason="needs Lightning")
    logged = runpy.run_path(str(ROOT / "examples" / "lightning_callback.py"))["main"]()
    assert logged["accuracy"] > 0.8
    assert logged["minaction/energy"] > 0
    assert 0 < logged["minaction/zero_fraction"] < 1


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_the_transformers_example_runs():
    pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    logged = runpy.run_path(str(ROOT / "examples" / "huggingface_trainer.py"))["main"]()
    assert logged["loss"] == pytest.approx(
        logged["minaction/task"] + 1e-3 * logged["minaction/energy"], rel=0.5
    )
    assert 0 < logged["minaction/zero_fraction"] < 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*pin_memory")
@pytest.mark.filterwarnings("ignore:.*script_method")
def test_the_example_of_a_smaller_transformer_runs(capsys):
    pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    found = runpy.run_path(str(ROOT / "examples" / "smaller_transformer.py"))["main"]()
    assert found.exact
    assert found.macs_after < found.macs_before
    said = capsys.readouterr().out
    assert float(re.search(r"test accuracy (\S+),", said)[1]) > 0.4


@pytest.mark.parametrize("name", ["lightning_callback", "huggingface_trainer"])
def test_three_lines_of_an_example_are_added(name):
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert re.findall(r"  # (\d)$", text, re.MULTILINE) == ["1", "2", "3"]


def test_what_it_costs_is_what_was_measured():
    path = ROOT / "results" / "benchmarks" / "integration_overhead.json"
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 4
    for row in rows:
        step = 1000 * row["plain_step_cpu_seconds"]
        median, low, high = (f"{value:+.1%}" for value in row["cpu_time_overhead"])
        line = f"| {row['trainer']}, {row['model']} | {step:.1f} | {median} [{low}, {high}] |"
        assert line in PAGE
