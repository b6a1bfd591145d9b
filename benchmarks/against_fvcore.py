"""MACs of forward passes beside fvcore's, on everything that fvcore counts.

fvcore traces a model and counts one flop per multiply-accumulate of convolutions and matrix
products; it also counts normalisations and pooling, which have no MACs here, and lists what it
does not support (recurrent kernels, fused attention). Compared are the networks of the catalogue
and BERT, GPT-2 and ViT from their configurations, with attention as plain matrix products. What
fvcore skips is named and left out of both figures. fvcore is no dependency of this project; it runs
in an environment of its own:

    python -m venv --system-site-packages ENV
    ENV/bin/pip install --no-deps fvcore iopath yacs portalocker termcolor tabulate
    ENV/bin/python benchmarks/against_fvcore.py --out results/benchmarks/against_fvcore.json

Exits with 1 where a figure differs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import sys
from pathlib import Path

import torch
import transformers
from fvcore.nn import FlopCountAnalysis

import minaction as ma
from measured import machine, write_json
from minaction.models.catalog import MODELS

PRODUCTS = ("conv", "linear", "addmm", "matmul", "bmm", "einsum")
IMAGE = ma.DataSpec(
    name="image", modality="vision", shape=(1, 28, 28), classes=10,
    class_names=tuple("0123456789"),
)  # fmt: skip


class Logits(torch.nn.Module):
    """The first tensor of a transformer's output: fvcore traces no others."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        """Return it."""
        return self.model(x, use_cache=False).to_tuple()[0] if takes_tokens(x) else self.model(x)[0]


def takes_tokens(x):
    """Whether an input is one of token ids."""
    return not x.is_floating_point()


def networks():
    """Name, model and input of each network."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 28, 28, generator=generator)
    for name in MODELS:
        yield name, ma.build_model(name, IMAGE, parameters=50_000), x
    eager = {"attn_implementation": "eager"}
    ids = torch.randint(1000, (1, 64), generator=generator)
    bert = transformers.BertConfig(num_hidden_layers=2, vocab_size=1000, **eager)
    yield "bert", Logits(transformers.BertModel(bert, add_pooling_layer=False)), ids
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    gpt2 = transformers.GPT2Config(n_layer=2, vocab_size=1000, **ends, **eager)
    yield "gpt2", Logits(transformers.GPT2LMHeadModel(gpt2)), ids
    vit = transformers.ViTConfig(num_hidden_layers=2, num_labels=10, **eager)
    image = torch.rand(1, 3, 224, 224, generator=generator)
    yield "vit", Logits(transformers.ViTForImageClassification(vit)), image


def compare(model, x):
    """Both on one network."""
    analysis = FlopCountAnalysis(model.eval(), x)
    by_operator = dict(analysis.by_operator())
    theirs = sum(n for name, n in by_operator.items() if name in PRODUCTS)
    unsupported = {name.removeprefix("aten::") for name in analysis.unsupported_ops()}
    count = ma.count_macs(model, x, training=False)
    both = [layer for layer in count.layers if layer.operation not in unsupported]
    ours = sum(layer.macs_dense for layer in both)
    return {
        "fvcore": theirs,
        "minaction": ours,
        "equal": theirs == ours,
        "fvcore_skipped": sorted({row.operation for row in count.layers} & unsupported),
        "fvcore_without_macs": {k: n for k, n in by_operator.items() if k not in PRODUCTS},
        "minaction_all": count.macs_dense,
        "minaction_uncounted": dict(count.uncounted),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="JSON file to write")
    out = arguments.parse_args().out
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    found = {name: compare(model, x) for name, model, x in networks()}
    for name, row in found.items():
        print(name, row)
    if out:
        version = importlib.metadata.version("fvcore")
        write_json(out, {**machine(), "fvcore": version, "networks": found})
    sys.exit(not all(row["equal"] for row in found.values()))


if __name__ == "__main__":
    main()
