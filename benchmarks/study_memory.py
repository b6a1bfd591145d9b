"""Peak memory of a two-worker study: driver, workers and their compilers together.

Proportional set size (a page shared by k processes counts 1/k in each) of the whole process tree,
sampled while the study runs. Linux only; needs psutil.

    python benchmarks/study_memory.py --out results/benchmarks/study_memory.json
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from measured import machine, write_json

STUDY = """
[study]
name = "memory"
seeds = 2
[factors]
dataset = ["mnist"]
model = ["mlp", "cnn"]
lam = [0, 1e-4]
[train]
epochs = 1
[execution]
{execution}
"""
EXECUTIONS = {
    "float32": 'precision = "float32"\ncompile = false\nchannels_last = false',
    "bfloat16 compiled": 'precision = "bfloat16"\ncompile = true\nchannels_last = true',
}


def main():
    arguments = parse_arguments()
    peaks = {name: peak(text, arguments.every) for name, text in EXECUTIONS.items()}
    for name, (proportional, resident) in peaks.items():
        print(f"{name:<18} peak PSS {proportional:7.0f} MiB   sum of RSS {resident:7.0f} MiB")
    if arguments.out:
        content = {
            **machine(),
            "workers": 2,
            "peak_pss_mebibytes": {name: round(p) for name, (p, _) in peaks.items()},
            "peak_sum_of_rss_mebibytes": {name: round(r) for name, (_, r) in peaks.items()},
        }
        write_json(arguments.out, content)


def peak(execution, every):
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "study.toml"
        spec.write_text(STUDY.format(execution=execution))
        command = [sys.executable, "-m", "minaction", "study", "run", str(spec)]
        process = subprocess.Popen(
            [*command, "--out", f"{folder}/out", "--workers", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        highest = (0.0, 0.0)
        while process.poll() is None:
            highest = tuple(map(max, highest, memory(process.pid)))
            time.sleep(every)
        if process.returncode:
            raise SystemExit(f"the study ended with {process.returncode}")
    return highest


def memory(pid):
    """Return PSS and RSS of a process tree in MiB."""
    proportional = resident = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                info = process.memory_full_info()
                proportional += info.pss
                resident += info.rss
    return proportional / 2**20, resident / 2**20


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=0.2, help="seconds between samples")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
