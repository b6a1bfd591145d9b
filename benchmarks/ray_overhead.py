"""What Ray costs over local processes, and what a second worker gains.

The same tasks go to executors of one and of two workers, local and Ray, which are open all the
time; start-up is timed apart. In each round every executor has its turn, in an order that changes,
so that slow and fast phases of the machine fall on all alike; ratios are taken within rounds. Long
runs take five seconds or more; short ones are a tenth of a second; empty ones only travel.

    python benchmarks/ray_overhead.py --out results/scale/ray_overhead.json

It needs `pip install -e '.[ray]'` and two CPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from measured import machine, spread, write_json
from minaction.study.design import runs
from minaction.study.execute import LocalExecutor
from minaction.study.execute_ray import RayCluster, RayExecutor
from minaction.study.read_study import parse_study

STUDY = """
[study]
name = "ray-overhead"
seeds = 1
[factors]
dataset = "{dataset}"
model = "mlp"
lam = 1e-4
[train]
{length}
"""
PLAIN = {"precision": "float32", "compile": False, "channels_last": False}
EMPTY = {"task": "measure", "datasets": []}
PROBE_STEPS = 400
NAMES = ("local 1", "local 2", "ray 1", "ray 2")


def main():
    arguments = parse_arguments()
    with contextlib.ExitStack() as opened:
        executors, start_up = {}, {}
        for name in NAMES:
            began = time.perf_counter()
            executors[name] = opened.enter_context(executor(name, note=print))
            seconds(executors[name], [task("digits", "epochs = 1")] * 8)
            start_up[name] = round(time.perf_counter() - began, 2)
        long = task("mnist", f"steps = {steps_of(executors['local 1'], arguments.run_seconds)}")
        kinds = {
            "long": ([long] * arguments.long, NAMES),
            "short": ([task("digits", "epochs = 1")] * arguments.short, ("local 2", "ray 2")),
            "empty": ([EMPTY] * arguments.empty, ("local 2", "ray 2")),
        }
        found = {}
        for kind, (tasks, names) in kinds.items():
            found[kind] = {"runs": len(tasks), "seconds": turns(executors, names, tasks, arguments)}
            found[kind] |= ratios(found[kind])
            print(kind, {key: value for key, value in found[kind].items() if key != "seconds"})
            if arguments.out:
                content = {
                    **machine(),
                    "note": arguments.note,
                    "start_up_seconds": start_up,
                    "tasks": found,
                }
                write_json(arguments.out, content)


def executor(name, note):
    kind, workers = name.split()
    if kind == "local":
        return LocalExecutor(int(workers), None, note)
    return RayExecutor(RayCluster(), int(workers), None, ["digits", "mnist"], note)


def task(dataset, length):
    study = parse_study(STUDY.format(dataset=dataset, length=length), source="benchmark")
    return {"task": "run", "config": runs(study)[0], "execution": PLAIN, "weights": None}


def steps_of(executor, run_seconds):
    """Return how many steps make a run of so many seconds here."""
    probe = [task("mnist", f"steps = {PROBE_STEPS}")]
    seconds(executor, probe)
    return max(PROBE_STEPS, int(PROBE_STEPS * run_seconds / seconds(executor, probe)))


def seconds(executor, tasks):
    """Return what an executor takes for some tasks."""
    began = time.perf_counter()
    for answer in executor.map([dict(task) for task in tasks]):
        if "error" in answer.content:
            sys.exit(f"a run failed: {answer.content['error']}")
    return time.perf_counter() - began


def turns(executors, names, tasks, arguments):
    """Return each executor's seconds in every round; the first, which warms up, is not kept."""
    found = {name: [] for name in names}
    for number in range(-1, arguments.rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            took = seconds(executors[name], tasks)
            if number >= 0:
                found[name].append(round(took, 4))
        print(f"round {number + 1} of {arguments.rounds}, load {os.getloadavg()[0]:.1f}")
    return found


def ratios(found):
    """Return Ray against local processes, and what a second worker gains."""
    times, runs = found["seconds"], found["runs"]
    pairs = list(zip(times["ray 2"], times["local 2"], strict=True))
    result = {
        "ray_over_local": spread([ray / local for ray, local in pairs]),
        "run_seconds": spread([2 * local / runs for _, local in pairs]),
        "overhead_ms_per_run": spread([2e3 * (ray - local) / runs for ray, local in pairs]),
        "ray_runs_per_second": spread([runs / ray for ray, _ in pairs]),
    }
    for kind in ("local", "ray"):
        if f"{kind} 1" in times:
            both = zip(times[f"{kind} 1"], times[f"{kind} 2"], strict=True)
            result[f"{kind}_speed_up"] = spread([one / two for one, two in both])
    return result


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--run-seconds", type=float, default=6.0, help="of a long run")
    parser.add_argument("--long", type=int, default=4, help="long runs of a turn, an even number")
    parser.add_argument("--short", type=int, default=200, help="short runs of a turn")
    parser.add_argument("--empty", type=int, default=2000, help="empty tasks of a turn")
    parser.add_argument("--note", default="", help="what to say of the conditions")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
