"""What activation energy adds to a training step: time and peak memory.

The study's MLP and CNN (100,000 parameters, MNIST shapes, batch 128, AdamW, one torch thread) are
trained on cross-entropy alone and on cross-entropy plus lambda times activation energy, as the
training loop does it. Blocks of steps of both alternate in one process (plain, energy, energy,
plain, ...), so that slow and fast phases of a shared machine fall on both alike; the overhead is
the median over pairs of blocks of energy / plain - 1, with a 95 % percentile bootstrap interval.
CPU time is given beside wall-clock time: it does not count what other programs took.

Peak memory is the high-water mark of the resident set over a few steps after warm-up, in a fresh
process for each measurement (Linux only); medians over processes.

    python benchmarks/energy_overhead.py --out results/benchmarks/energy_overhead.json
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from measured import machine, write_json
from minaction.data.dataset import DataSpec
from minaction.energy.functionals import ActivationEnergy
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective
from minaction.train.execution import Execution
from minaction.train.loop import TrainConfig, build_optimizer

SPEC = DataSpec(
    name="random", modality="vision", shape=(1, 28, 28), classes=10, class_names=tuple("0123456789")
)
BATCH, SAMPLES, LAM = 128, 4096, 1e-5
EXECUTIONS = {
    "float32": Execution(),
    "float32 compiled": Execution(compile=True),
    "bfloat16": Execution(precision="bfloat16", channels_last=True),
    "bfloat16 compiled": Execution(precision="bfloat16", compile=True, channels_last=True),
}
TIME_BAR = {"mlp": 0.05, "cnn": 0.10}
MEMORY_BAR = 0.02
WARM_UP_STEPS, MEMORY_STEPS = 4, 8


class Trainer:
    """Trains one model step by step, with or without the energy."""

    def __init__(self, model, execution, *, energy):
        self.model = build_model(model, SPEC, parameters=100_000)
        execution.prepare(self.model)
        self.model.train()
        self.optimizer = build_optimizer(self.model, TrainConfig())
        self.losses = execution.losses() if energy else plain_losses(execution)
        self.objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=LAM)
        self.generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(SAMPLES, *SPEC.shape, generator=self.generator)
        self.y = torch.randint(0, SPEC.classes, (SAMPLES,), generator=self.generator)

    def run(self, steps):
        for _ in range(steps):
            index = torch.randint(0, SAMPLES, (BATCH,), generator=self.generator)
            x, y = self.x.index_select(0, index), self.y.index_select(0, index)
            self.optimizer.zero_grad(set_to_none=True)
            lam = torch.tensor(self.objective.lam.value)
            *_, total = self.losses(self.objective, self.model, x, y, lam)
            total.backward()
            self.optimizer.step()


def plain_losses(execution):
    """Cross-entropy alone, in the same execution; takes what the loop's losses take."""

    def losses(_objective, model, x, y, _lam):
        with torch.autocast("cpu", torch.bfloat16, enabled=execution.precision == "bfloat16"):
            return (F.cross_entropy(model(x), y),)

    return torch.compile(losses, dynamic=False) if execution.compile else losses


def time_overheads(model, execution, pairs, block_seconds):
    """Wall-clock and CPU overheads of every pair of blocks, and the plain step's seconds."""
    trainers = {energy: Trainer(model, execution, energy=energy) for energy in (False, True)}
    for trainer in trainers.values():
        trainer.run(WARM_UP_STEPS)
    started = time.perf_counter()
    trainers[False].run(10)
    steps = max(2, round(10 * block_seconds / (time.perf_counter() - started)))
    wall, cpu, plain = [], [], []
    for pair in range(pairs):
        spent = {}
        for energy in (False, True) if pair % 2 else (True, False):
            clocks = time.perf_counter(), time.process_time()
            trainers[energy].run(steps)
            spent[energy] = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
        wall.append(spent[True][0] / spent[False][0] - 1)
        cpu.append(spent[True][1] / spent[False][1] - 1)
        plain.append(spent[False][0] / steps)
    return wall, cpu, statistics.median(plain)


def interval(values):
    """Median and its 95 % percentile bootstrap interval."""
    draws = np.random.default_rng(0).choice(values, size=(4000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


def peak_bytes(model, name, *, energy):
    """Peak resident bytes of a few steps, measured in a fresh process."""
    command = [sys.executable, __file__, "--peak", model, name, "energy" if energy else "plain"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def print_own_peak(model, name, kind):
    trainer = Trainer(model, EXECUTIONS[name], energy=kind == "energy")
    trainer.run(WARM_UP_STEPS)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    trainer.run(MEMORY_STEPS)
    kibibytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(1024 * int(kibibytes[1]))


def measure(model, name, arguments):
    wall, cpu, seconds = time_overheads(
        model, EXECUTIONS[name], arguments.pairs, arguments.block_seconds
    )
    peaks = {
        energy: statistics.median(
            peak_bytes(model, name, energy=energy) for _ in range(arguments.processes)
        )
        for energy in (False, True)
    }
    return {
        "model": model,
        "execution": name,
        "plain_step_seconds": seconds,
        "pairs": arguments.pairs,
        "time_overhead": interval(wall),
        "cpu_time_overhead": interval(cpu),
        "time_bar": TIME_BAR[model],
        "plain_peak_bytes": peaks[False],
        "memory_overhead": peaks[True] / peaks[False] - 1,
        "memory_bar": MEMORY_BAR,
    }


def show(row):
    def percent(values):
        return f"{values[0]:+6.1%} [{values[1]:+.1%}, {values[2]:+.1%}]"

    print(
        f"{row['model']:<4} {row['execution']:<18} {1000 * row['plain_step_seconds']:7.2f} ms   "
        f"time {percent(row['time_overhead'])}   CPU {percent(row['cpu_time_overhead'])}   "
        f"bar {row['time_bar']:.0%}   memory {row['memory_overhead']:+.1%} "
        f"of {row['plain_peak_bytes'] / 2**20:.0f} MiB, bar {row['memory_bar']:.0%}",
        flush=True,
    )


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    if arguments.peak:
        print_own_peak(*arguments.peak)
        return
    rows = []
    for model in arguments.models:
        for name in arguments.executions:
            rows.append(measure(model, name, arguments))
            show(rows[-1])
    if arguments.out:
        content = {**machine(), "threads": 1, "rows": rows}
        write_json(arguments.out, content)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"], choices=["mlp", "cnn"])
    parser.add_argument(
        "--executions", nargs="+", default=list(EXECUTIONS), choices=list(EXECUTIONS)
    )
    parser.add_argument("--pairs", type=int, default=60, help="pairs of blocks")
    parser.add_argument("--block-seconds", type=float, default=0.3, help="length of a block")
    parser.add_argument("--processes", type=int, default=3, help="processes per peak memory")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
