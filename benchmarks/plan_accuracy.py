"""How well `minaction study plan` predicts what a study takes.

Each small study is planned, then run as a user would, once or several times (`--repeats`); compared
are the predicted and the actual seconds from the start to the last record, the report aside.

    python benchmarks/plan_accuracy.py --out results/benchmarks/plan_accuracy.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import machine, write_json

EXECUTION = """
[execution]
precision = "float32"
compile = false
channels_last = false
"""
STUDIES = {
    "digits, mlp and cnn": """
[study]
name = "digits"
seeds = 4
[factors]
dataset = ["digits"]
model = ["mlp", "cnn"]
lam = [0, 1e-3]
[train]
epochs = 12
batch_size = 32
parameters = 20_000
""",
    "mnist, mlp": """
[study]
name = "mnist"
seeds = 4
[factors]
dataset = ["mnist"]
model = ["mlp"]
lam = [0, 1e-5, 1e-3]
[train]
epochs = 1
parameters = 100_000
""",
    "fashion-mnist, cnn and gru, by steps": """
[study]
name = "fashion"
seeds = 3
[factors]
dataset = ["fashion-mnist"]
model = ["cnn", "gru"]
lam = [1e-4]
[train]
steps = 150
validate_every = 50
parameters = 50_000
""",
}
RUN = """
import sys, time
from minaction.progress import PlainListener
from minaction.study.driver import run_study
from minaction.study.read_study import load_study
started = time.perf_counter()
study, out, workers = load_study(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run_study(study, out, PlainListener(), workers=workers, fleet="off")
print(time.perf_counter() - started)
"""


def main():
    arguments = parse_arguments()
    results = []
    for _ in range(arguments.repeats):
        for name, text in STUDIES.items():
            results.append(compare(name, text, arguments.workers))
            print("{study}: {predicted:.1f} s predicted, {actual:.1f} s".format(**results[-1]))
            if arguments.out:
                ratios = [round(r["predicted"] / r["actual"], 3) for r in results]
                content = {"workers": arguments.workers, "ratios": ratios, "studies": results}
                write_json(arguments.out, {**machine(), **content})


def compare(name, text, workers):
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "study.toml"
        spec.write_text(text + EXECUTION)
        load = os.getloadavg()[0]
        plan = json.loads(python("-m", "minaction", "study", "plan", spec, "--json"))
        (cost,) = (cost for cost in plan["costs"] if cost["cores"] == workers)
        actual = float(python("-c", RUN, spec, Path(folder) / "out", workers))
        size = (Path(folder) / "out" / "journal.jsonl").stat().st_size
    return {
        "study": name,
        "runs": plan["runs"],
        "predicted": round(cost["seconds"], 1),
        "actual": round(actual, 1),
        "pilot_seconds": round(plan["pilot_seconds"], 1),
        "journal_bytes_predicted": plan["journal_bytes"],
        "journal_bytes": size,
        "load_average_before": round(load, 1),
    }


def python(*command):
    """Run Python and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="1, 2, 16 or the machine's cores")
    parser.add_argument("--repeats", type=int, default=1, help="times each study is done")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
