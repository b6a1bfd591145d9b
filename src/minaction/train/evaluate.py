"""Evaluation: loss and accuracy, energies, silence. Always in float32, uncompiled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minaction.data.dataset import Split
from minaction.energy.functionals import ActivationEnergy, Energy, per_layer_of_each
from minaction.energy.gauge import gauge_fix
from minaction.energy.tape import Tape
from minaction.energy.trajectory import Activation, Trajectory
from minaction.errors import GaugeError
from minaction.objective.objective import TaskLoss

GAUGE_SAMPLES = 64  # on which it is checked that gauge fixing keeps the function
BATCH = 1000  # samples per evaluation batch; part of the definition of energies that don't add up


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss and accuracy on a split.

    Attributes:
        loss: Mean task loss.
        accuracy: Share of samples whose largest logit is the label's.
        balanced_accuracy: The same per class (recall), averaged over the classes that occur.
        predicted_classes: Number of different classes predicted.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    predicted_classes: int


@dataclass(frozen=True, kw_only=True)
class EnergyMeasurement:
    """Energies and silence on a split.

    Attributes:
        energies: Mean energy per sample by name.
        zero_fraction: Share of activations that are exactly 0.
        silent_fraction: Share of units that are 0 on every sample and position.
        layers: Per layer: each energy's share, zero_fraction, silent_fraction, units.
        outputs: What the model computed of the split's samples, in their order.
    """

    energies: dict[str, float]
    zero_fraction: float
    silent_fraction: float
    layers: dict[str, dict[str, float | int]]
    outputs: Tensor


@dataclass(frozen=True, kw_only=True)
class GaugeFixedMeasurement:
    """Activation energy on a split with mere rescaling taken out.

    Attributes:
        energy: Mean energy per sample in the canonical gauge; None unless it covers every layer.
        reason: Why there is none.
        layers: Per layer: energy_gauge_fixed, and gauge_reason where that is None.
        output_difference: Largest difference to the network as given, relative to its largest
            output; None where no network in the canonical gauge could be had.
    """

    energy: float | None
    reason: str | None
    layers: dict[str, dict[str, float | str | None]]
    output_difference: float | None


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, task_loss: TaskLoss) -> Evaluation:
    """Return loss and accuracy of `model` on `split`; leaves the model in evaluation mode."""
    model.eval()
    return judge(torch.cat([model(x) for x, _ in _batches(split)]), split.y, task_loss)


@torch.no_grad()
def judge(logits: Tensor, y: Tensor, task_loss: TaskLoss) -> Evaluation:
    """Return loss and accuracy of logits `[samples, classes]` for labels `[samples]`."""
    predicted = logits.argmax(1)
    hits = predicted == y
    per_class = y.bincount()
    recall = y[hits].bincount(minlength=len(per_class)) / per_class
    return Evaluation(
        loss=float(task_loss(logits, y)),
        accuracy=int(hits.sum()) / len(y),
        balanced_accuracy=float(recall[per_class > 0].double().mean()),
        predicted_classes=len(predicted.unique()),
    )


def learned(found: Evaluation, split: Split) -> bool:
    """Whether a network tells classes apart: balanced accuracy beats chance by two standard errors.

    With `K` classes of `n_k` samples chance is `1/K`, whatever their shares: that of guessing, and
    of always naming one class. Its standard error is `sqrt(sum_k (1/K) (1 - 1/K) / n_k) / K`.
    Accuracy above the commonest class's share implies balanced accuracy above chance, but not the
    other way round: where people differ, or classes are rare, a network may know much and still be
    right less often than one that always names the commonest class.

    Args:
        found: What it did on the split.
        split: The split.
    """
    sizes = split.y.bincount()
    sizes = sizes[sizes > 0].double()
    chance = 1 / len(sizes)
    error = float((chance * (1 - chance) / sizes).sum().sqrt()) / len(sizes)
    return found.predicted_classes > 1 and found.balanced_accuracy > chance + 2 * error


@torch.no_grad()
def measure_energies(
    model: nn.Module, split: Split, energies: Mapping[str, Energy]
) -> EnergyMeasurement:
    """Return every energy of `model` on `split`, in total and by layer.

    Energies are means over batches of 1,000 samples, weighted by their size; `unit`, which is no
    mean over samples, is therefore the mean of its value on such batches. Leaves the model in
    evaluation mode.
    """
    totals = dict.fromkeys(energies, 0.0)
    shares: dict[str, dict[str, float]] = {}
    layers: dict[str, _Silence] = {}
    outputs: list[Tensor] = []
    for weight, output, trajectory in _observed(model, split):
        outputs.append(output)
        for name, of_energy in per_layer_of_each(energies, trajectory).items():
            for layer, share in of_energy.items():
                value = weight * float(share)
                totals[name] += value
                row = shares.setdefault(layer, {})
                row[name] = row.get(name, 0.0) + value
        for activation in trajectory.layers:
            layers.setdefault(activation.name, _Silence()).add(activation)
    return EnergyMeasurement(
        energies=totals,
        zero_fraction=_ratio(
            sum(s.zeros for s in layers.values()), sum(s.elements for s in layers.values())
        ),
        silent_fraction=_ratio(
            sum(s.silent for s in layers.values()), sum(s.units for s in layers.values())
        ),
        layers={
            layer: {f"energy_{name}": value for name, value in row.items()}
            | (layers[layer].summary() if layer in layers else {})
            for layer, row in shares.items()
        },
        outputs=torch.cat(outputs),
    )


def measure_gauge_fixed(model: nn.Module, split: Split) -> GaugeFixedMeasurement:
    """Return the activation energy of `model` on `split` in the canonical gauge.

    See `minaction.energy.gauge`. Leaves the model in evaluation mode.
    """
    model.eval()
    try:
        report = gauge_fix(model, split.x[:GAUGE_SAMPLES])
    except GaugeError as error:
        reason = str(error)
        return GaugeFixedMeasurement(energy=None, reason=reason, layers={}, output_difference=None)
    shares: dict[str, float] = {}
    for weight, _, trajectory in _observed(report.model, split):
        for layer, share in ActivationEnergy().per_layer(trajectory).items():
            shares[layer] = shares.get(layer, 0.0) + weight * float(share)
    layers: dict[str, dict[str, float | str | None]] = {
        layer: {"energy_gauge_fixed": None, "gauge_reason": report.not_covered[layer]}
        if layer in report.not_covered
        else {"energy_gauge_fixed": share}
        for layer, share in shares.items()
    }
    left_out = [f"{name}: {reason}" for name, reason in report.not_covered.items()]
    return GaugeFixedMeasurement(
        energy=None if left_out else math.fsum(shares.values()),
        reason="; ".join(left_out) or None,
        layers=layers,
        output_difference=report.max_output_difference,
    )


@dataclass
class _Silence:
    """Zeros and silent units of one layer, accumulated over batches."""

    elements: int = 0
    nonzero: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    def add(self, activation: Activation) -> None:
        value = activation.value
        self.elements += value.numel()
        unit_axis = activation.unit_axis % value.ndim
        others = [axis for axis in range(value.ndim) if axis != unit_axis]
        self.nonzero = self.nonzero + value.count_nonzero(dim=others)

    @property
    def zeros(self) -> int:
        return self.elements - int(self.nonzero.sum())

    @property
    def units(self) -> int:
        return self.nonzero.numel()

    @property
    def silent(self) -> int:
        return int((self.nonzero == 0).sum())

    def summary(self) -> dict[str, float | int]:
        return {
            "zero_fraction": _ratio(self.zeros, self.elements),
            "silent_fraction": _ratio(self.silent, self.units),
            "units": self.units,
        }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _observed(model: nn.Module, split: Split) -> Iterator[tuple[float, Tensor, Trajectory]]:
    """Yield, batch by batch, its share of the split, what the model computed, and on what way."""
    model.eval()
    for x, _ in _batches(split):
        with torch.no_grad(), Tape(model) as tape:
            output = model(x)
        yield len(x) / len(split), output, tape.trajectory


def _batches(split: Split) -> list[tuple[Tensor, Tensor]]:
    return list(zip(split.x.split(BATCH), split.y.split(BATCH), strict=True))
