"""Seconds and peak memory of `minaction analyse` on a journal of 2,203 runs, start-up included.

The journal is synthetic: five data sets, nine models, five lambdas and ten seeds, of which 47 runs
are not done, 30 collapsed; histories of 20 validations, four layers. Each call is a fresh process
with one thread. Seconds of the CPU stand beside those of the clock, which others on the machine
lengthen. Linux and macOS.

    python benchmarks/analyse_speed.py --out results/benchmarks/analyse_speed.json
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measured import machine, write_json
from minaction.study.design import run_id, runs
from minaction.study.directory import open_study_directory
from minaction.study.journal import JOURNAL_NAME, Record, RunStatus
from minaction.study.read_study import parse_study
from minaction.study.study_file import Study

STUDY = """
[study]
name = "as-large-as-the-reference"
seeds = 10
[factors]
dataset = ["mnist", "fashion-mnist", "20newsgroups", "n-mnist", "myo-readings"]
model = [
    "mlp", "cnn", "gru", "tcn", "transformer", "lif-mlp", "lif-cnn", "dual-pathway", "lagrangian",
]
lam = [0, 1e-5, 1e-4, 1e-3, 1e-2]
"""
RUNS = 2203
COLLAPSED = 30
TEST_SAMPLES = 10_000
FORMATS = {"text": [], "json": ["--json"]}


def main():
    arguments = parse_arguments()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "study"
        write_journal(directory)
        for name, options in FORMATS.items():
            calls = [call(directory, options) for _ in range(arguments.repeats)]
            results[name] = {key: [one[key] for one in calls] for key in calls[0]}
            wall, cpu = results[name]["seconds"], results[name]["cpu_seconds"]
            peak = max(results[name]["peak_bytes"])
            print(
                f"{name:<5} median {statistics.median(wall):5.2f} s, largest {max(wall):5.2f} s; "
                f"of the CPU {statistics.median(cpu):5.2f} s (n {len(wall)})   "
                f"peak {peak / 2**20:4.0f} MiB"
            )
    if arguments.out:
        content = {
            **machine(),
            "runs": RUNS,
            "results": results,
        }
        write_json(arguments.out, content)


def call(directory, options):
    command = [sys.executable, "-m", "minaction", "analyse", str(directory), *options]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=alone)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_bytes": usage.ru_maxrss * unit,
    }


def write_journal(directory):
    study = parse_study(STUDY, source="benchmark")
    open_study_directory(directory, study)
    with (directory / JOURNAL_NAME).open("w", encoding="utf-8") as file:
        file.writelines(f"{record.to_line()}\n" for record in records(study))


def records(study: Study) -> Iterator[Record]:
    generator = random.Random(0)
    planned = runs(study)[:RUNS]
    collapsed = set(generator.sample([i for i, c in enumerate(planned) if c["lam"]], COLLAPSED))
    for i, config in enumerate(planned):
        cell = random.Random(f"{config['dataset']} {config['model']}")
        best, steps = 0.85 + 0.12 * cell.random(), cell.randrange(200, 1500)
        strength = math.log10(float(config["lam"])) + 6 if config["lam"] else 0.0
        accuracy = best - 0.002 * strength + generator.gauss(0, 0.002)
        accuracy = 0.1 if i in collapsed else round(accuracy * TEST_SAMPLES) / TEST_SAMPLES
        energy = 5000 / 10 ** (0.7 * strength) * math.exp(generator.gauss(0, 0.1))
        measured = {
            "energy_activation": energy,
            "energy_gauge_fixed": energy**0.7,
            "energy_l1": 3 * energy**0.5,
            "zero_fraction": 0.5,
            "silent_fraction": 0.1,
        }
        yield Record(
            run_id=run_id(config),
            status=RunStatus.COLLAPSED if i in collapsed else RunStatus.OK,
            config=dict(config),
            metrics=measured
            | {
                "test_accuracy": accuracy,
                "val_accuracy": accuracy + 0.001,
                "gauge_output_difference": 1e-7,
                "train_macs_per_step": cell.randrange(10**6, 10**8),
                "train_seconds": 30.0,
            },
            layers={f"net.{n}": {"units": 64, **measured} for n in range(4)},
            history=[
                {
                    "epoch": n,
                    "step": 100 * n,
                    "train_seconds": 1.5 * n,
                    "train_loss": 0.3,
                    "val_accuracy": accuracy * (1 - math.exp(-100 * n / steps * 3)),
                    "val_loss": 0.3,
                }
                for n in range(1, 21)
            ],
            provenance={
                "versions": {"minaction": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
                "device": "cpu",
                "threads": 1,
                "code_version": "0.1.0",
                "study_sha256": study.sha256,
                "analysis_sha256": study.analysis_sha256,
                "started": "2026-05-04T10:00:00+00:00",
            },
        )


def parse_arguments():
    parser = argparse.ArgumentParser(description="Time `minaction analyse` on 2,203 runs.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
