"""The noise of the clock: one network measured against itself, which ought to be equally fast.

In one go the network is timed twice in turns, as two networks are when one is to be faster; what
their ratio differs from 1 is noise. The claim is about the median over the repetitions; the share
of intervals that hold 1 is beside it. Ends with 1 where the median is beyond the limit.

    python benchmarks/clock_noise.py --out results/benchmarks/clock_noise.json
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from measured import machine, write_json
from minaction.data.dataset import DataSpec
from minaction.measure.clock import time_pairs, timer_for
from minaction.measure.conditions import ConditionsWatch
from minaction.models.build import build_model

SPEC = DataSpec(
    name="random", modality="vision", shape=(1, 28, 28), classes=10, class_names=tuple("0123456789")
)
CASES = [(model, batch) for model in ("mlp", "cnn") for batch in (1, 256)]
LIMIT = 0.03


def measure(name, batch, *, repetitions, pairs, device):
    """Time a network against itself, `repetitions` times."""
    model = build_model(name, SPEC).eval().to(device)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, *SPEC.shape, generator=generator).to(device)
    program = functools.partial(torch.inference_mode()(model), x)
    watch, began = ConditionsWatch(device), time.perf_counter()
    times = [
        time_pairs(program, program, pairs=pairs, timer=timer_for(device))
        for _ in range(repetitions)
    ]
    differences = [abs(t.speedup - 1) for t in times]
    return {
        "model": name,
        "batch": batch,
        "median_difference": statistics.median(differences),
        "largest_difference": max(differences),
        "intervals_with_1": sum(t.speedup_low <= 1 <= t.speedup_high for t in times),
        "repetitions": repetitions,
        "times": [asdict(t) for t in times],
        "conditions": watch.close(time.perf_counter() - began).to_dict(),
    }


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    rows = []
    for name, batch in CASES:
        row = measure(
            name, batch, repetitions=arguments.repetitions, pairs=arguments.pairs,
            device=torch.device(arguments.device),
        )  # fmt: skip
        rows.append(row)
        print(
            f"{name} batch {batch:>3}: median difference {row['median_difference']:.2%}, largest "
            f"{row['largest_difference']:.2%}, 1 in {row['intervals_with_1']} of "
            f"{row['repetitions']} intervals, others used {row['conditions']['others_cpus']} CPUs",
            flush=True,
        )
    within = all(row["median_difference"] < LIMIT for row in rows)
    if arguments.out:
        content = {**machine(), "threads": arguments.threads, "limit": LIMIT, "within": within}
        write_json(arguments.out, {**content, "rows": rows})
    sys.exit(0 if within else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20, help="ratios of each network")
    parser.add_argument("--pairs", type=int, default=41, help="pairs of measurements in a ratio")
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU")
    parser.add_argument("--device", default="cpu", help="where the networks run")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
