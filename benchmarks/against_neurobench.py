"""Effective MACs, accumulates and activation sparsity beside NeuroBench's, on three networks.

A convolutional network with padding, an MLP on sparse inputs, and a spiking network of snnTorch
neurons over 10 steps; weights are random, from a seed, and none of them is 0. NeuroBench adds up in
single precision, which is exact for counts as small as these. It is no dependency of this project:
its data sets bring tonic. It runs here without them, in an environment of its own:

    python -m venv --system-site-packages ENV && ENV/bin/pip install --no-deps neurobench
    ENV/bin/python benchmarks/against_neurobench.py --out results/benchmarks/against_neurobench.json

Exits with 1 where a figure differs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path

import snntorch
import torch
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch import nn

import minaction as ma
from measured import machine, write_json

SAMPLES, STEPS = 16, 10


def cnn(generator):
    """Convolutions with padding, stride and groups, and pooling."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1, stride=2, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(12 * 49, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    return model, torch.rand(SAMPLES, 1, 28, 28, generator=generator)


def mlp(generator):
    """Inputs of which about three quarters are 0, as pixels are."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    x = torch.rand(SAMPLES, 784, generator=generator)
    return model, x * (torch.rand(x.shape, generator=generator) > 0.75)


class Spiking(nn.Module):
    """Two layers of leaky integrate-and-fire neurons, run over all steps."""

    def __init__(self):
        super().__init__()
        self.inward, self.outward = nn.Linear(40, 60), nn.Linear(60, 10)
        self.first, self.second = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)

    def forward(self, x):
        """Spikes `[batch, steps, classes]` of spikes `[batch, steps, inputs]`."""
        first, second = self.first.init_leaky(), self.second.init_leaky()
        spikes = []
        for step in x.unbind(1):
            spike, first = self.first(self.inward(step), first)
            spike, second = self.second(self.outward(spike), second)
            spikes.append(spike)
        return torch.stack(spikes, 1)


def spiking(generator):
    """Input spikes at one step in five."""
    x = torch.rand(SAMPLES, STEPS, 40, generator=generator)
    return Spiking(), (x < 0.2).to(x.dtype)


NETWORKS = {"cnn": cnn, "mlp": mlp, "spiking": spiking}


def theirs(model, x):
    """NeuroBench's figures."""
    wrapped = TorchModel(model)
    wrapped.add_activation_module(snntorch.SpikingNeuron)
    wrapped.register_hooks()
    operations, sparsity = SynapticOperations(), ActivationSparsity()
    with torch.no_grad():
        predictions = wrapped(x)
    data = (x, torch.zeros(len(x)))
    counts = operations(wrapped, predictions, data)
    found = sparsity(wrapped, predictions, data)
    wrapped.cleanup_hooks()
    return {
        "macs_effective": counts["Effective_MACs"],
        "acs_effective": counts["Effective_ACs"],
        "activation_sparsity": found,
    }


def ours(model, x):
    """This project's figures, of the same layers."""
    count = ma.count_macs(model, x, training=False)
    layers = [nn.ReLU, snntorch.SpikingNeuron]
    kinds = [kind for kind in layers if any(isinstance(m, kind) for m in model.modules())]
    return {
        "macs_effective": count.macs_effective,
        "acs_effective": count.acs_effective,
        "activation_sparsity": ma.audit(model, x, layers=kinds).total.zero_fraction,
    }


def compare(name):
    """Both on one network."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, x = NETWORKS[name](generator)
    model.eval()
    dense = ma.count_macs(model, x, training=False).macs_dense
    found = {"macs_dense": dense, "neurobench": theirs(model, x), "minaction": ours(model, x)}
    equal = all(
        abs(found["minaction"][figure] - value) <= 1e-12 * max(abs(value), 1)
        for figure, value in found["neurobench"].items()
    )
    return found | {"equal": equal}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="JSON file to write")
    out = arguments.parse_args().out
    networks = {name: compare(name) for name in NETWORKS}
    for name, found in networks.items():
        print(name, "equal" if found["equal"] else "DIFFERENT", found)
    if out:
        version = importlib.metadata.version("neurobench")
        write_json(out, {**machine(), "neurobench": version, "networks": networks})
    sys.exit(not all(found["equal"] for found in networks.values()))


if __name__ == "__main__":
    main()
