"""Compaction of a model of the user's, given on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minaction.compaction.batches import Batches
from minaction.compaction.compact import Compaction, compact
from minaction.compaction.latency import Latency, Runtime, measure_latency
from minaction.data.dataset import Dataset, Split
from minaction.errors import CompactionError
from minaction.models.external import load_model, read_weights


@dataclass(frozen=True, kw_only=True, eq=False)
class CompactedModel:
    """A user's model before and after.

    Attributes:
        name: What its files are called.
        compaction: What was removed.
        accuracy: For validation and test split the accuracy `before` and `after`; empty where
            there are no labels.
        latency: Measured latencies.
        settings: What was asked for.
    """

    name: str
    compaction: Compaction
    accuracy: dict[str, dict[str, float]]
    latency: list[Latency]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the network as JSON-able values."""
        return {
            **self.settings,
            **self.compaction.to_dict(),
            "accuracy": self.accuracy,
            "latency": [entry.to_dict() for entry in self.latency],
        }


def compact_user_model(
    target: str,
    data: Dataset | Path,
    *,
    weights: Path | None = None,
    held_out: Path | None = None,
    tolerance: float = 0.0,
    macs: float | None = None,
    runtimes: Sequence[Runtime] = (),
) -> CompactedModel:
    """Compact a model that is named as for `load_model`.

    Args:
        target: `package.module:factory` or the path of an exported program.
        data: A data set (calibrated on its training split, compared on its validation split), or
            a safetensors file of inputs, as for `read_inputs`.
        weights: A safetensors file with the model's weights.
        held_out: A file of other inputs, where `data` is one.
        tolerance: As for `compact`.
        macs: As for `compact`.
        runtimes: Where latency is measured.

    Raises:
        ModelError: There is no such model or file.
        CompactionError: The model cannot be compacted on this data.
    """
    model = load_model(target, weights).eval()
    if isinstance(data, Dataset):
        calibration, others = data.train.x, data.validation.x
    else:
        calibration, others = read_inputs(data), read_inputs(held_out) if held_out else None
    compaction = compact(model, calibration, held_out=others, tolerance=tolerance, macs=macs)
    splits = {}
    if isinstance(data, Dataset) and _classifies(model, data):
        splits = {"validation": data.validation, "test": data.test}
    return CompactedModel(
        name=Path(target).stem if Path(target).is_file() else target.rpartition(":")[2],
        compaction=compaction,
        accuracy={
            name: {"before": _accuracy(model, split), "after": _accuracy(compaction.model, split)}
            for name, split in splits.items()
        },
        latency=measure_latency(model, compaction.model, compaction.example, runtimes=runtimes),
        settings={"target": target, "tolerance": tolerance, "macs": macs},
    )


def read_inputs(path: Path) -> Tensor | dict[str, Tensor]:
    """Read inputs from a safetensors file: one tensor, or several keyword arguments by name.

    Raises:
        ModelError: The file is missing or no safetensors file.
        CompactionError: It holds no tensor.
    """
    tensors = read_weights(path)
    if not tensors:
        raise CompactionError(f"{path}: holds no tensor; give inputs of the model")
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _classifies(model: nn.Module, data: Dataset) -> bool:
    """Return whether the model's outputs are one number for each class of the data set."""
    with torch.no_grad():
        output = model(data.validation.x[:2])
    return isinstance(output, Tensor) and output.shape == (2, data.spec.classes)


def _accuracy(model: nn.Module, split: Split) -> float:
    batches = Batches(split.x, 1000, "the split")
    correct = sum(
        int((output.argmax(1) == y).sum())
        for output, y in zip(batches.run(model), split.y.split(1000), strict=True)
    )
    return correct / len(split)
