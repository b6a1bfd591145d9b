"""Whether it matters which units go, and when, once a fine-tune follows.

CNNs as in against_torch_pruning.py, with its training, and its fine-tune for what is left of the
epochs, lose the same share of the units of every layer, so that networks of one ratio have one
shape. What differs is which units stay and when the others go:

* weights: those with the largest norm of weights (torch-pruning's own criterion), outputs: those
  on which the outputs depend most (that of `minaction.compact` with a share of MACs), random;
* after half, a quarter or a sixteenth of the epochs;
* none: a network of that shape trained from its own start.

    python benchmarks/pruning_criteria.py --out results/benchmarks/pruning_criteria.json

`--seeds 1 --epochs 1` is a quick check.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import copy
import functools
import multiprocessing
import warnings
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp
from scipy import stats

from against_torch_pruning import CALIBRATION, finished, pruned, train
from measured import machine, write_json
from minaction.compaction.batches import Batches
from minaction.compaction.coupling import find_couplings
from minaction.compaction.readings import measure
from minaction.compaction.sensitivity import output_changes
from minaction.data.load import load_dataset
from minaction.models.build import build_model
from minaction.models.conventional import CNN

RATIOS = (0.65, 0.8)
MOMENTS = (1 / 2, 1 / 4, 1 / 16)


class ByOutputs:
    """Importance of a group of channels: what the outputs lose with its units."""

    def __init__(self, model, x):
        batches = Batches(x, 256, "the calibration set")
        couplings, _ = find_couplings(copy.deepcopy(model), batches.first)
        names = {name for coupling in couplings for name in coupling.readers}
        readings, _ = measure(model, names, batches)
        changes = output_changes(copy.deepcopy(model), couplings, readings, batches)
        self.by_units = {len(change): change for change in changes.values()}

    def __call__(self, group):
        """Return the importance of a group's units; the layers here differ in their numbers."""
        return self.by_units[len(group[0].idxs)].float()


def criteria(model, x):
    """The importances by name, those of this model."""
    return {
        "weights": tp.importance.GroupMagnitudeImportance(p=2),
        "outputs": ByOutputs(model, x),
        "random": tp.importance.RandomImportance(),
    }


def run(task):
    """All ways for one data set and seed."""
    name, seed, epochs, parameters = task
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = load_dataset(name)
    build = functools.partial(build_model, "cnn", data.spec, parameters=parameters, seed=seed)
    rows = []
    for moment in MOMENTS:
        model = train(build(), data, moment * epochs, seed)
        found = criteria(model, data.train.x[:CALIBRATION])
        chosen = found if moment == MOMENTS[0] else {"outputs": found["outputs"]}
        for (criterion, importance), ratio in (
            (pair, ratio) for pair in chosen.items() for ratio in RATIOS
        ):
            torch.manual_seed(seed)  # of the random choice
            smaller = pruned(
                model, data.train.x[:2], ratio, everywhere=False, importance=importance
            )
            result = finished(smaller, data, (1 - moment) * epochs, seed)
            rows.append({"units": criterion, "after": moment, "ratio": ratio, **result})
    for ratio, shape in {row["ratio"]: row["shape"] for row in rows}.items():
        torch.manual_seed(seed)
        result = finished(CNN((1, 28, 28), shape[:2], shape[2], 10), data, epochs, seed)
        rows.append({"units": "none", "after": 0.0, "ratio": ratio, **result})
    return [row | {"dataset": name, "seed": seed} for row in rows]


def summary(rows):
    """Mean test accuracy of each way, with its 95 % t interval over seeds, and that untuned."""
    ways = {}
    for row in rows:
        key = (row["dataset"], tuple(row["shape"]), row["units"], row["after"])
        ways.setdefault(key, []).append((row["test"], row["removed"]))
    found = []
    for (dataset, shape, units, after), values in ways.items():
        test, removed = np.array(values).T
        n = len(test)
        half = stats.t.ppf(0.975, n - 1) * test.std(ddof=1) / n**0.5 if n > 1 else None
        found.append(
            {
                "dataset": dataset,
                "shape": shape,
                "units": units,
                "after": after,
                "n": n,
                "test": float(test.mean()),
                "test_half_interval": half,
                "removed": float(removed.mean()),
            }
        )
    return found


def main():
    arguments = parse_arguments()
    tasks = [
        (dataset, seed, arguments.epochs, arguments.parameters)
        for seed in range(arguments.seeds)
        for dataset in arguments.datasets
    ]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        rows = [row for found in pool.map(run, tasks) for row in found]
    results = summary(rows)
    for one in results:
        print(
            f"{one['dataset']} {'-'.join(map(str, one['shape'])):<9} {one['units']:<8} after "
            f"{one['after']:<6.4g} test {100 * one['test']:.2f} "
            f"+- {100 * (one['test_half_interval'] or float('nan')):.2f} % (n {one['n']}), "
            f"untuned {100 * one['removed']:.2f} %"
        )
    if arguments.out:
        write_json(
            arguments.out,
            {**machine(), "epochs": arguments.epochs, "results": results, "rows": rows},
        )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["fashion-mnist"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=4, help="before and after the removal")
    parser.add_argument("--parameters", type=int, default=960_000, help="of the dense network")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
