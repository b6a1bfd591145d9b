"""Energy audit of any network: where its energy, its zeros, MACs and parameters are.

Everything is reduced while the network runs, so that one ordinary forward pass per batch is all it
takes, and no activation is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minaction.energy.functions import CELLS, SEQUENCES
from minaction.energy.tape import Layers, Tape
from minaction.energy.trajectory import Activation
from minaction.errors import InputError
from minaction.measure.audit_result import TOTAL, UNOBSERVED, Audit, LayerAudit
from minaction.measure.batches import batch_size, batches_of, check_eager, name_of, run_untouched
from minaction.measure.layer_gauge import GaugeWatch, LayerGauge
from minaction.measure.layer_sums import LayerSums
from minaction.measure.mac_trace import Cost, MacTrace
from minaction.measure.time_steps import spiking_types, stepping_modules, unseen_neurons


def audit(
    model: nn.Module, inputs: Any, *, layers: Layers | None = None, batches: int | None = None
) -> Audit:
    """Measure where a network's activation energy, zeros, MACs and parameters are.

    Works on any module: it runs in evaluation mode without gradients and is left as it was, also
    where it keeps a state. Observed by default: what a `Tape` observes, or, where that is nothing,
    the spikes of snnTorch neurons. What a recurrent cell or a spiking neuron computes in successive
    time steps is one layer.

    Args:
        model: Any module.
        inputs: One batch (a tensor, a tuple of positional or a mapping of keyword arguments), or an
            iterable of batches, such as a generator or data loader, read once and not kept.
        layers: Names of layers or types of modules to observe instead, as for `Tape`.
        batches: How many batches to read at most; default: all.

    Returns:
        Energies (raw, and gauge-fixed where the canonical gauge reaches), zeros, silent units, MACs
        and parameters by layer and in total. Effective MACs are those whose activation is not 0;
        of spikes they are accumulates.

    Raises:
        InputError: There are no inputs, the model does not run on them, or its weights or
            activations are not finite.
        TapeError: The model cannot be observed.

    Example:
        >>> print(audit(model, x))
        >>> audit(model, (x for x, _ in loader), batches=10).to_frame()
    """
    if batches is not None and batches < 1:
        raise InputError(f"batches is {batches}, expected a number from 1")
    _check_model(model)
    run = _Audit(model, layers)
    for batch in itertools.islice(batches_of(inputs), batches):
        run.add(batch)
    return run.close()


class _Audit:
    """Accumulates an audit batch by batch."""

    def __init__(self, model: nn.Module, layers: Layers | None) -> None:
        self.model = model
        self.layers = layers
        self.macs = MacTrace(model)
        self.gauge: LayerGauge | None = None
        self.sums: dict[str, LayerSums] = {}
        self.batches = 0
        self.samples = 0
        self._steps = stepping_modules(model)

    def add(self, batch: Any) -> None:
        """Run the model on one batch and take in what is observed."""
        size = batch_size(batch)
        found = self._measure(batch)
        if not found and self.layers is None and spiking_types(self.model):
            self.layers = spiking_types(self.model)
            self.macs, self.gauge = MacTrace(self.model), None
            found = self._measure(batch)
        self._take(found)
        self.batches += 1
        self.samples += min((sums.samples for sums in found.values()), default=size)

    def _measure(self, batch: Any) -> dict[str, LayerSums]:
        watch = GaugeWatch(self.model, batch) if self.gauge is None else None
        found: dict[str, LayerSums] = {}

        def reduce(activation: Activation) -> Tensor:
            with torch._C.DisableTorchFunction():  # none of this is part of the model
                sums = found[activation.name] = LayerSums.of(activation)
                for value in _aliases(activation):
                    self.macs.observe(self._row(activation.name), value, int(sums.nonzeros.sum()))
                if watch is not None:
                    watch.observe(activation)
            return torch.zeros(())  # what is reduced is kept here, not by the tape

        self.macs.start(batch)
        tape = Tape(self.model, self.layers, reduce=reduce)
        # the tape last: it then sees a call when all others have
        modes = [self.macs, *([watch] if watch else []), tape]
        output = run_untouched(self.model, batch, modes)
        self.macs.finish(output)
        kept = {name: found[name] for name in tape.reduced}
        if watch is not None:
            self.gauge = watch.close(output, kept)
        return kept

    def _take(self, found: Mapping[str, LayerSums]) -> None:
        seen: set[str] = set()
        for name, sums in found.items():
            row = self._row(name)
            if not bool(sums.squares.isfinite().all()):
                raise InputError(
                    f"the activation of {row!r} is not finite: the inputs hold NaN or infinite "
                    "elements, or the network overflows on them"
                )
            known = self.sums.setdefault(row, sums)
            if known.units != sums.units:
                raise InputError(
                    f"layer {row!r} has {sums.units} units after {known.units} before; give "
                    "batches of one shape, or leave the layer out with `layers`"
                )
            if known is not sums:
                known.extend(sums, same_samples=row in seen)
            seen.add(row)

    def _row(self, name: str) -> str:
        """Return the layer of which `name` is one time step, or `name` itself."""
        module, _, call = name.partition("#")
        steps = module in self._steps or module.rpartition(".")[2] in CELLS
        return module if call and steps else name

    def close(self) -> Audit:
        """Return what was found.

        Raises:
            InputError: There was no batch.
        """
        if self.gauge is None:
            raise InputError("inputs holds no batch; give at least one")
        costs = {name: self._cost(name) for name in self.sums}
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        rest = Cost()  # also what reads the model's own output, which is no layer
        for name, cost in self.macs.by_layer.items():
            if name not in costs:
                rest.macs_dense += cost.macs_dense / self.samples
                rest.macs_effective += cost.macs_effective / self.samples
                rest.acs_effective += cost.acs_effective / self.samples
        rest.parameters = parameters - sum(cost.parameters for cost in costs.values())
        layers = tuple(_layer(name, self.sums[name], costs[name], self.gauge) for name in costs)
        return Audit(
            model=name_of(self.model),
            samples=self.samples,
            batches=self.batches,
            layers=layers,
            unobserved=_row(UNOBSERVED, rest),
            total=_total(layers, list(self.sums.values()), [*costs.values(), rest]),
            not_counted=dict(self.macs.not_counted),
            warnings=tuple(_warnings(self.model, self.gauge, list(costs))),
        )

    def _cost(self, name: str) -> Cost:
        cost = self.macs.by_layer.get(name, Cost())
        return Cost(
            macs_dense=cost.macs_dense / self.samples,
            macs_effective=cost.macs_effective / self.samples,
            acs_effective=cost.acs_effective / self.samples,
            parameters=cost.parameters,
        )


def _layer(name: str, sums: LayerSums, cost: Cost, gauge: LayerGauge) -> LayerAudit:
    scales = gauge.scales.get(name)
    fixed = None if scales is None else float(scales.square() @ sums.squares) / sums.samples
    reason = gauge.not_covered.get(name, "it did not run on the first batch")
    return replace(
        _row(name, cost),
        units=sums.units,
        silent_units=sums.silent_units,
        zero_fraction=1 - sums.nonzero_fraction,
        energy_activation=float(sums.squares.sum()) / sums.samples,
        energy_gauge_fixed=fixed,
        gauge_reason=reason if fixed is None else None,
    )


def _total(
    layers: Sequence[LayerAudit], sums: Sequence[LayerSums], costs: Sequence[Cost]
) -> LayerAudit:
    row = _row(
        TOTAL,
        Cost(
            macs_dense=sum(cost.macs_dense for cost in costs),
            macs_effective=sum(cost.macs_effective for cost in costs),
            acs_effective=sum(cost.acs_effective for cost in costs),
            parameters=sum(cost.parameters for cost in costs),
        ),
    )
    if not layers:
        return row
    elements = sum(s.elements / s.samples for s in sums)
    nonzeros = sum(float(s.nonzeros.sum()) / s.samples for s in sums)
    missing = [layer for layer in layers if layer.energy_gauge_fixed is None]
    fixed = [layer.energy_gauge_fixed or 0.0 for layer in layers]
    return replace(
        row,
        units=sum(s.units for s in sums),
        silent_units=sum(s.silent_units for s in sums),
        zero_fraction=1 - nonzeros / elements if elements else 0.0,
        energy_activation=sum(layer.energy_activation or 0.0 for layer in layers),
        energy_gauge_fixed=None if missing else sum(fixed),
        gauge_reason=f"{len(missing)} of {len(layers)} layers are not covered" if missing else None,
    )


def _row(name: str, cost: Cost) -> LayerAudit:
    return LayerAudit(
        name=name,
        macs_dense=cost.macs_dense,
        macs_effective=cost.macs_effective,
        acs_effective=cost.acs_effective,
        parameters=cost.parameters,
    )


def _warnings(model: nn.Module, gauge: LayerGauge, layers: Sequence[str]) -> Iterator[str]:
    if not layers:
        yield "no nonlinearity was observed, so there are no energies; name modules with `layers`"
    for name in unseen_neurons(model, layers):
        yield f"the spikes of {name!r} are not observed; name it in `layers`"
    for name in layers:
        if name in gauge.constant:
            yield (
                f"the energy of {name!r} cannot change: it is the plain output of a normalisation; "
                "observe what follows it"
            )
        if name in gauge.rescalable:
            yield (
                f"the energy of {name!r} can fall by mere rescaling: only normalisations read it; "
                "observe what follows them"
            )


def _check_model(model: nn.Module) -> None:
    check_eager(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta:
            raise InputError(f"{name} is on the meta device, without values; load weights first")
        if not _is_sound(tensor):
            raise InputError(f"{name} has NaN or infinite elements; train or load the model first")


def _is_sound(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # the extremes are NaN if an element is; unlike isfinite() they need no memory
    extremes = torch.stack((tensor.float() if tensor.element_size() == 1 else tensor).aminmax())
    infinite = bool(extremes.isinf().any()) and isinstance(tensor, nn.Parameter)  # masks may be
    return not (infinite or bool(extremes.isnan().any()))


def _aliases(activation: Activation) -> Iterator[Tensor]:
    """Yield the activation and, where the tape turned it around, what the model goes on with."""
    value = activation.value
    yield value
    function = activation.name.partition("#")[0].rpartition(".")[2]
    if function in SEQUENCES and value._base is not None:
        yield value._base
