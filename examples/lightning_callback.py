"""Train a Lightning module with an energy: the lines marked are the three that are added.

pip install 'minaction[lightning]'
python examples/lightning_callback.py
"""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import minaction as ma  # 1
from minaction.integrations.lightning import EnergyCallback  # 2


class Classifier(pl.LightningModule):
    """A module as any other: nothing in it knows of energies."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the task loss."""
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Log the accuracy."""
        x, y = batch
        self.log("accuracy", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main() -> dict[str, float]:
    """Train on scikit-learn's digits and return what was logged last."""
    pl.seed_everything(0)
    data = ma.load_dataset("digits")
    train, validation = (
        [(x.flatten(), y) for x, y in zip(split.x, split.y, strict=True)]
        for split in (data.train, data.validation)
    )
    energy = EnergyCallback(ma.ActivationEnergy(), lam=1e-3)  # 3
    trainer = pl.Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[energy],
    )
    loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(validation, batch_size=64)
    trainer.fit(Classifier(), *loaders)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<24} {value:.4g}")
