"""Which proxy tells what networks cost on a GPU: seconds by CUDA events, joules by NVML.

Thirty networks are trained on the CPU with units priced by their MACs, so that lambda leaves
something to compact, and measured on the GPU as trained and compacted; their data are built in. One
window of NVML's counter takes 6 s, so that one round over all networks takes about five minutes.
The study, its measurements and its report go to results/proxy/<name of the GPU>; the same command
resumes.

    python benchmarks/gpu_proxy.py
    python benchmarks/gpu_proxy.py --device cpu    # checks on few networks that it runs, keeps none
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from minaction.measure.environment import cpu_count
from minaction.report.analysis.analyse import analyse
from minaction.report.analysis.text import costs
from minaction.study.measure_runs import measure_runs

RESULTS = Path(__file__).parents[1] / "results" / "proxy"
STUDY = """
[study]
name = "proxy-gpu"
seeds = 1
description = "What the energies predict on a GPU: made by benchmarks/gpu_proxy.py."
[factors]
dataset = ["saccade-digits"]
model = {models}
energy = ["unit_macs"]
lam = [0, 4]
parameters = {sizes}
[train]
steps = 60
validate_every = 60
batch_size = 256
lr = 3e-3
proximal = true
save_weights = true
[execution]
precision = "float32"
compile = false
channels_last = false
"""
FULL = STUDY.format(
    models=["mlp", "cnn", "tcn", "transformer", "dual-pathway"],
    sizes=[30_000, 300_000, 1_000_000],
)
FEW = STUDY.format(models=["mlp", "cnn"], sizes=[10_000, 30_000])


def main():
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    if device.type != "cuda":
        with tempfile.TemporaryDirectory() as folder:
            return run(FEW, Path(folder) / "study", device, arguments.rounds)
    if not torch.cuda.is_available():
        sys.exit("no CUDA GPU here, nothing was measured; --device cpu checks that the script runs")
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(device).lower()).strip("-")
    return run(FULL, arguments.out or RESULTS / name, device, arguments.rounds)


def run(text, directory, device, rounds):
    """Train, measure and analyse a study."""
    began = time.monotonic()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as spec:
        spec.write(text)
        spec.flush()
        minaction("study", "run", spec.name, "--out", directory, "--workers", cpu_count())
    print(f"trained after {time.monotonic() - began:.0f} s", flush=True)
    measure_runs(directory, device=device, rounds=rounds)
    print(f"measured after {time.monotonic() - began:.0f} s", flush=True)
    minaction("report", directory)
    print("\n".join(costs(analyse(directory)["proxies"])))


def minaction(*arguments):
    command = [sys.executable, "-m", "minaction", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="where the networks are measured")
    parser.add_argument("--rounds", type=int, default=1, help="rounds through all networks")
    parser.add_argument(
        "--out", type=Path, help="the study's directory; default: results/proxy/..."
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
