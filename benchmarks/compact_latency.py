"""What removed channels buy: measured latency against MACs, for the study's CNN and MLP.

No network is trained: latency depends on shapes alone. Smaller and smaller copies of the 100,000
parameter networks are timed in turns with the full one (one thread, batch 256 and batch 1, eager
PyTorch and onnxruntime); the speed-up is the median over pairs with a 95 % bootstrap interval.
What is left at batch 1 is call overhead: the last row of each model is the smallest network there
is, one unit a layer.

    python benchmarks/compact_latency.py --out results/benchmarks/compact_latency.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from measured import machine, write_json
from minaction.compaction.cost import cost_of
from minaction.compaction.latency import measure_latency
from minaction.data.dataset import DataSpec
from minaction.models.build import build_model
from minaction.models.conventional import CNN, MLP

SPEC = DataSpec(
    name="random", modality="vision", shape=(1, 28, 28), classes=10, class_names=tuple("0123456789")
)


def cnn(c1, c2, hidden):
    return CNN(SPEC.shape, (c1, c2), hidden, SPEC.classes)


def mlp(first, second):
    return MLP(784, (first, second), SPEC.classes)


SMALLER = {
    "cnn": [
        cnn(12, 24, 45), cnn(8, 16, 30), cnn(6, 16, 45), cnn(4, 16, 45), cnn(4, 16, 16),
        cnn(4, 8, 16), cnn(3, 16, 32), cnn(2, 16, 32), cnn(1, 1, 1),
    ],
    "mlp": [mlp(80, 40), mlp(60, 30), mlp(40, 20), mlp(20, 10), mlp(1, 1)],
}  # fmt: skip


def widths(model):
    layers = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    return "-".join(str(len(layer.weight)) for layer in layers[:-1])


def rows(name, pairs):
    dense = build_model(name, SPEC).eval()
    x = torch.rand(256, *SPEC.shape, generator=torch.Generator().manual_seed(0))
    dense_macs = cost_of(dense, x).macs
    for model in SMALLER[name]:
        latencies = measure_latency(dense, model.eval(), x, pairs=pairs)
        yield {
            "model": name,
            "dense": widths(dense),
            "widths": widths(model),
            "macs_ratio": dense_macs / cost_of(model, x).macs,
            "latency": [entry.to_dict() for entry in latencies],
        }


def show(row):
    speeds = "   ".join(
        f"{e['runtime']} {e['batch']:>3}: {e['speedup']:5.2f}x "
        f"[{e['speedup_low']:.2f}, {e['speedup_high']:.2f}] {1e3 * e['after_seconds']:.3f} ms"
        for e in row["latency"]
    )
    print(f"{row['widths']:<10} MACs {row['macs_ratio']:6.1f}x   {speeds}", flush=True)


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    found = []
    for name in arguments.models:
        for row in rows(name, arguments.pairs):
            found.append(row)
            show(row)
    if arguments.out:
        content = {**machine(), "threads": 1, "rows": found}
        write_json(arguments.out, content)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(SMALLER), choices=list(SMALLER))
    parser.add_argument("--pairs", type=int, default=61, help="pairs of measurements")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
