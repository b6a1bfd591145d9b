"""Train a BERT made from a configuration with an energy, and take out the units that fell silent.

Texts are the docstrings of installed packages; nothing is downloaded.

pip install 'minaction[transformers]'
python examples/smaller_transformer.py
"""

from __future__ import annotations

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import minaction as ma
from minaction.integrations.transformers import add_energy

STEPS, TOKENS, TEXTS = 200, 32, 256
LAM = 1e-3


class Texts(torch.utils.data.Dataset):
    """Token ids with the package they are from."""

    def __init__(self, split: ma.Split) -> None:
        self.ids, self.labels = split.x[:, :TOKENS], split.y

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


@torch.no_grad()
def accuracy(model: torch.nn.Module, texts: Texts) -> float:
    """Return the share of texts whose package is told right."""
    predicted = torch.cat([model(ids).logits.argmax(1) for ids in texts.ids.split(TEXTS)])
    return float((predicted == texts.labels).float().mean())


def main() -> ma.Compaction:
    """Train, print what became of the energy and return what was taken out."""
    torch.manual_seed(0)
    dataset = ma.load_dataset("docstrings")
    train, test = Texts(dataset.train), Texts(dataset.test)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=dataset.spec.vocabulary,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            max_position_embeddings=TOKENS,
            hidden_act="relu",
            num_labels=dataset.spec.classes,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                max_steps=STEPS,
                per_device_train_batch_size=32,
                learning_rate=3e-3,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=train,
        )
        units = [name for name, _ in model.named_modules() if name.endswith("act_fn")]
        add_energy(trainer, ma.UnitEnergy(), lam=LAM, layers=units)
        trainer.train()
    model.eval()
    print(ma.audit(model, test.ids[:TEXTS], layers=units))
    found = ma.compact(model, train.ids[:TEXTS], held_out=test.ids[:TEXTS], tolerance=0.1)
    print(f"test accuracy {accuracy(model, test):.3f}, without the silent units", end=" ")
    print(f"{accuracy(found.model, test):.3f}")
    return found


if __name__ == "__main__":
    print(main())
