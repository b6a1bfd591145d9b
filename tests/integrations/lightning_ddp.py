"""Train once in one process and once in two, and write down what came out.

python lightning_ddp.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import minaction as ma
from minaction.integrations.lightning import EnergyCallback

SAMPLES, BATCH = 48, 16
GENERATOR = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(SAMPLES, 6, generator=GENERATOR), torch.arange(SAMPLES) % 3)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def train_dataloader(self):
        sampler = DistributedSampler(
            DATA, self.trainer.world_size, self.trainer.global_rank, shuffle=False
        )
        return DataLoader(DATA, batch_size=BATCH // self.trainer.world_size, sampler=sampler)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Write(pl.Callback):
    """Writes down lambdas and weights, each process for itself."""

    def __init__(self, folder, name=None):
        self.folder, self.name, self.lambdas = folder, name, []

    def on_train_batch_end(self, trainer, *_):
        self.lambdas.append(float(trainer.callback_metrics["minaction/lam"]))

    def on_train_end(self, trainer, module):
        name = self.name or str(trainer.global_rank)
        found = {"lambdas": self.lambdas, "weights": module.state_dict()}
        torch.save(found, self.folder / f"{name}.pt")


def main(folder):
    for devices, name in ((1, "one"), (2, None)):
        budget = ma.Budget(0.9, gain=0.3, initial=0.02)
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=devices,
            strategy="ddp_fork" if devices > 1 else "auto",
            max_epochs=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            callbacks=[EnergyCallback(ma.ActivationEnergy(), lam=budget), Write(folder, name)],
        )
        trainer.fit(Net())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
