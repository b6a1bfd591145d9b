"""What the layers with weights read: their inputs, channel by channel, over a calibration set.

A unit matters only through the layers that read it, so it is judged there: whatever lies between
(batch norms, pooling, residual sums, concatenation) has then been taken into account.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minaction.compaction.batches import Batches
from minaction.energy.scale_rules import tensors_in
from minaction.errors import CompactionError

ROUNDING = 8
"""Units in the last place within which activations count as one constant."""

Reader = nn.Linear | nn.modules.conv._ConvNd


@dataclass(kw_only=True, eq=False)
class Reading:
    """What one layer read, per input channel; zeros of its padding included.

    A convolution that pads with zeros does not read a constant at the borders even where its
    input is one, and the bias cannot make up for that. So padding counts as read, by the share of
    the kernel's positions that lie in it.

    Attributes:
        low: Smallest value read, `[channels]`, float64, padding excluded, as in `high`.
        high: Largest value.
        total: Sum of values.
        squares: Sum of squares.
        values: Number of values, padding excluded.
        count: Number of values, padding included.
        folds: Whether a constant input is a constant shift of the output (borders aside).
    """

    folds: bool
    low: Tensor = field(default_factory=lambda: torch.tensor(math.inf).double())
    high: Tensor = field(default_factory=lambda: torch.tensor(-math.inf).double())
    total: Tensor = field(default_factory=lambda: torch.zeros(()).double())
    squares: Tensor = field(default_factory=lambda: torch.zeros(()).double())
    values: int = 0
    count: float = 0.0

    def add(self, value: Tensor, axis: int, inside: float) -> None:
        """Add one input; `inside` is the share of kernel positions outside the padding."""
        channels = value.detach().movedim(axis, 0).flatten(1)
        if channels.dtype != torch.float64:
            channels = channels.float()  # squares of half precision would overflow
        self.low = torch.minimum(self.low, channels.amin(1).double().cpu())
        self.high = torch.maximum(self.high, channels.amax(1).double().cpu())
        self.total = self.total + channels.sum(1).double().cpu()
        self.squares = self.squares + channels.square().sum(1).double().cpu()
        self.values += channels.shape[1]
        self.count += channels.shape[1] / inside

    @property
    def is_one_value(self) -> Tensor:
        """Which channels always were the same but for rounding, padding aside."""
        size = torch.maximum(self.low.abs(), self.high.abs())
        return self.high - self.low <= ROUNDING * torch.finfo(torch.float32).eps * size

    @property
    def is_constant(self) -> Tensor:
        """Which channels a shift of the bias replaces exactly."""
        padded = self.count > self.values
        return self.is_zero | self.is_one_value if self.folds and not padded else self.is_zero

    @property
    def is_zero(self) -> Tensor:
        """Which channels always were 0."""
        return (self.low == 0) & (self.high == 0)

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, padding excluded."""
        return torch.where(self.is_one_value, (self.low + self.high) / 2, self.total / self.values)

    @property
    def constant(self) -> Tensor:
        """The value that replaces each channel best: its mean; 0 if it cannot be folded."""
        if not self.folds:
            return torch.zeros_like(self.total)
        return torch.where(self.is_constant, self.mean, self.total / self.count)

    @property
    def deviation(self) -> Tensor:
        """Root mean square of what is read minus `constant`."""
        left = self.squares / self.count - self.constant.square()
        return torch.where(self.is_constant, 0.0, left.clamp_min(0.0)).sqrt()


def measure(
    model: nn.Module, readers: Iterable[str], batches: Batches
) -> tuple[dict[str, Reading], bool]:
    """Run a model on a calibration set and return what each of `readers` read.

    Args:
        model: The model, in evaluation mode.
        readers: Names of linear layers and convolutions.
        batches: The calibration set.

    Returns:
        The readings by layer (layers that did not run are left out), and whether the output was
        the same for every sample.

    Raises:
        CompactionError: The model does not run, or an activation or output is not finite.
    """
    modules = dict(model.named_modules())
    readings: dict[str, Reading] = {}
    handles = []

    def listen(name: str, module: Reader) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            value = args[0] if args else kwargs["input"]
            transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
            reading = readings.setdefault(name, Reading(folds=not transposed))
            axis = channel_axis(module, value)
            reading.add(value, axis, inside_share(module, value.shape[axis + 1 :]))

        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    try:
        for name in readers:
            listen(name, modules[name])  # pyright: ignore[reportArgumentType]
        outputs = _Spread()
        for output in batches.run(model):
            outputs.add(output)
    finally:
        for handle in handles:
            handle.remove()
    for name, reading in readings.items():
        if not bool(reading.squares.isfinite().all()):
            raise CompactionError(f"{name} reads NaN or infinite values on {batches.name}")
    return readings, outputs.is_constant


def channel_axis(module: nn.Module, value: Tensor) -> int:
    """Return which axis of a layer's input its channels lie on."""
    weight: Any = module.weight
    return value.ndim - (weight.ndim - 2) - 1


def inside_share(module: nn.Module, sizes: Iterable[int]) -> float:
    """Return the share of a layer's kernel positions that do not lie in padding with zeros."""
    if not isinstance(module, nn.modules.conv._ConvNd) or module.padding_mode != "zeros":
        return 1.0
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return 1.0
    share = 1.0
    paddings = module._reversed_padding_repeated_twice[::-1]
    for axis, size in enumerate(sizes):
        after, before = paddings[2 * axis : 2 * axis + 2]
        kernel, stride = module.kernel_size[axis], module.stride[axis]
        starts = range(-before, size + after - module.dilation[axis] * (kernel - 1), stride)
        taps = [s + module.dilation[axis] * k for s in starts for k in range(kernel)]
        share *= sum(0 <= tap < size for tap in taps) / len(taps)
    return share


class _Spread:
    """Whether a model's outputs are the same for all samples."""

    def __init__(self) -> None:
        self._low: list[Tensor] = []
        self._high: list[Tensor] = []
        self.varies = False

    def add(self, output: Any) -> None:
        tensors = [t for t in tensors_in([output]) if t.is_floating_point() and t.ndim]
        low, high = [t.amin(0) for t in tensors], [t.amax(0) for t in tensors]
        if self._low:
            if [t.shape for t in low] != [t.shape for t in self._low]:
                self.varies = True  # such as sequences of several lengths
                return
            low = [torch.minimum(a, b) for a, b in zip(self._low, low, strict=True)]
            high = [torch.maximum(a, b) for a, b in zip(self._high, high, strict=True)]
        self._low, self._high = low, high

    @property
    def is_constant(self) -> bool:
        return not self.varies and all(
            bool((high - low <= 1e-6 * high.abs().max()).all())
            for low, high in zip(self._low, self._high, strict=True)
        )
