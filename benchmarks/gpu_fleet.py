r"""Stacked runs against one run at a time, on a CUDA GPU: the same weights, and how much faster.

First four runs are trained for 200 steps in float64, alone and as a fleet, and their weights
compared. Then blocks of steps of one run and of a stack alternate, as the training loop and the
fleet do them in float32 (lambda times activation energy included); the speed-up is the median
seconds of a step alone over the median seconds of a stacked step for each of its runs. A second
column has the same without CUDA graphs. On a CPU seconds are those of one thread's CPU time, which
does not count what other programs took.

    python benchmarks/gpu_fleet.py

It takes under 8 minutes and writes `results/scale/<name of the GPU>.json`; without a GPU it ends
with one line. `--device cpu` does the same on a CPU, by default with small networks, and writes
where `--out` says:

    python benchmarks/gpu_fleet.py --device cpu --networks "small mlp" "small cnn" mlp cnn \
        --runs 4 16 64 --checked-steps 20 --blocks 15 --out results/benchmarks/stacked_steps.json

Exits with 1 where weights differ.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from measured import machine, write_json
from minaction.data.dataset import Dataset, DataSpec, Split
from minaction.energy.functionals import ActivationEnergy
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective
from minaction.train.execution import Execution
from minaction.train.fleet import FleetRun, train_fleet
from minaction.train.loop import TrainConfig, build_optimizer, train, training_steps
from minaction.train.memory import is_out_of_memory
from minaction.train.stack import SAMPLE, Stack, stacking_conditions

SAMPLES, LAM, GOAL = 8192, 1e-5, 15
CHECKED_RUNS, TOLERANCE = 4, 1e-9
BLOCK_SECONDS, SECONDS = 0.2, 420


@dataclass(frozen=True)
class Network:
    """What is trained: a model of the catalogue, the side of its images, its size, its batch."""

    model: str
    side: int
    parameters: int
    batch: int

    def data(self):
        """Images of noise, on the CPU."""
        generator = torch.Generator().manual_seed(0)
        spec = DataSpec(
            name="random",
            modality="vision",
            shape=(1, self.side, self.side),
            classes=10,
            class_names=tuple("0123456789"),
        )

        def split(count):
            x = torch.randn(count, *spec.shape, generator=generator)
            return Split(x=x, y=torch.arange(count) % 10)

        return Dataset.of(train=split(SAMPLES), validation=split(500), test=split(10), spec=spec)


NETWORKS = {
    "mlp": Network("mlp", 28, 100_000, 128),
    "cnn": Network("cnn", 28, 100_000, 128),
    "small mlp": Network("mlp", 8, 5_000, 32),
    "small cnn": Network("cnn", 8, 5_000, 32),
}


class Doubled(torch.nn.Module):
    """A network in float64 behind float32 samples."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward(self, x):
        return self.network(x.double())


def moved(dataset, device):
    """A data set on a device."""
    splits = {
        name: Split(x=split.x.to(device), y=split.y.to(device))
        for name, split in dataset.splits().items()
    }
    return replace(dataset, **splits)


def largest_difference(network, device, steps):
    """Of the weights of runs trained in float64 alone and as a fleet."""
    dataset = network.data()
    alone, together = (
        [
            FleetRun(
                model=Doubled(
                    build_model(
                        network.model, dataset.spec, parameters=network.parameters, seed=seed
                    )
                ),
                objective=EnergyObjective(F.cross_entropy, ActivationEnergy(), seed * LAM),
                config=TrainConfig(
                    steps=steps,
                    validate_every=100,
                    batch_size=network.batch,
                    lr=1e-3 * (1 + seed % 2),
                    seed=seed,
                ),
            )
            for seed in range(CHECKED_RUNS)
        ]
        for _ in range(2)
    )
    here = moved(dataset, device)
    for run in alone:
        train(run.model.to(device), here, run.objective, run.config)
        run.model.cpu()
    train_fleet(together, dataset, device)
    return max(
        float((one - other).detach().abs().max())
        for run, twin in zip(alone, together, strict=True)
        for one, other in zip(run.model.parameters(), twin.model.parameters(), strict=True)
    )


class Alone:
    """One run, step by step, as the loop does it."""

    def __init__(self, network, dataset, device):
        model = build_model(network.model, dataset.spec, parameters=network.parameters).to(device)
        objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), LAM)
        optimizer = build_optimizer(model, TrainConfig())
        generator = torch.Generator().manual_seed(0)
        self._epoch = lambda: training_steps(
            model, dataset.train, objective, optimizer, network.batch, generator, Execution()
        )
        self._steps = iter(())

    def __call__(self):
        """Do a step."""
        for _ in self._steps:
            return
        self._steps = self._epoch()
        next(self._steps)


