"""Compaction after proximal training against torch-pruning's own pruners, at equal accuracy.

Three ways to a smaller CNN (that of the study `compact`), each with the same number of
training steps: half of the epochs before the removal, half after it as a fine-tune whose learning
rate falls to 0, the same for all.

* magnitude: plain training, then torch-pruning's MagnitudePruner (group L2 norm), with the same
  ratio for every layer or one ranking for all of them;
* group-lasso: torch-pruning's GroupNormPruner, whose regulariser acts during the training, then the
  same two ways to prune;
* minaction: plain training, or proximal steps priced by MACs during it, then `minaction.compact` to
  a share of the MACs or with a tolerance.

A plainly trained and equally fine-tuned dense network is the reference. Every setting of a method
is a point (accuracy, latency), a mean over seeds. For each method the settings that no other of
its own beats in both on the *validation* split are kept; latency at a given accuracy is
interpolated along them (log latency against accuracy), and the *test* accuracies of those settings
are what is reported. The ratio is torch-pruning's latency over ours at the accuracy of the dense
network less 0.5 pp, and averaged over the range that both reach, with a 95 % bootstrap interval
over seeds. Accuracies before the fine-tune are recorded too (`removed`).

    python benchmarks/against_torch_pruning.py --out results/benchmarks/against_torch_pruning.json

`--seeds 1 --epochs 1` is a quick check. Latency is measured at the end, with one thread, in turns
with the dense network.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import copy
import itertools
import math
import multiprocessing
import warnings
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp
from torch.nn import functional as F

from measured import machine, write_json
from minaction.compaction.compact import compact
from minaction.compaction.latency import measure_latency
from minaction.data.load import load_dataset
from minaction.energy.functionals import UnitEnergy
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective
from minaction.train.evaluate import evaluate
from minaction.train.execution import Execution
from minaction.train.fine_tune import fine_tune
from minaction.train.loop import TrainConfig, batches, build_optimizer
from minaction.train.proximal import ProximalUnits

MARGIN = 0.005
BATCH, LR, FINE_TUNE_LR = 128, 2e-3, 4e-3
WARM_UP = 0.25  # epochs before proximal steps set in
RATIOS = (0.5, 0.65, 0.8)
REGULARISERS = (1e-3, 1e-2)
SHARES = (0.25, 0.12, 0.05)
CALIBRATION = 10_000  # samples that our removal looks at
METHODS = ("magnitude", "group-lasso", "minaction")


def steps_of(epochs, data):
    return max(1, round(epochs * (len(data.train) // BATCH)))


def train(model, data, epochs, seed, *, after_backward=None, after_step=None):
    """Plain training with a constant learning rate, with room for what a method does in a step."""
    optimizer = build_optimizer(model, TrainConfig(lr=LR))
    generator = torch.Generator().manual_seed((1 << 32) + seed)
    execution = Execution(precision="bfloat16", channels_last=True)
    losses = execution.losses()
    objective = EnergyObjective(F.cross_entropy, UnitEnergy())
    execution.prepare(model).train()
    passes = (batches(data.train, BATCH, generator) for _ in itertools.repeat(None))
    stream = itertools.islice(itertools.chain.from_iterable(passes), steps_of(epochs, data))
    with execution.training(model):
        for step, (x, y) in enumerate(stream):
            optimizer.zero_grad(set_to_none=True)
            losses(objective, model, x, y, 0.0)[2].backward()
            if after_backward:
                after_backward(step)
            optimizer.step()
            if after_step:
                after_step(step + 1)
    return model.to(memory_format=torch.contiguous_format).eval()


def finished(model, data, epochs, seed):
    """Fine-tune a smaller network and say how good it is."""
    removed = evaluate(model.eval(), data.test, F.cross_entropy).accuracy
    config = TrainConfig(lr=FINE_TUNE_LR, batch_size=BATCH, seed=seed)
    fine_tune(model, data.train, F.cross_entropy, config, epochs=epochs)
    accuracy = {
        name: evaluate(model, split, F.cross_entropy).accuracy
        for name, split in (("validation", data.validation), ("test", data.test))
    }
    shape = (
        model.features[0].out_channels,
        model.features[3].out_channels,
        model.classifier[1].out_features,
    )
    return {"shape": shape, "removed": removed, **accuracy}


def pruned(model, x, ratio, *, everywhere, importance=None):
    """Return a copy pruned by torch-pruning, by the norm of weights unless another one is given."""
    copied = copy.deepcopy(model)
    pruner = tp.pruner.MagnitudePruner(
        copied,
        x,
        importance=importance or tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        global_pruning=everywhere,
        max_pruning_ratio=0.95,  # or a ranking of all layers can empty one
        ignored_layers=[copied.classifier[3]],
    )
    pruner.step()
    return copied


def prune_settings(model, x):
    for everywhere in (False, True):
        for ratio in RATIOS:
            name = f"{'global' if everywhere else 'uniform'} {ratio:g}"
            yield name, pruned(model, x, ratio, everywhere=everywhere)


def magnitude(plain, build, data, epochs, seed):
    yield from prune_settings(plain, data.train.x[:2])


def group_lasso(plain, build, data, epochs, seed):
    for reg in REGULARISERS:
        model = build()
        pruner = tp.pruner.GroupNormPruner(
            model,
            data.train.x[:2],
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            reg=reg,
            ignored_layers=[model.classifier[3]],
        )
        every = steps_of(1, data)

        def regularise(step, pruner=pruner, model=model, every=every):
            if step % every == 0:
                pruner.update_regularizer()
            pruner.regularize(model)

        train(model, data, epochs, seed, after_backward=regularise)
        for name, smaller in prune_settings(model, data.train.x[:2]):
            yield f"reg {reg:g}, {name}", smaller


def proximal(build, data, epochs, seed, lam):
    model = build()
    units, begin = ProximalUnits(model, data.train.x[:2]), steps_of(WARM_UP, data)

    def shrink(step):
        if step > begin:
            units.step(LR * lam)

    return train(model, data, epochs, seed, after_step=shrink)


def ours(plain, build, data, epochs, seed):
    x = data.train.x[:CALIBRATION]
    mild, strong = (proximal(build, data, epochs, seed, lam) for lam in (0.5, 2.0))
    for name, model in (("plain", plain), ("lambda 0.5", mild)):
        for share in SHARES:
            yield f"{name}, {share:g} of MACs", compact(model, x, macs=share).model
    for tolerance in (0.1, 0.2):
        yield f"lambda 2, tolerance {tolerance:g}", compact(strong, x, tolerance=tolerance).model


def run(task):
    """All settings of all methods for one data set and seed: (method, setting) -> result."""
    name, seed, epochs, parameters = task
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = load_dataset(name)

    def build():
        return build_model("cnn", data.spec, parameters=parameters, seed=seed)

    plain = train(build(), data, epochs / 2, seed)
    dense = finished(copy.deepcopy(plain), data, epochs / 2, seed)
    rows = [{"method": "dense", "setting": "", **dense}]
    for method, make in zip(METHODS, (magnitude, group_lasso, ours), strict=True):
        for setting, model in make(plain, build, data, epochs / 2, seed):
            result = finished(model, data, epochs / 2, seed)
            rows.append({"method": method, "setting": setting, **result})
    for row in rows:
        row |= {"dataset": name, "seed": seed}
    return rows


def measure(rows, pairs):
    """Latency of every shape that occurs, relative to the dense one; the weights do not matter."""
    from minaction.models.conventional import CNN

    def build(shape):
        return CNN((1, 28, 28), tuple(shape[:2]), shape[2], 10).eval()

    dense = next(tuple(row["shape"]) for row in rows if row["method"] == "dense")
    x = torch.rand(256, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    found = {}
    for shape in sorted({tuple(row["shape"]) for row in rows}):
        latencies = measure_latency(build(dense), build(shape), x, batches=(256,), pairs=pairs)
        found[shape] = {entry.runtime: 1 / entry.times.speedup for entry in latencies}
    return found


def points_of(rows, latency, runtime):
    """Mean validation accuracy, test accuracy and log latency of each setting."""
    settings = {}
    for row in rows:
        cost = math.log(latency[tuple(row["shape"])][runtime])
        settings.setdefault(row["setting"], []).append((row["validation"], row["test"], cost))
    return {setting: np.mean(values, axis=0) for setting, values in settings.items()}


def frontier(points):
    """The settings no other of the same method beats in validation accuracy and latency."""
    return {
        setting: point
        for setting, point in points.items()
        if not any(
            other[0] >= point[0] and other[2] <= point[2] and tuple(other) != tuple(point)
            for other in points.values()
        )
    }


def latency_at(points, accuracy):
    """Log latency at a test accuracy, interpolated along the frontier; None outside its range."""
    # the cheapest setting that is at least as accurate, from each accuracy upwards
    ordered = sorted(((p[1], p[2]) for p in points.values()), reverse=True)
    curve, cheapest = [], math.inf
    for test, cost in ordered:
        cheapest = min(cheapest, cost)
        curve.append((test, cheapest))
    accuracies, costs = zip(*reversed(curve), strict=True)
    if not accuracies[0] <= accuracy <= accuracies[-1]:
        return None
    return float(np.interp(accuracy, accuracies, costs))


def ratios(rows, latency, runtime):
    """Latency of each rival over ours at equal test accuracy: at the margin, and on average."""
    curves = {
        method: frontier(points_of([r for r in rows if r["method"] == method], latency, runtime))
        for method in METHODS
    }
    dense = np.mean([row["test"] for row in rows if row["method"] == "dense"])
    found = {}
    for rival in METHODS[:2]:
        tests = [[p[1] for p in curves[m].values()] for m in (rival, METHODS[2])]
        low, high = max(map(min, tests)), min(map(max, tests))
        grid = np.linspace(low, high, 21) if low < high else []
        gaps = [latency_at(curves[rival], a) - latency_at(curves[METHODS[2]], a) for a in grid]
        ends = [latency_at(curves[m], dense - MARGIN) for m in (rival, METHODS[2])]
        found[rival] = {
            "at_margin": math.exp(ends[0] - ends[1]) if None not in ends else None,
            "mean": math.exp(np.mean(gaps)) if gaps else None,
        }
    return found


def summary(rows, latency, runtime, draws):
    """Ratios with bootstrap intervals over seeds."""
    seeds = sorted({row["seed"] for row in rows})
    by_seed = {seed: [row for row in rows if row["seed"] == seed] for seed in seeds}
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(draws if len(seeds) > 1 else 0):
        chosen = rng.choice(seeds, len(seeds))
        drawn = [dict(row) for seed in chosen for row in by_seed[seed]]
        samples.append(ratios(drawn, latency, runtime))
    found = ratios(rows, latency, runtime)
    for rival, values in found.items():
        for key in ("at_margin", "mean"):
            seen = [sample[rival][key] for sample in samples if sample[rival][key] is not None]
            values[f"{key}_interval"] = (
                [float(v) for v in np.percentile(seen, [2.5, 97.5])]
                if len(seen) > 0.9 * len(samples) and seen
                else None
            )
    return found


def show(dataset, rows, latency, results):
    print(f"\n{dataset}, {len({row['seed'] for row in rows})} seeds")
    for method in ("dense", *METHODS):
        own = [row for row in rows if row["method"] == method]
        for setting in dict.fromkeys(row["setting"] for row in own):
            these = [row for row in own if row["setting"] == setting]
            removed, test = (np.mean([row[key] for row in these]) for key in ("removed", "test"))
            speed = {
                runtime: math.exp(
                    -np.mean([math.log(latency[tuple(row["shape"])][runtime]) for row in these])
                )
                for runtime in ("pytorch", "onnxruntime")
            }
            shapes = " ".join("-".join(map(str, row["shape"])) for row in these[:3])
            print(
                f"  {method:<12} {setting:<28} "
                f"removed {100 * removed:.2f} % test {100 * test:.2f} %   "
                f"{speed['pytorch']:5.2f}x PyTorch {speed['onnxruntime']:5.2f}x onnxruntime   "
                f"{shapes}"
            )
    for runtime, rivals in results.items():
        for rival, values in rivals.items():
            print(f"  {runtime}: {rival} / minaction at equal accuracy: {values}")


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
    torch.set_num_threads(1)
    latency = measure(rows, arguments.pairs)
    content = {
        **machine(),
        "epochs": arguments.epochs,
        "parameters": arguments.parameters,
        "results": {},
    }
    for dataset in arguments.datasets:
        own = [row for row in rows if row["dataset"] == dataset]
        results = {
            runtime: summary(own, latency, runtime, arguments.draws)
            for runtime in ("pytorch", "onnxruntime")
        }
        show(dataset, own, latency, results)
        content["results"][dataset] = results
    content["rows"] = rows
    content["latency"] = {"-".join(map(str, shape)): value for shape, value in latency.items()}
    if arguments.out:
        write_json(arguments.out, content)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=4, help="half before, half after removal")
    parser.add_argument("--parameters", type=int, default=960_000, help="of the dense network")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--pairs", type=int, default=31, help="pairs of measurements per shape")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap samples over seeds")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
