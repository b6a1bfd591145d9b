"""Runs per hour of `minaction study run` against the same runs written with Lightning.

Same network, data split, energy, epochs, batch size and learning rate; start-up, compilation,
calibration and evaluation included on both sides. The two programs take turns of a few seconds on
the whole machine. The final accuracies are compared too: speed at another accuracy would not count.

    python benchmarks/against_lightning.py --out results/benchmarks/against_lightning.json

Models can be measured in calls of their own (`--models cnn --epochs 3`): an existing file keeps
the others' results. It needs `pip install -e '.[lightning]'`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from interleaved import Contestant, race
from measured import machine, write_json
from minaction.study.journal import latest_records

LAM = (0.0, 1e-4)
STUDY = """
[study]
name = "against-lightning"
seeds = {seeds}
[factors]
dataset = ["{dataset}"]
model = ["{model}"]
lam = [{lam}]
[train]
epochs = {epochs}
"""


def main():
    arguments = parse_arguments()
    here = machine()
    results = kept_results(arguments, here)
    for model in arguments.models:
        results.append(compare(model, arguments))
        print_result(results[-1])
        if arguments.out:  # after each model: the next may take long
            content = {**here, "results": results}
            write_json(arguments.out, content)


def kept_results(arguments, here):
    """What an earlier call measured of other models on this machine."""
    if not (arguments.out and arguments.out.exists()):
        return []
    content = json.loads(arguments.out.read_text())
    if {key: content[key] for key in here} != here:
        return []
    return [result for result in content["results"] if result["model"] not in arguments.models]


def compare(model, arguments):
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ours, theirs = scratch / "study", scratch / "lightning.jsonl"
        spec = scratch / "study.toml"
        spec.write_text(
            STUDY.format(
                seeds=arguments.seeds,
                dataset=arguments.dataset,
                model=model,
                lam=", ".join(map(str, LAM)),
                epochs=arguments.epochs,
            )
        )
        cli = [sys.executable, "-m", "minaction"]
        study = Contestant("minaction", [*cli, "study", "run", str(spec), "--out", str(ours)])
        rival = Path(__file__).with_name("lightning_runs.py")
        options = ["--dataset", arguments.dataset, "--model", model, "--out", str(theirs)]
        options += ["--epochs", str(arguments.epochs), "--seeds", str(arguments.seeds)]
        options += ["--lam", *map(str, LAM)]
        lightning = Contestant("lightning", [sys.executable, str(rival), *options])
        race([study, lightning], arguments.slice)
        records = latest_records(ours)
        their_runs = [json.loads(line) for line in theirs.read_text().splitlines()]
    runs = len(LAM) * arguments.seeds
    assert len(records) == len(their_runs) == runs
    return {
        "model": model,
        "dataset": arguments.dataset,
        "epochs": arguments.epochs,
        "runs": runs,
        "minaction_seconds": round(study.seconds, 1),
        "lightning_seconds": round(lightning.seconds, 1),
        "minaction_runs_per_hour": round(3600 * runs / study.seconds, 1),
        "lightning_runs_per_hour": round(3600 * runs / lightning.seconds, 1),
        "ratio": round(lightning.seconds / study.seconds, 2),
        "execution": records[0].provenance["execution"],
        "calibration": records[0].provenance["calibration"],
        "accuracy": {
            f"{lam:g}": {
                "minaction": summary(
                    [r.metrics["test_accuracy"] for r in records if r.config["lam"] == lam]
                ),
                "lightning": summary([r["test_accuracy"] for r in their_runs if r["lam"] == lam]),
            }
            for lam in LAM
        },
    }


def summary(values):
    return {
        "mean": round(statistics.mean(values), 5),
        "standard_deviation": round(statistics.stdev(values), 5),
        "n": len(values),
    }


def print_result(result):
    print(
        f"{result['dataset']} {result['model']}, "
        f"{result['runs']} runs of {result['epochs']} epochs: "
        f"minaction {result['minaction_runs_per_hour']:,} runs/h, "
        f"Lightning {result['lightning_runs_per_hour']:,} runs/h, ratio {result['ratio']}"
    )
    for lam, sides in result["accuracy"].items():
        text = ", ".join(
            f"{side} {s['mean']:.4f} (sd {s['standard_deviation']:.4f}, n {s['n']})"
            for side, s in sides.items()
        )
        print(f"  test accuracy at lambda {lam}: {text}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10, help="runs = 2 lambdas x seeds")
    parser.add_argument("--slice", type=float, default=15.0, help="seconds of a turn")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