class Stacked:
    """Many runs, step by step, each with its own batch."""

    def __init__(self, network, dataset, device, runs):
        model = build_model(network.model, dataset.spec, parameters=network.parameters)
        objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), LAM)
        config, sample = TrainConfig(), dataset.train.x[:SAMPLE].cpu()
        self._stack = Stack([model] * runs, objective, [config] * runs, sample, device)
        self._split, self._shape = dataset.train, (runs, network.batch)
        self._lam = torch.full((runs,), LAM, device=device)
        self._device = device

    def __call__(self):
        """Do a step of all runs."""
        index = torch.randint(len(self._split), self._shape, device=self._device)
        self._stack.step(self._split.x[index], self._split.y[index], self._lam)


def block(step, steps, device):
    """Seconds of a step, over some of them."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    for _ in range(steps):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
    return (clock() - started) / steps


def race(network, runs, device, blocks):
    """Seconds of a step alone and of a stacked one for each run, in turns."""
    dataset = moved(network.data(), device)
    contestants = [Alone(network, dataset, device), Stacked(network, dataset, device, runs)]
    counts = []
    for step in contestants:
        block(step, 4, device)  # allocates, captures
        counts.append(max(1, round(BLOCK_SECONDS / block(step, 2, device))))
    seconds = [[], []]
    for _ in range(blocks):
        for times, step, steps in zip(seconds, contestants, counts, strict=True):
            times.append(block(step, steps, device))
    alone, together = map(statistics.median, seconds)
    ratios = [runs * one / other for one, other in zip(*seconds, strict=True)]
    return {
        "runs": runs,
        "blocks": blocks,
        "alone_step_seconds": alone,
        "stacked_step_seconds_per_run": together / runs,
        "speed_up": alone / (together / runs),
        "speed_up_of_blocks": [min(ratios), max(ratios)],
    }


class Ungraphed:
    """Stands in for a CUDA graph: calls the function."""

    def __init__(self, function, inputs, state):
        self._function = function

    def __call__(self, *inputs):
        return self._function(*inputs)


def attempt(network, runs, device, blocks, until):
    """A row of the table, or why there is none."""
    if time.perf_counter() > until:
        return {"runs": runs, "reason": "not tried: the time was used up"}
    try:
        row = race(network, runs, device, blocks)
        if device != "cpu":
            row["peak_gibibytes"] = torch.cuda.max_memory_allocated() / 2**30
            with mock.patch("minaction.train.stack.Graphed", Ungraphed):
                row["speed_up_without_graphs"] = race(network, runs, device, blocks)["speed_up"]
            torch.cuda.reset_peak_memory_stats()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        row = {"runs": runs, "reason": "out of memory"}
    return row


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS)
    parser.add_argument("--runs", nargs="+", type=int)
    parser.add_argument("--blocks", type=int, default=9, help="blocks of steps of each")
    parser.add_argument("--checked-steps", type=int, default=200, help="steps that are compared")
    parser.add_argument("--note", default="", help="what to say of the conditions")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    device, on_gpu = arguments.device, arguments.device == "cuda"
    until = time.perf_counter() + SECONDS if on_gpu else float("inf")
    if on_gpu and not torch.cuda.is_available():
        sys.exit("no CUDA GPU here; `--device cpu` checks that this program runs")
    if not on_gpu:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    names = arguments.networks or (["mlp", "cnn"] if on_gpu else ["small mlp", "small cnn"])
    sizes = arguments.runs or ([10, 50, 200, 1000] if on_gpu else [2, 4])
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    result = {**machine(), "device": name, "note": arguments.note, "goal": GOAL}
    result |= {"checked_steps": arguments.checked_steps, "networks": {}}
    equal = True
    with stacking_conditions() if on_gpu else contextlib.nullcontext():
        for network in names:
            difference = largest_difference(NETWORKS[network], device, arguments.checked_steps)
            equal &= difference < TOLERANCE
            said = f"weights after {arguments.checked_steps} steps differ by {difference:.1e}"
            print(f"{network}: {said}")
            rows = []
            for runs in sizes:
                rows.append(attempt(NETWORKS[network], runs, device, arguments.blocks, until))
                print(f"  {rows[-1]}", flush=True)
            result["networks"][network] = {"largest_difference": difference, "rows": rows}
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    out = arguments.out or (Path(f"results/scale/{slug}.json") if on_gpu else None)
    if out:
        write_json(out, result)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
