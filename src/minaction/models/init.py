"""How the layers start that a ReLU, or a spiking neuron, follows."""

from __future__ import annotations

import itertools

from torch import nn

from minaction.models.catalog import Init


def initialise(layer: nn.Module, init: Init = "he") -> None:
    """Give a new layer that a ReLU or a spiking neuron follows its initial values.

    - `"he"`: weights normal with variance 2 / fan-in, which keeps the size of what passes the ReLU,
      and no bias.
    - `"pytorch"`: what PyTorch has given it, weights and bias uniform within 1 / sqrt(fan-in), a
      sixth of that variance.

    Reference: He et al. 2015, arXiv:1502.01852.
    """
    if init == "pytorch":
        return
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")


def initialise_before_relus(net: nn.Sequential, init: Init) -> None:
    """Give each layer of a new network that is directly followed by a ReLU its initial values."""
    for layer, following in itertools.pairwise(net):
        if isinstance(following, nn.ReLU):
            initialise(layer, init)
