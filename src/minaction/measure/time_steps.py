"""Modules that are called once per time step: recurrent cells and snnTorch's spiking neurons."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn


def stepping_modules(model: nn.Module) -> frozenset[str]:
    """Return the names of the modules whose calls are time steps of the same units."""
    return frozenset(
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.RNNCellBase) or _spikes(module)
    )


def spiking_types(model: nn.Module) -> list[type[nn.Module]]:
    """Return the types of the model's spiking neurons, which call no nonlinearity by themselves."""
    return list(dict.fromkeys(type(module) for module in model.modules() if _spikes(module)))


def unseen_neurons(model: nn.Module, layers: Collection[str]) -> list[str]:
    """Return the spiking neurons of which neither they nor what holds them is among `layers`."""
    unseen = []
    for path, module in model.named_modules():
        holder = path.rpartition(".")[0]
        seen = path in layers or (holder and any(n.startswith(f"{holder}.") for n in layers))
        if _spikes(module) and not seen:
            unseen.append(path)
    return unseen


def _spikes(module: nn.Module) -> bool:
    # by name: whoever has no such neurons need not have the library
    return any(
        base.__name__ == "SpikingNeuron" and base.__module__.split(".")[0] == "snntorch"
        for base in type(module).__mro__
    )
