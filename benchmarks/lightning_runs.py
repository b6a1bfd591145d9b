"""The rival of `against_lightning.py`: the same runs as a user would write them with Lightning.

One process, one run after the other, a DataLoader, Lightning's defaults. Writes one JSON line per
run with its test accuracy. The network, the split of the data and the energy are the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from pathlib import Path

import lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import minaction as ma


class EnergyClassifier(lightning.LightningModule):
    """A classifier trained under cross-entropy + lambda * activation energy."""

    def __init__(self, network, lam, lr):
        super().__init__()
        self.network, self.lam, self.lr = network, lam, lr
        self.activations = []
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda _m, _i, out: self.activations.append(out))

    def forward(self, x):
        self.activations.clear()
        return self.network(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        energy = sum(a.square().sum() / len(x) for a in self.activations)
        self.log_dict({"train_loss": loss, "train_energy": energy})
        return loss + self.lam * energy

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_accuracy", (self(x).argmax(1) == y).float().mean())

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_accuracy", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def main():
    arguments = parse_arguments()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    dataset = ma.load_dataset(arguments.dataset)
    splits = {name: TensorDataset(split.x, split.y) for name, split in dataset.splits().items()}
    with arguments.out.open("w") as out, tempfile.TemporaryDirectory() as scratch:
        for lam in arguments.lam:
            for seed in range(arguments.seeds):
                accuracy = run(dataset, splits, arguments, lam, seed, scratch)
                out.write(json.dumps({"lam": lam, "seed": seed, "test_accuracy": accuracy}) + "\n")
                out.flush()


def run(dataset, splits, arguments, lam, seed, scratch):
    lightning.seed_everything(seed, verbose=False)
    network = ma.build_model(arguments.model, dataset.spec, seed=seed)
    train = DataLoader(splits["train"], arguments.batch_size, shuffle=True, drop_last=True)
    validation = DataLoader(splits["validation"], 1000)
    trainer = lightning.Trainer(
        max_epochs=arguments.epochs, default_root_dir=scratch, enable_model_summary=False
    )
    module = EnergyClassifier(network, lam, arguments.lr)
    trainer.fit(module, train, validation)
    (result,) = trainer.test(module, DataLoader(splits["test"], 1000), verbose=False)
    return result["test_accuracy"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--lam", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
