"""What running a network costs on this machine: seconds, joules where there is a meter, counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from minaction.energy.scale_rules import tensors_in
from minaction.energy.tape import run_model
from minaction.energy.untouched import untouched
from minaction.errors import DeviceError, InputError
from minaction.measure.batches import batch_size, name_of
from minaction.measure.clock import Times, time_program, timer_for
from minaction.measure.conditions import Conditions, ConditionsWatch
from minaction.measure.flops import count_macs
from minaction.measure.joules.energy_model import SCOPE, modelled_reading
from minaction.measure.joules.find import Found, cpu_instructions, cpu_joules, gpu_joules
from minaction.measure.joules.per_call import PerCall, Procedure, measure_per_call
from minaction.measure.joules.reading import Reading, Validity
from minaction.measure.mac_count import MacCount


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one forward pass of a network costs.

    Attributes:
        model: Name of the network's class.
        device: Where it ran.
        samples: Samples of the batch.
        latency: Times of one batch.
        work: MACs and bytes, per sample.
        meters: Readings per batch, one for each meter looked for; scopes overlap and leave gaps, so
            they are not to be added.
        modelled: Joules of the dense arithmetic per batch: a model, not a measurement.
        modelled_effective: Those of the arithmetic that reads no zeros, spikes as accumulates.
        conditions: What the times hold for.
    """

    model: str
    device: str
    samples: int
    latency: Times
    work: MacCount
    meters: tuple[PerCall, ...]
    modelled: Reading
    modelled_effective: Reading
    conditions: Conditions

    @property
    def samples_per_second(self) -> float:
        """Throughput at this batch size."""
        return self.samples / self.latency.seconds

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "model": self.model,
            "device": self.device,
            "samples": self.samples,
            "latency": asdict(self.latency),
            "samples_per_second": self.samples_per_second,
            "work": self.work.to_dict(),
            "meters": [meter.to_dict() for meter in self.meters],
            "modelled": self.modelled.to_dict(),
            "modelled_effective": self.modelled_effective.to_dict(),
            "conditions": self.conditions.to_dict(),
        }


def measure_network(
    model: nn.Module,
    batch: Any,
    *,
    measurements: int = 41,
    procedure: Procedure | None = None,
    find: Callable[[torch.device], list[Found]] | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> Measured:
    """Measure what a forward pass of a network in evaluation mode costs, where the network is.

    The network is left as it was.

    Args:
        model: Any module, on one device.
        batch: A tensor, a tuple of positional or a mapping of keyword arguments, on that device.
        measurements: Measurements of the time, 5 or more.
        procedure: How meters are read.
        find: Which meters to read on a device; default: all there are.
        note: Is told what takes long.

    Raises:
        DeviceError: The model is on several devices, or the batch is elsewhere.
        InputError: The model does not run on the batch, or moves itself while it runs.

    Example:
        >>> measure_network(model, x).latency.seconds
    """
    device = _one_device(model, batch)
    size = batch_size(batch)
    work = count_macs(model, [batch], training=False)  # a batch may be a list
    run = _runner(model, batch)
    with untouched(model):
        watch, began = ConditionsWatch(device), time.perf_counter()
        latency = time_program(run, measurements=measurements, timer=timer_for(device))
        conditions = watch.close(time.perf_counter() - began)

        def run_to_its_end() -> None:
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        meters = tuple(
            _metered(run_to_its_end, found, procedure or Procedure(), note)
            for found in (find or meters_for)(device)
        )
    return Measured(
        model=name_of(model),
        device=str(device),
        samples=size,
        latency=latency,
        work=work,
        meters=meters,
        modelled=modelled_reading(macs=work.macs_dense * size),
        modelled_effective=_modelled_effective(work, size),
        conditions=conditions,
    )


def _modelled_effective(work: MacCount, samples: int) -> Reading:
    macs, acs = work.macs_effective, work.acs_effective
    if macs is None or acs is None:
        return Reading(
            value=None,
            unit="joules",
            source=None,
            scope=SCOPE,
            window_seconds=None,
            validity=Validity.NOTHING,
            reason="activations have no values to be looked through for zeros",
        )
    return modelled_reading(macs=macs * samples, acs=acs * samples)


def meters_for(device: torch.device) -> list[Found]:
    """Return the meters of what runs on a device, or why there are none.

    The CPU works for a GPU as well, so its joules are looked for in any case.
    """
    found = [cpu_joules(), cpu_instructions()]
    if device.type == "cuda":
        found.insert(0, gpu_joules(f"GPU-{torch.cuda.get_device_properties(device).uuid}"))
    return found


def _metered(
    program: Callable[[], object],
    found: Found,
    procedure: Procedure,
    note: Callable[[str], object],
) -> PerCall:
    if isinstance(found, Reading):
        return PerCall(reading=found)
    seconds = procedure.least_seconds(found)
    note(f"reading the {found.unit} of {found.scope}, {seconds:.0f} s or longer")
    return measure_per_call(program, found, procedure)


def _runner(model: nn.Module, batch: Any) -> Callable[[], object]:
    def run() -> object:
        try:
            with torch.inference_mode():
                return run_model(model, batch)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise InputError(
                f"{name_of(model)} does not run on this input: {type(error).__name__}: {lines[0]}"
            ) from error

    return run


def _one_device(model: nn.Module, batch: Any) -> torch.device:
    where = _devices(model)
    if len(where) > 1:
        raise DeviceError(
            f"the model is on {' and '.join(where)}; move all of it to one device, e.g. "
            f"model.to({where[-1]!r})"
        )
    inputs = sorted({str(tensor.device) for tensor in tensors_in([batch])})
    if not inputs:
        raise InputError(f"batch: expected tensors, got {type(batch).__name__}")
    wrong = [device for device in inputs if device != (where or inputs)[0]]
    if wrong:
        raise DeviceError(
            f"the inputs are on {wrong[0]} and the model on {(where or inputs)[0]}; move them to "
            f"it, e.g. x.to({(where or inputs)[0]!r})"
        )
    if inputs == ["meta"]:
        raise DeviceError("the model and its inputs are on meta, where nothing is computed")
    return torch.device(inputs[0])


def _devices(model: nn.Module) -> list[str]:
    return sorted({str(tensor.device) for tensor in [*model.parameters(), *model.buffers()]})
