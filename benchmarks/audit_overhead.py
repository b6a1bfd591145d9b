"""What an audit costs beside a plain forward pass: time and peak memory.

A BERT-base-sized model (110 million parameters, random weights) on 8 sequences of 128 tokens, one
torch thread. Plain forward passes and audits alternate in one process (plain, audit, audit,
plain, ...), so that slow and fast phases of a shared machine fall on both alike; the ratio is the
median over pairs of audit / plain, with a 95 % percentile bootstrap interval. CPU time is given
beside wall-clock time: it does not count what other programs took.

Peak memory is the high-water mark of the resident set over two passes, weights and libraries
included, in a fresh process for each measurement (Linux with glibc only); medians over processes.
It is measured twice: with the allocator's thresholds fixed, so that freed blocks go back to the
system and the figure is what is in use; and as the allocator comes, which after the first large
block that was freed keeps such blocks, and then places small ones in them.

    python benchmarks/audit_overhead.py --out results/benchmarks/audit_overhead.json
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel

from measured import machine, write_json

TIME_BAR, MEMORY_BAR = 1.2, 1.1
BATCH, LENGTH, VOCABULARY = 8, 128, 30_522
MEMORY_PASSES = 2
CONTENDERS = ("plain", "audit")
ALLOCATORS = {"in use": {"MALLOC_TRIM_THRESHOLD_": str(128 * 1024)}, "default allocator": {}}


def build():
    """The model, in evaluation mode, and its input."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(VOCABULARY, (BATCH, LENGTH), generator=generator)
    return BertModel(BertConfig(vocab_size=VOCABULARY)).eval(), x


def contender(name, model, x):
    """One pass of a contender, as a function; the library is imported for audits only."""
    if name == "plain":
        return torch.no_grad()(lambda: model(x))
    from minaction.measure.audit import audit

    return lambda: audit(model, x)


def time_ratios(pairs):
    """Wall-clock and CPU ratios of every pair of passes, and the plain pass's seconds."""
    model, x = build()
    passes = {name: contender(name, model, x) for name in CONTENDERS}
    for run in passes.values():
        run()
    wall, cpu, plain = [], [], []
    for pair in range(pairs):
        spent = {}
        for name in CONTENDERS if pair % 2 else reversed(CONTENDERS):
            clocks = time.perf_counter(), time.process_time()
            passes[name]()
            spent[name] = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
        wall.append(spent["audit"][0] / spent["plain"][0])
        cpu.append(spent["audit"][1] / spent["plain"][1])
        plain.append(spent["plain"][0])
    return wall, cpu, statistics.median(plain)


def interval(values):
    """Median and its 95 % percentile bootstrap interval."""
    draws = np.random.default_rng(0).choice(values, size=(4000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


def peak_bytes(name, settings):
    """Peak resident bytes of a contender, measured in a fresh process."""
    command = [sys.executable, __file__, "--peak", name]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | settings
    )
    return int(done.stdout.split()[-1])


def print_own_peak(name):
    run = contender(name, *build())
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    for _ in range(MEMORY_PASSES):
        run()
    kibibytes = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(1024 * int(kibibytes[1]))


def memory(processes):
    """Peaks of both contenders under each setting of the allocator, and their ratio."""
    found = {}
    for label, settings in ALLOCATORS.items():
        peaks = {
            name: [peak_bytes(name, settings) for _ in range(processes)] for name in CONTENDERS
        }
        plain, audit = (statistics.median(peaks[name]) for name in CONTENDERS)
        found[label] = {"peak_bytes": peaks, "ratio": audit / plain}
    return found


def measure(arguments):

    wall, cpu, seconds = time_ratios(arguments.pairs)
    return {
        **machine(),
        "threads": 1,
        "model": f"BERT base, batch {BATCH} x {LENGTH}",
        "pairs": arguments.pairs,
        "plain_seconds": seconds,
        "time_ratio": interval(wall),
        "cpu_time_ratio": interval(cpu),
        "time_bar": TIME_BAR,
        "processes": arguments.processes,
        "memory": memory(arguments.processes),
        "memory_bar": MEMORY_BAR,
    }


def show(result):
    for name, label in (("time_ratio", "time"), ("cpu_time_ratio", "CPU time")):
        median, low, high = result[name]
        print(f"{label:<25} {median:.3f} [{low:.3f}, {high:.3f}], bar {TIME_BAR}")
    for label, found in result["memory"].items():
        plain = statistics.median(found["peak_bytes"]["plain"]) / 2**20
        print(f"memory, {label:<17} {found['ratio']:.3f} of {plain:.0f} MiB, bar {MEMORY_BAR}")


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    if arguments.peak:
        print_own_peak(arguments.peak)
        return
    result = measure(arguments)
    show(result)
    if arguments.out:
        write_json(arguments.out, result)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="pairs of passes")
    parser.add_argument("--processes", type=int, default=3, help="processes per peak memory")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--peak", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
