"""Train a Hugging Face model with an energy: the lines marked are the three that are added.

pip install 'minaction[transformers]'
python examples/huggingface_trainer.py
"""

from __future__ import annotations

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import minaction as ma  # 1
from minaction.integrations.transformers import add_energy  # 2

WORDS, LENGTH = 50, 12


def sentences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Return token ids; the label says whether the first token comes again."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, WORDS, (count, LENGTH), generator=generator)
    again = torch.rand(count, generator=generator) < 0.5
    ids[again, LENGTH // 2] = ids[again, 0]
    labels = (ids[:, 1:] == ids[:, :1]).any(1).long()
    return [{"input_ids": x, "labels": y} for x, y in zip(ids, labels, strict=True)]


def main() -> dict[str, float]:
    """Train a tiny BERT made from a configuration and return what was logged last."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            hidden_act="relu",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                max_steps=60,
                per_device_train_batch_size=32,
                learning_rate=3e-3,
                logging_steps=20,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=sentences(512, seed=0),
        )
        add_energy(trainer, ma.ActivationEnergy(), lam=1e-3)  # 3
        trainer.train()
    return next(entry for entry in reversed(trainer.state.log_history) if "loss" in entry)


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<24} {value:.4g}")
