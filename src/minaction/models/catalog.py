"""Models by name, for study files and the command line. Imports no torch."""

from __future__ import annotations

from typing import Literal

Init = Literal["pytorch", "he"]
"""How layers that a ReLU or a spiking neuron follows start; see `minaction.models.init`."""

INITS: tuple[Init, ...] = ("pytorch", "he")

MODELS: dict[str, str] = {
    "mlp": "minaction.models.conventional:sized_mlp",
    "cnn": "minaction.models.conventional:sized_cnn",
    "gru": "minaction.models.sequence:sized_gru",
    "tcn": "minaction.models.sequence:sized_tcn",
    "transformer": "minaction.models.transformer:sized_transformer",
    "dual-pathway": "minaction.models.dual_pathway:sized_dual_pathway",
    "lagrangian": "minaction.models.lagrangian:sized_lagrangian",
    "lif-mlp": "minaction.models.spiking:sized_lif_mlp",
    "lif-cnn": "minaction.models.spiking:sized_lif_cnn",
}
"""Name of each model and the function that sizes it for a data set, as `module:function`."""

TAKES: dict[str, tuple[str, ...]] = {
    "mlp": ("depth",),
    "cnn": ("depth", "kernel"),
    "tcn": ("depth", "kernel"),
    "transformer": ("depth",),
}
"""What models can be told of their layers beyond their size and ratio; the others: nothing."""

SHAPES = ("depth", "kernel")
"""All that `TAKES` names."""
