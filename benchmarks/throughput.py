"""Runs per hour of one sweep: local processes, Ray, stacked runs, and Lightning.

Sweeps of an MLP and of a CNN on mnist, plain float32, each program whole, start-up and evaluation
included. In each round every program has its turn, in an order that changes, so that slow and fast
phases of the machine fall on all alike; ratios are taken within rounds.

    python benchmarks/throughput.py --out results/scale/throughput.json

Models can be measured in calls of their own (`--models cnn`): an existing file keeps the others'
results. It needs `pip install -e '.[ray,lightning]'` and two CPUs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from interleaved import own_threads
from measured import machine, spread, write_json

LAM = (0.0, 1e-4)
SWEEPS = {"mlp": {"epochs": 5, "seeds": 8}, "cnn": {"epochs": 2, "seeds": 3}}
STUDY = """
[study]
name = "throughput"
seeds = {seeds}
[factors]
dataset = "mnist"
model = "{model}"
lam = [{lam}]
[train]
epochs = {epochs}
[execution]
precision = "float32"
compile = false
channels_last = false
"""
PROGRAMS = {
    "lightning": None,
    "local 1": ["--workers", "1", "--fleet", "off"],
    "local 2": ["--workers", "2", "--fleet", "off"],
    "ray 2": ["--workers", "2", "--executor", "ray"],
    "stacked 2": ["--workers", "2", "--fleet", "on"],
}


def main():
    arguments = parse_arguments()
    here = {**machine(), "note": arguments.note}
    results = kept_results(arguments)
    for model in arguments.models:
        results.append(measure(model, arguments.rounds))
        if arguments.out:
            write_json(arguments.out, {**here, "results": results})


def kept_results(arguments):
    """What an earlier call measured of other models."""
    if not (arguments.out and arguments.out.exists()):
        return []
    results = json.loads(arguments.out.read_text())["results"]
    return [result for result in results if result["model"] not in arguments.models]


def measure(model, rounds):
    """Give every program a turn in each round."""
    sweep = SWEEPS[model]
    runs = len(LAM) * sweep["seeds"]
    found = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        shift = number % len(PROGRAMS)
        for name in itertools.chain(list(PROGRAMS)[shift:], list(PROGRAMS)[:shift]):
            found[name].append(round(seconds(name, model, sweep), 2))
            print(f"{model}, round {number + 1}: {name} {found[name][-1]} s", flush=True)
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    programs = {
        name: {
            "seconds": times,
            "runs_per_hour": spread([3600 * runs / took for took in times]),
            "speed_over_lightning": over(found["lightning"], times),
            "speed_over_local_1": over(found["local 1"], times),
            "speed_over_local_2": over(found["local 2"], times),
        }
        for name, times in found.items()
    }
    return {"model": model, "dataset": "mnist", "runs": runs, **sweep, "programs": programs}


def seconds(name, model, sweep):
    """Return what a program takes for the whole sweep."""
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(name, model, sweep, Path(folder))
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=own_threads())
        took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return took


def command_of(name, model, sweep, folder):
    if name == "lightning":
        script = Path(__file__).with_name("lightning_runs.py")
        options = ["--dataset", "mnist", "--model", model, "--out", str(folder / "runs.jsonl")]
        options += ["--epochs", str(sweep["epochs"]), "--seeds", str(sweep["seeds"])]
        return [sys.executable, str(script), *options, "--lam", *map(str, LAM)]
    spec = folder / "study.toml"
    spec.write_text(STUDY.format(model=model, lam=", ".join(map(str, LAM)), **sweep))
    study = [sys.executable, "-m", "minaction", "study", "run", str(spec)]
    return [*study, "--out", str(folder / "study"), *PROGRAMS[name]]


def over(slow, fast):
    return spread([one / other for one, other in zip(slow, fast, strict=True)])


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="what to say of the conditions")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
