"""What an energy adds to a training step in Lightning and in Hugging Face's Trainer.

The study's MLP and CNN (100,000 parameters, MNIST shapes, batch 128, Adam) in a Lightning trainer
and tiny GPT-2 and BERT models (4 layers, width 128, 8 texts of 64 tokens) in `Trainer`, one torch
thread, with their default logging: each is trained with the activation energy and without, in
pairs whose order alternates. The overhead of a pair is with / without - 1, whole trainings; the
figure is the median over pairs with a 95 % percentile bootstrap interval. CPU time is what counts
on a shared machine; wall-clock time is given beside it.

    python benchmarks/integration_overhead.py --out results/benchmarks/integration_overhead.json
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
import transformers
from torch.nn import functional as F
from torch.utils.data import DataLoader

from energy_overhead import SPEC, interval
from measured import machine, write_json
from minaction.energy.functionals import ActivationEnergy
from minaction.integrations.lightning import EnergyCallback
from minaction.integrations.transformers import add_energy
from minaction.models.build import build_model

LAM, BATCH, TEXTS, TOKENS, WORDS = 1e-5, 128, 8, 64, 1000
STEPS = {"mlp": 300, "cnn": 60, "gpt2": 20, "bert": 20}
BAR = 0.10


class Module(pl.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.net = build_model(model, SPEC, parameters=100_000)

    def training_step(self, batch):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


def lightning_training(model, *, energy):
    x = torch.rand(STEPS[model], BATCH, *SPEC.shape)
    y = torch.randint(0, SPEC.classes, (STEPS[model], BATCH))
    loader = DataLoader(list(zip(x, y, strict=True)), batch_size=None)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EnergyCallback(ActivationEnergy(), lam=LAM)] if energy else [],
    )
    module = Module(model)
    return lambda: trainer.fit(module, loader)


def transformers_training(model, folder, *, energy):
    ids = torch.randint(0, WORDS, (STEPS[model] * TEXTS, TOKENS))
    if model == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=WORDS, n_embd=128, n_layer=4, n_head=4, n_positions=TOKENS
        )
        network = transformers.GPT2LMHeadModel(config)
        data = [{"input_ids": text, "labels": text} for text in ids]
    else:
        config = transformers.BertConfig(
            vocab_size=WORDS,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=512,
        )
        network = transformers.BertForSequenceClassification(config)
        data = [{"input_ids": text, "labels": int(text[0]) % 2} for text in ids]
    arguments = transformers.TrainingArguments(
        folder,
        per_device_train_batch_size=TEXTS,
        max_steps=STEPS[model],
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(model=network, args=arguments, train_dataset=data)
    if energy:
        add_energy(trainer, ActivationEnergy(), lam=LAM)
    return trainer.train


def seconds(model, folder, *, energy):
    """Wall-clock and CPU seconds of one training."""
    if model in ("mlp", "cnn"):
        train = lightning_training(model, energy=energy)
    else:
        train = transformers_training(model, folder, energy=energy)
    clocks = time.perf_counter(), time.process_time()
    train()
    return time.perf_counter() - clocks[0], time.process_time() - clocks[1]


def measure(model, pairs, folder):
    for energy in (True, False):  # warm-up
        seconds(model, folder, energy=energy)
    wall, cpu, plain = [], [], []
    for pair in range(pairs):
        spent = {
            energy: seconds(model, folder, energy=energy)
            for energy in ((False, True) if pair % 2 else (True, False))
        }
        wall.append(spent[True][0] / spent[False][0] - 1)
        cpu.append(spent[True][1] / spent[False][1] - 1)
        plain.append(spent[False][1] / STEPS[model])
    return {
        "model": model,
        "trainer": "Lightning" if model in ("mlp", "cnn") else "transformers",
        "plain_step_cpu_seconds": statistics.median(plain),
        "pairs": pairs,
        "time_overhead": interval(wall),
        "cpu_time_overhead": interval(cpu),
        "bar": BAR,
    }


def show(row):
    def percent(values):
        return f"{values[0]:+6.1%} [{values[1]:+.1%}, {values[2]:+.1%}]"

    print(
        f"{row['model']:<5} {1000 * row['plain_step_cpu_seconds']:7.2f} ms   "
        f"time {percent(row['time_overhead'])}   CPU {percent(row['cpu_time_overhead'])}   "
        f"bar {row['bar']:.0%}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            rows.append(measure(model, arguments.pairs, folder))
            show(rows[-1])
            if arguments.out:
                write_json(arguments.out, {**machine(), "threads": 1, "rows": rows})


if __name__ == "__main__":
    main()
