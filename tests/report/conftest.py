"""Studies with plausible journals, written through the real writer."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import replace

import pytest

from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import Journal, Record, RunStatus
from minaction.study.read_study import parse_study

SWEEP = """
[study]
name = "lambda-sweep"
seeds = {seeds}
[factors]
dataset = ["mnist", "fashion-mnist"]
model = ["mlp", "cnn"]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
"""

SMALL = """
[study]
name = "small"
seeds = {seeds}
[factors]
dataset = "digits"
model = "mlp"
lam = [0, 1e-3]
"""


BUDGETED = """
[study]
name = "budgeted"
seeds = {seeds}
[factors]
dataset = "digits"
model = "mlp"
lam = [0, 1e-3, "budget"]
"""

NEW_METRICS = ("energy_gauge_fixed", "energy_gauge_fixed_reason", "gauge_output_difference")
NEW_LAYER_KEYS = ("energy_gauge_fixed", "gauge_reason")


def plausible_record(study, config):
    """A record as training would leave it, a function of the configuration alone."""
    name = run_id(config)
    rng = random.Random(name)
    seed = random.Random(f"{config['dataset']}{config['model']}{config['seed']}").gauss(0, 1)
    best = {"mnist": 0.99, "fashion-mnist": 0.905, "digits": 0.97, "docstrings": 0.8}[
        config["dataset"]
    ]
    best -= 0.012 if config["model"] == "mlp" else 0.0
    budget = config["lam"] == "budget"
    lam = 10 ** rng.gauss(-2.5, 0.1) if budget else config["lam"]
    strength = max(0.0, 6 + math.log10(lam)) if lam else 0.0
    accuracy = best - 0.0009 * strength**1.2 + 0.001 * seed + 0.0005 * rng.gauss(0, 1)
    noise = math.exp(0.1 * seed + 0.03 * rng.gauss(0, 1))
    energy, gauge_fixed = 5918 / 10 ** (0.8 * strength) * noise, 3100 / 10 ** (0.45 * strength)
    gauge_fixed *= noise * math.exp(0.02 * rng.gauss(0, 1))
    shares = {"net.10": 0.4, "net.2": 0.6}
    metrics = {
        "test_accuracy": accuracy - 0.0005,
        "val_accuracy": accuracy,
        "test_loss": 0.03,
        "val_loss": 0.03,
        "train_loss": 0.01,
        "energy_activation": energy,
        "energy_l1": energy**0.5 * 3,
        "energy_free": energy / 2,
        "energy_gauge_fixed": gauge_fixed,
        "energy_gauge_fixed_reason": None,
        "gauge_output_difference": 2e-7 * rng.random(),
        "zero_fraction": min(0.99, 0.5 + 0.1 * strength),
        "silent_fraction": min(0.9, 0.02 + 0.15 * strength),
        "parameters": 99876,
        "steps": 2110,
        "train_seconds": 30 + 10 * rng.random(),
    }
    if budget:
        metrics |= {"lam_final": 1.1 * lam, "shadow_price": lam}
    baseline = {key: level for key, level in config.items() if key not in ("margin", "aim")}
    return Record(
        run_id=name,
        status=RunStatus.OK,
        config=dict(config),
        metrics=metrics,
        layers={
            layer: {
                "energy_activation": share * energy,
                "energy_gauge_fixed": share * gauge_fixed,
                "zero_fraction": 0.5,
                "silent_fraction": 0.1,
                "units": 112,
            }
            for layer, share in shares.items()
        },
        history=[{"epoch": 1, "train_loss": 0.3, "lam": lam}],
        provenance={
            "versions": {"minaction": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
            "device": "cpu",
            "cpu": "A processor with 2 cores",
            "threads": 1,
            "data_sha256": hashlib.sha256(config["dataset"].encode()).hexdigest(),
            "code_version": "0.1.0",
            "study_sha256": study.sha256,
            "analysis_sha256": study.analysis_sha256,
            "execution": {"precision": "bfloat16", "compile": True, "channels_last": True},
            "started": f"2026-05-04T10:{rng.randrange(60):02d}:00+00:00",
            "worker": rng.randrange(2),
            **({"baseline": run_id({**baseline, "lam": 0.0, "seed": 0})} if budget else {}),
        },
    )


class StudyMaker:
    """Makes studies, their records and directories."""

    sweep, small, budgeted = SWEEP, SMALL, BUDGETED

    def __init__(self, directory):
        self.directory = directory

    def study(self, text=SMALL, seeds=4):
        return parse_study(text.format(seeds=seeds), source="test")

    def records(self, study, change=None):
        """One record a run; `change(record)` returns it, another one, or None to leave it out."""
        made = [plausible_record(study, config) for config in runs(study)]
        changed = [change(record) for record in made] if change else made
        return [record for record in changed if record is not None]

    def write(self, study, records, name="study"):
        """A study directory as `minaction study run` leaves it."""
        directory = self.directory / name
        open_study_directory(directory, study)
        with Journal(directory) as journal:
            for record in records:
                journal.append(record)
        return directory

    def ended(self, record, status, error=None):
        """The record of the same run, had it ended otherwise."""
        metrics = dict.fromkeys(record.metrics) if status != "collapsed" else record.metrics
        return replace(record, status=RunStatus(status), metrics=metrics, error=error)

    def old(self, record):
        """The record as it was before gauge-fixed energy was measured."""
        metrics = {k: v for k, v in record.metrics.items() if k not in NEW_METRICS}
        layers = {
            name: {k: v for k, v in layer.items() if k not in NEW_LAYER_KEYS}
            for name, layer in record.layers.items()
        }
        return replace(record, metrics=metrics, layers=layers)

    def validated(self, record, reached=2):
        """The record with a history of three validations, the target met at the given one."""
        final = record.metrics["val_accuracy"]
        seed = record.config["seed"]
        history = [
            {
                "epoch": number,
                "step": 100 * number + seed,
                "train_seconds": 2.0 * number + seed,
                "val_accuracy": final if number >= reached else 0.5 * final,
            }
            for number in (1, 2, 3)
        ]
        return replace(record, history=history)

    def uncovered(self, record, reason):
        """The record of a network that gauge fixing cannot pass through."""
        metrics = record.metrics | {
            "energy_gauge_fixed": None,
            "energy_gauge_fixed_reason": reason,
            "gauge_output_difference": None,
        }
        layers = {
            name: layer | {"energy_gauge_fixed": None, "gauge_reason": reason}
            for name, layer in record.layers.items()
        }
        return replace(record, metrics=metrics, layers=layers)


@pytest.fixture
def make(tmp_path):
    return StudyMaker(tmp_path)


@pytest.fixture(scope="module")
def make_once(tmp_path_factory):
    return StudyMaker(tmp_path_factory.mktemp("studies"))
