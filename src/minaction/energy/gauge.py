"""Gauge fixing: what is left of an energy when mere rescaling is taken out.

Networks of positively homogeneous layers do not change when a hidden unit's incoming weights and
bias are multiplied by `c > 0` and its outgoing weights by `1 / c`; the unit's activation is
multiplied by `c`, and so energies can fall with nothing gained. In the canonical gauge
`||(w_in, b)||_2 = ||w_out||_2` holds for every unit that may be rescaled, which leaves no such
freedom. A batch norm in evaluation mode counts as part of the layer before it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minaction.energy.balance import canonical_scales, free_groups, tied_groups
from minaction.energy.functionals import ActivationEnergy, Energy
from minaction.energy.scale_rules import tensors_in
from minaction.energy.scale_trace import ScaleTrace
from minaction.energy.symmetry import FIXED, Symmetry
from minaction.energy.tape import Layers, Tape, run_model
from minaction.energy.trajectory import Trajectory
from minaction.errors import GaugeError, MinActionError

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Relative change of the output above which gauge fixing is taken to have failed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GaugeReport:
    """A network in the canonical gauge, and what that did to its energy.

    Attributes:
        model: A rescaled copy that computes the same function; batch norms are folded in it.
        energy_before: Energy on `x` as given.
        energy_after: Energy on `x` in the canonical gauge.
        layers_before: Each layer's share of the energy, as given.
        layers_after: Each layer's share in the canonical gauge.
        covered: Layers of which every unit was free to be rescaled.
        not_covered: Other observed layers, with the reason; their units were not rescaled.
        max_output_difference: Largest difference between the outputs of the two networks on `x`,
            relative to the largest output.
    """

    model: nn.Module
    energy_before: float
    energy_after: float
    layers_before: Mapping[str, float]
    layers_after: Mapping[str, float]
    covered: tuple[str, ...]
    not_covered: Mapping[str, str]
    max_output_difference: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Gauge:
    """The rescaling that leads to the canonical gauge.

    Attributes:
        scales: For each covered layer the factor on each unit's activation, `[units]`, float64;
            0 for units that no weights connect with input and output.
        not_covered: The other observed layers, with the reason.
        symmetry: The parameters that take the scales.
        factors: The scale of every group of `symmetry`.
    """

    scales: Mapping[str, Tensor]
    not_covered: Mapping[str, str]
    symmetry: Symmetry
    factors: np.ndarray


def gauge_fix(
    model: nn.Module, x: Any, energy: Energy | None = None, *, layers: Layers | None = None
) -> GaugeReport:
    """Rescale a copy of `model` to the canonical gauge, its function unchanged.

    Found by following one forward pass on `x`: linear layers and convolutions (transposed ones
    too) with any positively homogeneous functions between them (ReLU, LeakyReLU, PReLU, pooling,
    dropout, reshaping, sums, concatenation, channel shuffles); batch norms are folded. Everything
    else (GELU, softmax attention, LayerNorm, recurrent kernels, spiking thresholds) stops the
    rescaling on both sides and is listed in `not_covered`.

    Args:
        model: Any module, in evaluation mode if that makes a difference to it; not changed.
        x: Its input: a tensor, a tuple of positional or a mapping of keyword arguments.
        energy: The energy reported; default: `ActivationEnergy()`.
        layers: What is observed, as for `Tape`.

    Returns:
        The rescaled copy and the energies on `x`.

    Raises:
        GaugeError: The model is in training mode and behaves differently there, has NaN or
            infinite weights, cannot be copied or run on `x`, or does something that cannot be
            followed, so that the rescaled copy's outputs differ.
        TapeError: The model cannot be observed.

    Example:
        >>> report = gauge_fix(model.eval(), x)
        >>> report.energy_after / report.energy_before
    """
    energy = energy or ActivationEnergy()
    gauge, before, output = _trace(model, x, layers)
    fixed = _rescaled(model, gauge)
    with torch.no_grad(), Tape(fixed, layers) as tape:
        rescaled_output = run_model(fixed, x)
    shares_before = {name: float(e) for name, e in energy.per_layer(before).items()}
    shares_after = {name: float(e) for name, e in energy.per_layer(tape.trajectory).items()}
    return GaugeReport(
        model=fixed,
        energy_before=sum(shares_before.values()),
        energy_after=sum(shares_after.values()),
        layers_before=shares_before,
        layers_after=shares_after,
        covered=tuple(gauge.scales),
        not_covered=gauge.not_covered,
        max_output_difference=_checked_difference(output, rescaled_output),
    )


def find_gauge(model: nn.Module, x: Any, layers: Layers | None = None) -> Gauge:
    """Return the rescaling to the canonical gauge without carrying it out.

    Args, raises: as for `gauge_fix`.
    """
    return _trace(model, x, layers)[0]


def _trace(model: nn.Module, x: Any, layers: Layers | None) -> tuple[Gauge, Trajectory, Any]:
    _check_weights(model)
    _check_mode(model)
    tape, trace = Tape(model, layers), ScaleTrace(model, x)
    try:
        with torch.no_grad(), tape, trace:
            output = run_model(model, x)
    except MinActionError:
        raise
    except Exception as error:
        raise GaugeError(f"the model does not run on this input: {_first_line(error)}") from error
    return _gauge(trace.close(output), trace, tape.trajectory), tape.trajectory, output


def _gauge(symmetry: Symmetry, trace: ScaleTrace, trajectory: Trajectory) -> Gauge:
    tied = tied_groups(symmetry)
    free = free_groups(symmetry, tied)
    factors = canonical_scales(symmetry, free)
    scales, not_covered = {}, {}
    for layer in trajectory.layers:
        found = trace.groups_of(layer.value)
        if found is None:
            not_covered[layer.name] = trace.reason(layer.value)
            continue
        units = found.movedim(layer.unit_axis, 0).flatten(1).cpu().numpy()
        by_unit = factors[units]
        if (free[units] == FIXED).any():
            not_covered[layer.name] = _why_pinned(symmetry, tied, units)
        elif (by_unit != by_unit[:, :1]).any():
            not_covered[layer.name] = "its positions are scaled differently"
        else:
            scales[layer.name] = torch.from_numpy(by_unit[:, 0].copy())
    return Gauge(scales=scales, not_covered=not_covered, symmetry=symmetry, factors=factors)


def _why_pinned(symmetry: Symmetry, tied: np.ndarray, units: np.ndarray) -> str:
    labels = tied[units]
    for pin in symmetry.pins:
        if np.isin(labels, tied[pin.groups.cpu().numpy()]).any():
            return pin.reason
    return "it is tied to an input of the model"


def _rescaled(model: nn.Module, gauge: Gauge) -> nn.Module:
    copies: dict[int, Any] = {}
    try:
        copied = copy.deepcopy(model, copies)
    except Exception as error:
        raise GaugeError(f"the model cannot be copied: {_first_line(error)}") from error
    factors = torch.from_numpy(gauge.factors)
    with torch.no_grad():
        for parameter in gauge.symmetry.parameters:
            out_scale = factors[parameter.out_groups.cpu()]
            in_scale = factors[parameter.in_groups.cpu()]
            # what touches a dead unit does nothing, and in the limit of its gauge is 0
            factor = torch.where((out_scale == 0) | (in_scale == 0), 0.0, out_scale / in_scale)
            target = copies[id(parameter.target)]
            target.copy_(parameter.value.double() * factor.to(target.device))
        for target, constant in gauge.symmetry.constants:
            copies[id(target)].fill_(constant)
    return copied


def _checked_difference(output: Any, rescaled_output: Any) -> float:
    worst = 0.0
    for one, other in zip(tensors_in([output]), tensors_in([rescaled_output]), strict=True):
        if not one.is_floating_point() or not one.numel():
            continue
        difference = float((one - other).abs().max() / one.abs().max().clamp_min(1e-30))
        if not difference <= TOLERANCES.get(one.dtype, 0.1):
            raise GaugeError(
                f"rescaling changed the output by {difference:.2g} of its size: the model does "
                "something that cannot be followed, or its output is not finite"
            )
        worst = max(worst, difference)
    return worst


def _check_weights(model: nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise GaugeError(f"{name} has NaN or infinite elements; train or load the model first")


def _check_mode(model: nn.Module) -> None:
    for name, module in model.named_modules():
        normalises = isinstance(module, nn.modules.batchnorm._NormBase)
        drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        if module.training and (normalises or drops):
            raise GaugeError(
                f"{name or type(module).__name__} is in training mode, where it computes something "
                "else than in use; call model.eval() first"
            )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
