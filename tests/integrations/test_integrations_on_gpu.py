"""Other people's training loops on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import minaction as ma

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
]

X, Y = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_lightning(precision):
    pl = pytest.importorskip("lightning.pytorch")
    from minaction.integrations.lightning import EnergyCallback

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

        def training_step(self, batch, batch_idx):
            x, y = batch
            return F.cross_entropy(self.net(x), y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    weights = {}
    for lam in (None, 0.0, 1.0):
        module = Net()
        callbacks = [] if lam is None else [EnergyCallback(ma.ActivationEnergy(), lam)]
        trainer = pl.Trainer(
            accelerator="gpu", devices=1, precision=precision, max_epochs=2, callbacks=callbacks,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=16))
        weights[lam] = torch.cat([p.detach().cpu().flatten() for p in module.parameters()])
    assert torch.equal(weights[None], weights[0.0])
    assert not torch.equal(weights[None], weights[1.0])
    assert weights[1.0].isfinite().all()


def test_the_trainer_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from minaction.integrations.transformers import add_energy

    weights = {}
    ids = torch.randint(0, 20, (32, 6), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": int(row[0]) % 3} for row in ids]
    for lam in (None, 0.0, 1.0):
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=24, hidden_act="relu", hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, num_labels=3,
        )  # fmt: skip
        model = transformers.BertForSequenceClassification(config)
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path), max_steps=8, per_device_train_batch_size=8,
                report_to="none", save_strategy="no", disable_tqdm=True, bf16=True,
            ),
            train_dataset=data,
        )  # fmt: skip
        assert trainer.args.device.type == "cuda"
        if lam is not None:
            add_energy(trainer, ma.ActivationEnergy(), lam)
        trainer.train()
        weights[lam] = torch.cat([p.detach().float().cpu().flatten() for p in model.parameters()])
    assert torch.equal(weights[None], weights[0.0])
    assert not torch.equal(weights[None], weights[1.0])
