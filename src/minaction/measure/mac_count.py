"""What a count of MACs found, as a value, a table and JSON. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minaction.measure.tables import WIDTH, lines_of, short

HEADER = ("layer", "operation", "calls", "MACs", "%", "effective", "ACs", "backward", "bytes")


@dataclass(frozen=True, kw_only=True)
class LayerMacs:
    """What one function costs in one module, per sample, over all its calls and time steps.

    Attributes:
        name: The module's name; empty for the model itself.
        operation: The function's name.
        calls: How often it is called for a batch.
        macs_dense: Multiply-accumulates if no activation were 0.
        macs_effective: Those of them whose activations are neither 0 nor spikes.
        acs_effective: Those whose activations are spikes (-1, 0 or 1): accumulates.
        macs_backward: MACs of the gradients with respect to activations and weights.
        bytes_moved: Bytes of weights and activations, read and written, in batches as large as
            those counted.
    """

    name: str
    operation: str
    calls: float
    macs_dense: float
    macs_effective: float | None
    acs_effective: float | None
    macs_backward: float | None
    bytes_moved: float


@dataclass(frozen=True, kw_only=True)
class MacCount:
    """MACs and bytes of a network's forward pass and training step, per sample.

    `str()` gives a table. Where `uncounted` names something, the totals are lower bounds.

    Attributes:
        model: Name of the model's class.
        samples: Samples seen.
        batches: Batches they came in.
        layers: Operations that have MACs, in the order they first ran.
        parameters: Elements of all parameters.
        macs_dense: MACs of a forward pass in evaluation mode if no activation were 0.
        macs_effective: Those of them whose activations are neither 0 nor spikes; None where
            activations have no values, on the meta device. Weights, and what fused kernels keep
            inside, count as if they held no zeros.
        acs_effective: Those whose activations are spikes (-1, 0 or 1), so that weights are added
            without multiplication. Not among `macs_effective`.
        macs_training_forward: MACs of a forward pass in training mode; None where only the forward
            pass was counted.
        macs_backward: MACs of the gradients with respect to activations and weights of everything
            the model returns. What the samples are multiplied by needs no gradient of the samples.
        weight_bytes: Bytes of weights that a forward pass reads, whatever the size of the batch.
        activation_bytes: Bytes of activations that it reads and writes, per sample, without caches
            and fusion.
        training_bytes: Bytes that a training step moves, per sample, in batches as large as those
            counted; the optimiser's aside.
        cheap: Elements per sample computed by functions that have no MACs by convention.
        uncounted: Functions whose MACs are not known, and how often they were called.
    """

    model: str
    samples: int
    batches: int
    layers: tuple[LayerMacs, ...]
    parameters: int
    macs_dense: float
    macs_effective: float | None
    acs_effective: float | None
    macs_training_forward: float | None
    macs_backward: float | None
    weight_bytes: float
    activation_bytes: float
    training_bytes: float | None
    cheap: Mapping[str, float]
    uncounted: Mapping[str, int]

    @property
    def macs_training(self) -> float | None:
        """MACs of a training step: forward and backward pass; the optimiser has none."""
        if self.macs_training_forward is None or self.macs_backward is None:
            return None
        return self.macs_training_forward + self.macs_backward

    @property
    def bytes_moved(self) -> float:
        """Bytes that a forward pass moves, per sample, in batches as large as those counted."""
        return self.weight_bytes * self.batches / self.samples + self.activation_bytes

    @property
    def reason(self) -> str | None:
        """Why the MACs are lower bounds, if they are."""
        return f"no formula for {', '.join(sorted(self.uncounted))}" if self.uncounted else None

    def __str__(self) -> str:
        batches = f"{self.batches:,} batch{'' if self.batches == 1 else 'es'}"
        head = f"{self.model}: per sample, of {self.samples:,} in {batches}"
        return "\n".join([head, "", *_table(self), "", *_notes(self)])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values, derived totals included."""
        return {
            **asdict(self),
            "layers": [asdict(layer) for layer in self.layers],
            "cheap": dict(self.cheap),
            "uncounted": dict(self.uncounted),
            "macs_training": self.macs_training,
            "bytes_moved": self.bytes_moved,
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)


def _table(count: MacCount) -> list[str]:
    rows = [
        (
            layer.name or count.model,
            layer.operation,
            f"{layer.calls:.4g}",
            short(layer.macs_dense),
            f"{100 * layer.macs_dense / count.macs_dense:.1f}" if count.macs_dense else "",
            short(layer.macs_effective),
            short(layer.acs_effective),
            short(layer.macs_backward),
            short(layer.bytes_moved),
        )
        for layer in count.layers
    ]
    total = (
        "total",
        "",
        "",
        short(count.macs_dense),
        "",
        short(count.macs_effective),
        short(count.acs_effective),
        short(count.macs_backward),
        short(count.bytes_moved),
    )
    return lines_of(HEADER, [*rows, total], texts=2)


def _notes(count: MacCount) -> list[str]:
    notes = []
    if count.macs_training is not None:
        notes.append(
            f"Training step: {short(count.macs_training)} MACs (forward "
            f"{short(count.macs_training_forward)}, backward {short(count.macs_backward)}), "
            f"{short(count.training_bytes)} bytes."
        )
    if count.macs_effective is None:
        notes.append("No effective MACs: the activations have no values to look at.")
    if count.uncounted:
        calls = ", ".join(f"{name} ({n:,})" for name, n in count.uncounted.items())
        notes.append(f"MACs NOT counted, with the number of calls: {calls}")
    if count.cheap:
        elements = ", ".join(f"{name} ({short(n)})" for name, n in count.cheap.items())
        notes.append(f"No MACs by convention, with the elements computed: {elements}")
    notes.append(
        "The bytes of the total are those of all functions, in batches of "
        f"{count.samples / count.batches:.4g}, without caches and fusion."
    )
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
