"""What an audit found, as a value, a table, a data frame and JSON. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minaction.measure.tables import WIDTH, lines_of, short

if TYPE_CHECKING:
    import pandas as pd

UNOBSERVED = "(reads no layer)"
TOTAL = "total"
SHARED = (
    *("energy_activation", "energy_gauge_fixed"),
    *("macs_dense", "macs_effective", "acs_effective", "parameters"),
)
"""Columns that come with each row's share of the total."""
HEADER = ("layer", "units", "silent", "zero %", "energy", "%", "gauge-fixed", "MACs", "%",
          "effective", "params", "%")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LayerAudit:
    """One row: an observed layer, the operations that read no observed layer, or the total.

    Attributes:
        name: The layer's name.
        units: Channels or features; None for what is no layer.
        silent_units: Units that were 0 on every sample and position.
        zero_fraction: Share of activations that are 0.
        energy_activation: Mean over the samples of the sum of squared activations.
        energy_gauge_fixed: The same in the canonical gauge; None where `gauge_reason` says why.
        gauge_reason: Why there is no gauge-fixed energy.
        macs_dense: MACs per sample of the operations that read the layer.
        macs_effective: Those of them whose activations are neither 0 nor spikes.
        acs_effective: Those whose activations are spikes (-1, 0 or 1) and not 0: accumulates. Not
            among `macs_effective`.
        parameters: Parameters of these operations. Where one reads several layers, MACs and
            parameters are shared among them.
    """

    name: str
    units: int | None = None
    silent_units: int | None = None
    zero_fraction: float | None = None
    energy_activation: float | None = None
    energy_gauge_fixed: float | None = None
    gauge_reason: str | None = None
    macs_dense: float
    macs_effective: float
    acs_effective: float
    parameters: float


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Where a network's energy, MACs and parameters are.

    `str()` gives a table.

    Attributes:
        model: Name of the model's class.
        samples: Samples seen.
        batches: Batches they came in.
        layers: The observed layers in the order they ran.
        unobserved: MACs and parameters of what reads no observed layer.
        total: The whole network. Its `energy_gauge_fixed` is None unless all layers are covered.
        not_counted: Functions whose MACs are not known, and how often they were called.
        warnings: One line for each layer whose energy is no measure of anything, and so on.
    """

    model: str
    samples: int
    batches: int
    layers: tuple[LayerAudit, ...]
    unobserved: LayerAudit
    total: LayerAudit
    not_counted: Mapping[str, int]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{self.model}: {self.samples:,} samples in {_count(self.batches, 'batch', 'es')}"
        return "\n".join([head, "", *_table(self), "", *_notes(self)])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values, shares of the total included."""
        return {
            "model": self.model,
            "samples": self.samples,
            "batches": self.batches,
            "layers": [self._row(layer) for layer in self.layers],
            "unobserved": self._row(self.unobserved),
            "total": self._row(self.total),
            "not_counted": dict(self.not_counted),
            "warnings": list(self.warnings),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer, one for what reads none and one for the total."""
        import pandas as pd

        rows = [self._row(row) for row in (*self.layers, self.unobserved, self.total)]
        frame = pd.DataFrame(rows).set_index("name")
        return frame.astype({"units": "Int64", "silent_units": "Int64"})

    def _row(self, row: LayerAudit) -> dict[str, Any]:
        shares = {
            f"{name}_share": _share(getattr(row, name), getattr(self.total, name))
            for name in SHARED
        }
        return {**vars(row), **shares}


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None or not whole else part / whole


def _table(audit: Audit) -> list[str]:
    rows = (*audit.layers, audit.unobserved, audit.total)
    return lines_of(HEADER, [_cells(audit, row) for row in rows])


def _cells(audit: Audit, row: LayerAudit) -> tuple[str, ...]:
    def share(name: str) -> str:
        value = _share(getattr(row, name), getattr(audit.total, name))
        return "" if value is None else f"{100 * value:.0f}"

    measured = ("",) * 6
    if row.zero_fraction is not None:
        fixed = row.energy_gauge_fixed
        measured = (
            f"{row.units:,}",
            f"{row.silent_units:,}",
            f"{100 * row.zero_fraction:.1f}",
            f"{row.energy_activation:.4g}",
            share("energy_activation"),
            "-" if fixed is None else f"{fixed:.4g}",
        )
    return (
        row.name,
        *measured,
        short(row.macs_dense),
        share("macs_dense"),
        short(row.macs_effective + row.acs_effective),
        short(row.parameters),
        share("parameters"),
    )


def _notes(audit: Audit) -> list[str]:
    notes = [*audit.warnings]
    reasons: dict[str, list[str]] = {}
    for layer in audit.layers:
        if layer.gauge_reason is not None:
            reasons.setdefault(layer.gauge_reason, []).append(layer.name)
    for reason, names in reasons.items():
        notes.append(f"no gauge-fixed energy ({reason}): {', '.join(names)}")
    if audit.not_counted:
        calls = ", ".join(f"{name} ({_count(n, 'call')})" for name, n in audit.not_counted.items())
        notes.append(f"MACs not counted: {calls}")
    notes.append(
        "A layer's MACs and parameters are those of what reads it; effective ones, of spikes "
        "accumulates, read no 0. Counted: linear layers, "
        "convolutions, recurrent kernels, attention and other matrix products; element-wise "
        "functions, normalisations, pooling, softmax and look-ups have none by convention."
    )
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"
