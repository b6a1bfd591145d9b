"""How well the best conventional model learns each data set, beside the figure asked of it.

Every data set has one recipe: model, steps, learning rate, weight decay, parameters. It is run
over several seeds on the data set's own split, or cross-validated where that is what the figure
is of: each sample is then tested once, by a network that never saw its fold, and the figure of a
seed is that of all samples together. Of each run the weights of the best validation are tested;
where balanced accuracy counts, it chooses too, and the loss weighs the classes equally.

Where people or sessions are few, none is held out to choose weights by: all that is not tested
trains, and the weights of the last step are tested. A data set of people recorded in several
sessions may be learned by a network for each person, as the figure asked for EMG is: each session
is then tested once, by a network that was trained on the other sessions of the same person.

One JSON line per data set, written when it is done; data sets that have a line of the same recipe
and seeds are not run again.

    python benchmarks/learnability.py --out results/benchmarks/learnability.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.data.dataset import Dataset, Split
from minaction.data.folds import fold_of
from minaction.data.load import load_dataset
from minaction.energy.functionals import ActivationEnergy
from minaction.measure.environment import code_version, cpu_name, versions
from minaction.models.build import build_model
from minaction.models.sizing import count_parameters
from minaction.objective.objective import EnergyObjective
from minaction.stats.intervals import mean_interval
from minaction.train.evaluate import Evaluation
from minaction.train.loop import TrainConfig, train

BATCH = 1000
PARTS = ("x", "y", "groups")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one data set is learned, and the figure asked.

    Attributes:
        model: A conventional model.
        asked: The accuracy, or balanced accuracy, to reach.
        balanced: True where balanced accuracy counts.
        folds: Folds of the cross-validation; None: the data set's own split.
        sessions: Sessions of each person, in place of folds: a network for each person.
        validated: False where nothing is held out to choose weights by.
    """

    model: str
    asked: float
    balanced: bool = False
    folds: int | None = None
    sessions: int | None = None
    validated: bool = True
    steps: int
    validate_every: int
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.0
    parameters: int = 100_000


RECIPES = {
    "mnist": Recipe(model="cnn", asked=0.985, steps=2_000, validate_every=200),
    "fashion-mnist": Recipe(
        model="cnn", asked=0.90, steps=4_000, validate_every=400, weight_decay=0.01
    ),
    "20newsgroups-tfidf": Recipe(
        model="mlp",
        asked=0.68,
        steps=800,
        validate_every=40,
        lr=3e-4,
        weight_decay=10.0,
        parameters=1_000_000,
    ),
    "n-mnist": Recipe(
        model="cnn", asked=0.90, folds=5, steps=400, validate_every=40, batch_size=64
    ),
    "mit-bih-nv": Recipe(
        model="cnn", asked=0.90, balanced=True, steps=800, validate_every=40, weight_decay=0.1
    ),
    "stress-predict": Recipe(
        model="mlp", asked=0.71, balanced=True, steps=400, validate_every=20, weight_decay=0.1
    ),
    # so small that what reads a sample averages its frames
    "eegmat": Recipe(
        model="mlp",
        asked=0.70,
        folds=10,
        validated=False,
        steps=800,
        validate_every=800,
        batch_size=32,
        weight_decay=0.1,
        parameters=3_000,
    ),
    "myo-readings": Recipe(
        model="mlp",
        asked=0.90,
        balanced=True,
        sessions=3,
        validated=False,
        steps=300,
        validate_every=300,
        weight_decay=0.1,
        parameters=20_000,
    ),
    "fsdd": Recipe(model="cnn", asked=0.96, steps=1_200, validate_every=60, batch_size=64),
}


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    done = read_lines(arguments.out)
    for name in arguments.datasets or RECIPES:
        key = {"dataset": name, **asdict(RECIPES[name]), "seeds": arguments.seeds}
        line = next((line for line in done if key.items() <= line.items()), None)
        if line is None:
            line = key | measure(name, RECIPES[name], arguments.seeds)
            append_line(arguments.out, line)
        print(describe(line), flush=True)


