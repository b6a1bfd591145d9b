"""Seconds and peak memory of a factorial analysis of variance of a million rows.

Three factors of 10 levels, unbalanced, types II and III, with and without 10 blocks, each in a
fresh process; timed is the call to `factorial_anova`, the table is there before. Memory is the
high-water mark of the process's resident set, table and libraries included. Linux and macOS.

    python benchmarks/anova_speed.py --out results/benchmarks/anova_speed.json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from measured import machine, write_json
from minaction.stats import factorial_anova

CASES = {
    "type II": (2, None),
    "type III": (3, None),
    "type II, blocks": (2, "seed"),
    "type III, blocks": (3, "seed"),
}


def main():
    arguments = parse_arguments()
    if arguments.case:
        print(json.dumps(analyse(arguments.case, arguments.rows)))
        return
    results = {}
    for case in CASES:
        runs = [fresh(case, arguments.rows) for _ in range(arguments.repeats)]
        seconds = [run["seconds"] for run in runs]
        peak = max(run["peak_bytes"] for run in runs)
        results[case] = {"seconds": seconds, "peak_bytes": peak}
        print(
            f"{case:<18} median {statistics.median(seconds):5.2f} s, largest {max(seconds):5.2f} s "
            f"(n {len(seconds)})   peak {peak / 2**20:5.0f} MiB"
        )
    if arguments.out:
        content = {
            **machine(),
            "rows": arguments.rows,
            "levels": [10, 10, 10],
            "results": results,
        }
        write_json(arguments.out, content)


def fresh(case, rows):
    command = [sys.executable, __file__, "--case", case, "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def analyse(case, rows):
    frame = table(rows)
    ss_type, blocks = CASES[case]
    started = time.perf_counter()
    factorial_anova(frame, "accuracy", ["model", "dataset", "lam"], ss_type, blocks=blocks)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": round(seconds, 3), "peak_bytes": peak}


def table(rows):
    generator = np.random.default_rng(0)
    share = np.arange(1, 11) / 55  # cells of very different size
    return pd.DataFrame(
        {
            "model": generator.choice([f"model {i}" for i in range(10)], rows, p=share),
            "dataset": generator.choice([f"data set {i}" for i in range(10)], rows),
            "lam": generator.choice(10.0 ** -np.arange(10), rows),
            "seed": generator.integers(0, 10, rows),
            "accuracy": generator.normal(0.9, 0.01, rows),
        }
    )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help="run one analysis and print what it took")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
