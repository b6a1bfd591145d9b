"""What says how one run of `results/transformer.py` is made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from minaction.study.canonical import canonical_json


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run.

    Attributes:
        model: `"bert"` or `"gpt2"`.
        activation: Of the feed-forward layers, by its name in transformers.
        lam: 0 or `"budget"`.
        seed: Of weights, dropout and the order of texts.
        words: Token ids; of the GPT-2's stream the most frequent ones, others are left out.
        margin: What may be lost of the validation score, accuracy or minus nats per token.
        energy: What lambda is the price of.
        tokens: Of a text.
        width: Of the residual stream.
        layers: Attention and feed-forward layers.
        heads: Attention heads of a layer.
        units: Feed-forward units of a layer.
        steps: Optimiser steps.
        validate_every: Steps between two validations.
        batch: Texts of a step.
        lr: The highest learning rate, after a warm-up of a twentieth of the steps; falls to 0.
        weight_decay: AdamW's.
        aim: Share of the margin that training is to use up.
        lam_range: Lowest lambda of a budget, that after its warm-up, and the highest.
        tolerances: Of `minaction.compact`, tried in this order, 0 first.
        latency_batches: Texts of a batch that is timed.
        pairs: Pairs of timings.
    """

    model: str
    activation: str
    lam: float | str
    seed: int
    words: int
    margin: float
    energy: str = "unit"
    tokens: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 4
    units: int = 256
    steps: int = 1200
    validate_every: int = 60
    batch: int = 32
    lr: float = 2e-3
    weight_decay: float = 0.0
    aim: float = 0.5
    lam_range: tuple[float, float, float] = (5e-5, 5e-4, 1e-2)
    tolerances: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
    latency_batches: tuple[int, ...] = (32, 1)
    pairs: int = 41

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as they are in a line."""
        return json.loads(canonical_json(asdict(self)))

    @property
    def label(self) -> str:
        """What the run is called."""
        return f"{self.model}, {self.activation}, lambda {self.lam}, seed {self.seed}"
