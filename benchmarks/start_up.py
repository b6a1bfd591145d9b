"""Seconds from the command to its end: `minaction --help` and `minaction quickstart`.

Run as `python benchmarks/start_up.py --out results/benchmarks/start_up.json`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measured import machine, write_json


def main():
    arguments = parse_arguments()
    script = str(Path(sys.executable).with_name("minaction"))
    helps = [seconds([script, "--help"]) for _ in range(arguments.repeats)]
    with tempfile.TemporaryDirectory() as folder:
        quickstart = seconds([script, "quickstart", "--out", f"{folder}/quickstart"])
    print(
        f"minaction --help: median {statistics.median(helps):.3f} s, "
        f"largest {max(helps):.3f} s (n {len(helps)}); quickstart: {quickstart:.1f} s (n 1)"
    )
    if arguments.out:
        content = {
            **machine(),
            "help_seconds": [round(s, 4) for s in helps],
            "quickstart_seconds": round(quickstart, 2),
        }
        write_json(arguments.out, content)


def seconds(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