def measure(name, recipe, seeds):
    """Return the figures of one data set."""
    dataset = load_dataset(name)
    runs = [[run(part, recipe, seed) for part in parts(dataset, recipe)] for seed in range(seeds)]
    values = [figure(seed_runs, recipe.balanced) for seed_runs in runs]
    interval = mean_interval(values)
    flat = [r for seed_runs in runs for r in seed_runs]
    return {
        "values": [round(value, 4) for value in values],
        "mean": round(interval.estimate, 4),
        # One seed has no spread.
        "interval": [round(end, 4) for end in (interval.low, interval.high) if math.isfinite(end)],
        "reached": interval.estimate >= recipe.asked,
        "tested_samples": sum(len(r.labels) for r in runs[0]),
        "parameters_built": flat[0].parameters,
        "train_seconds_longest": round(max(r.train_seconds for r in flat), 1),
        "train_seconds_all": round(sum(r.train_seconds for r in flat), 1),
        "data_sha256": dataset.fingerprint,
        "cpu": cpu_name(),
        "versions": versions(),
        "code_version": code_version(),
    }


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one network predicts for its test split."""

    predicted: Tensor
    labels: Tensor
    parameters: int
    train_seconds: float


def parts(dataset, recipe):
    if recipe.sessions is not None:
        return personal_parts(dataset, recipe.sessions)
    folds = range(recipe.folds or 0)
    found = [fold_of(dataset, fold, recipe.folds) for fold in folds] or [dataset]
    return found if recipe.validated else [unvalidated(part) for part in found]


def unvalidated(dataset):
    """Return the data set whose validation part trains too.

    What training needs as a validation part is then its own: nothing is chosen by it.
    """
    trained = joined([dataset.train, dataset.validation])
    return Dataset.of(spec=dataset.spec, train=trained, validation=trained, test=dataset.test)


def personal_parts(dataset, sessions):
    """Return a data set for each session, to be tested on after the person's other sessions.

    Groups are sessions, in the order of the people.
    """
    pooled = joined(dataset.splits().values())
    found = []
    for session in pooled.groups.unique():
        tested = pooled.groups == session
        others = (pooled.groups // sessions == session // sessions) & ~tested
        trained, test = taken(pooled, others), taken(pooled, tested)
        found.append(Dataset.of(spec=dataset.spec, train=trained, validation=trained, test=test))
    return found


def joined(splits):
    return Split(**{key: torch.cat([getattr(s, key) for s in splits]) for key in PARTS})


def taken(split, mask):
    return Split(**{key: getattr(split, key)[mask] for key in PARTS})


def run(dataset: Dataset, recipe: Recipe, seed: int) -> Run:
    """Train one network and test the weights of its best validation."""
    model = build_model(recipe.model, dataset.spec, parameters=recipe.parameters, seed=seed)
    objective = EnergyObjective(task_loss(dataset, recipe), ActivationEnergy(), 0.0)
    config = TrainConfig(
        steps=recipe.steps,
        validate_every=recipe.validate_every,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        seed=seed,
    )
    best = Best(model, recipe.balanced)
    looks = [best] if recipe.validated else []
    training = train(model, dataset, objective, config, after_validation=looks)
    if recipe.validated:
        model.load_state_dict(best.weights)
    return Run(
        predicted=predictions(model, dataset.test),
        labels=dataset.test.y,
        parameters=count_parameters(model),
        train_seconds=training.train_seconds,
    )


class Best:
    """Keeps the weights of the best validation, the first of equals."""

    def __init__(self, model: nn.Module, balanced: bool) -> None:
        self.model, self.balanced = model, balanced
        self.accuracy = -1.0
        self.weights: dict[str, Tensor] = {}

    def __call__(self, step: int, validation: Evaluation) -> None:
        accuracy = validation.balanced_accuracy if self.balanced else validation.accuracy
        if accuracy > self.accuracy:
            self.accuracy = accuracy
            self.weights = {key: value.clone() for key, value in self.model.state_dict().items()}


def task_loss(dataset: Dataset, recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cross-entropy, each class weighing the same where balanced accuracy counts."""
    if not recipe.balanced:
        return F.cross_entropy
    counts = dataset.train.y.bincount(minlength=dataset.spec.classes)
    weights = len(dataset.train) / (dataset.spec.classes * counts.float())
    return lambda logits, y: F.cross_entropy(logits, y, weight=weights)


@torch.no_grad()
def predictions(model: nn.Module, split: Split) -> Tensor:
    model.eval()
    return torch.cat([model(x).argmax(1) for x in split.x.split(BATCH)])


def figure(runs, balanced):
    """Return the (balanced) accuracy of all folds' test samples together."""
    predicted = torch.cat([r.predicted for r in runs])
    labels = torch.cat([r.labels for r in runs])
    right = (predicted == labels).double()
    if not balanced:
        return right.mean().item()
    return torch.stack([right[labels == k].mean() for k in labels.unique()]).mean().item()


def describe(line):
    kind = "balanced accuracy" if line["balanced"] else "accuracy"
    split = f"{line['folds']} folds" if line["folds"] else "own split"
    split = "one session left out per person" if line["sessions"] else split
    ends = " to ".join(f"{end:.4f}" for end in line["interval"]) or "none"
    return (
        f"{line['dataset']:<19} {line['model']:<5} {kind} {line['mean']:.4f}, 95 % interval {ends} "
        f"(asked {line['asked']}, n {line['seeds']} seeds, {split}, "
        f"{line['tested_samples']} samples); longest training "
        f"{line['train_seconds_longest']} s"
    )


def read_lines(path):
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def append_line(path, line):
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="*", help=f"of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="file of JSON lines for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.datasets) - RECIPES.keys():
        parser.error(f"no recipe for {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    main()
