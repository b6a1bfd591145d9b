"""Energy audit of any network: where its energy, its zeros, MACs and parameters are.

Everything is reduced while the network runs, so that one ordinary forward pass per batch is all it
takes, and no activation is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from minaction.energy.functions import CELLS, SEQUENCES
from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import Layers, Tape, run_model
from minaction.energy.trajectory import Activation
from minaction.energy.untouched import untouched
from minaction.errors import InputError, MinActionError, TapeError
from minaction.measure.audit_result import TOTAL, UNOBSERVED, Audit, LayerAudit
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
        only zeros in observed layers count.

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
    for batch in itertools.islice(_batches(inputs), batches):
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
        size = _batch_size(batch)
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
                    self.macs.observe(self._row(activation.name), value, sums.nonzero_fraction)
                if watch is not None:
                    watch.observe(activation)
            return torch.zeros(())  # what is reduced is kept here, not by the tape

        self.macs.start(batch)
        tape = Tape(self.model, self.layers, reduce=reduce)
        output = self._run(batch, [self.macs, *([watch] if watch else []), tape])
        kept = {name: found[name] for name in tape.reduced}
        if watch is not None:
            self.gauge = watch.close(output, kept)
        return kept

    def _run(self, batch: Any, modes: list[Any]) -> Any:
        try:
            with ExitStack() as stack:
                stack.enter_context(untouched(self.model))
                for mode in modes:  # the tape last: it then sees a call when all others have
                    stack.enter_context(mode)
                return run_model(self.model, batch)
        except MinActionError:
            raise
        except Exception as error:
            hint = ""
            if type(batch) in (tuple, list) and len(batch) > 1:
                hint = "; a batch holds the model's arguments: leave labels out"
            raise InputError(
                f"{_name(self.model)} does not run on this input: {_described(error)}{hint}"
            ) from error

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
        rest.parameters = parameters - sum(cost.parameters for cost in costs.values())
        layers = tuple(_layer(name, self.sums[name], costs[name], self.gauge) for name in costs)
        return Audit(
            model=_name(self.model),
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


def _batches(inputs: Any) -> Iterable[Any]:
    if isinstance(inputs, (Tensor, tuple, Mapping)):
        return (inputs,)
    if isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes)):
        return inputs
    raise InputError(f"inputs: expected tensors or batches of them, got {type(inputs).__name__}")


def _batch_size(batch: Any) -> int:
    tensors = list(tensors_in([batch]))
    if not tensors:
        raise InputError(f"inputs: a batch holds tensors, got {type(batch).__name__}")
    if any(tensor.numel() == 0 for tensor in tensors):
        raise InputError("inputs: a batch is empty; give at least one sample")
    return next((len(tensor) for tensor in tensors if tensor.ndim), 1)


def _check_model(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TapeError(
                f"{f'module {path!r}' if path else 'the model'} is TorchScript and cannot be "
                "observed; use the original module"
            )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise InputError(f"{name} is not initialised yet; run the model once first")
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


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _described(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
