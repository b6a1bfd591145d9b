"""Building a model of the catalogue for a data set."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError, UnknownNameError
from minaction.models.catalog import INITS, MODELS, TAKES, Init
from minaction.models.ratio import parse_ratio
from minaction.models.sizing import Builder, size_of

TOLERANCE = 0.10
"""A model's parameter count may differ from its budget by this share."""


def build_model(
    name: str,
    spec: DataSpec,
    *,
    parameters: int = 100_000,
    seed: int = 0,
    ratio: float | str | None = None,
    init: Init | None = None,
    depth: int | None = None,
    kernel: int | None = None,
) -> nn.Module:
    """Build a model of the catalogue, sized to a parameter budget and initialised from `seed`.

    Args:
        name: A name in `minaction.models.catalog.MODELS`.
        spec: The data set's spec: shape of a sample and number of classes.
        parameters: Budget; the model has within 10 % of it.
        seed: Seed of the initial weights. The global random state is neither used nor changed.
        ratio: Width of a hidden layer over that of the one before: a number, a fraction such as
            "2/3", or "golden"; None leaves the model its own proportions. What it means for each
            model is said where that is sized.
        init: How layers that a ReLU or a spiking neuron follows start: `"pytorch"` or `"he"`, see
            `minaction.models.init.initialise`; all others start as they always do. None leaves the
            model its own way, which is said where that is sized.
        depth: Number of hidden layers, convolutions or blocks; None leaves the model its own.
        kernel: Positions a convolution spans along each axis, an odd number; None leaves the model
            its own. Which models take the two is in `minaction.models.catalog.TAKES`.

    Returns:
        The model in training mode, on the CPU.

    Raises:
        UnknownNameError: No such model.
        ModelError: The model does not fit the data or cannot meet the budget, `ratio` or `init` is
            none, or the model does not take a depth or kernel.
    """
    build = sized_builder(name, spec, parameters, ratio, init, depth, kernel)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        return build()


def sized_builder(
    name: str,
    spec: DataSpec,
    parameters: int,
    ratio: float | str | None = None,
    init: Init | None = None,
    depth: int | None = None,
    kernel: int | None = None,
) -> Builder:
    """Return what builds a model of the catalogue for a budget; for arguments see `build_model`.

    Raises:
        UnknownNameError: No such model.
        ModelError: The model does not fit the data or cannot meet the budget, `ratio` or `init` is
            none, or the model does not take a depth or kernel.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    if init is not None and init not in INITS:
        raise ModelError(f"init is {init!r}, expected one of {', '.join(INITS)}")
    module, _, function = MODELS[name].partition(":")
    number = None if ratio is None else parse_ratio(ratio)
    size_model = getattr(importlib.import_module(module), function)
    shape = {"depth": depth, "kernel": kernel}
    for option, value in shape.items():
        if value is not None and option not in TAKES.get(name, ()):
            raise ModelError(f"{name}: takes no {option}; leave it out")
    given = {key: value for key, value in {"init": init, **shape}.items() if value is not None}
    build: Builder = size_model(spec, parameters, number, **given)
    size = size_of(build)
    if abs(size - parameters) > TOLERANCE * parameters:
        raise ModelError(
            f"{name} on {spec.name}: cannot meet the budget of {parameters:,} parameters within "
            f"10 % (nearest: {size:,}); change `parameters`"
        )
    return build
