"""What can be measured on this machine, what cannot, and what to do about it. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pynvml

from minaction.errors import MeterError
from minaction.measure.environment import cxx_compiler
from minaction.measure.joules.energy_model import SCOPE
from minaction.measure.joules.find import Found, cpu_instructions, cpu_joules
from minaction.measure.joules.nvml import NvmlMeter
from minaction.measure.joules.reading import Reading
from minaction.measure.joules.sharing import watch_cpu
from minaction.measure.joules.visible_gpus import gpu_name, visible_gpus

LOOK_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Ability:
    """One thing that may be measurable or usable here.

    Attributes:
        name: What.
        available: Whether it is.
        detail: How, or why not and what to do.
    """

    name: str
    available: bool
    detail: str


def abilities(library: Any = pynvml) -> list[Ability]:
    """Return what can be measured and used on this machine, with the reason where not.

    Args:
        library: What answers for the NVIDIA driver.
    """
    return [
        Ability(name="seconds", available=True, detail="monotonic clock"),
        _compiler(),
        _found("joules (CPU package)", cpu_joules()),
        _cpu_alone(),
        _found("instructions", cpu_instructions()),
        *_gpus(library),
        Ability(name="joules (modelled)", available=True, detail=f"{SCOPE}; not a measurement"),
    ]


def _compiler() -> Ability:
    path = cxx_compiler()
    detail = path or "no C++ compiler found; install g++ (or name yours in CXX)"
    return Ability(name="torch.compile", available=path is not None, detail=detail)


def _found(name: str, found: Found) -> Ability:
    if isinstance(found, Reading):
        return Ability(name=name, available=False, detail=found.reason or "")
    return Ability(
        name=name,
        available=True,
        detail=f"{found.source} of {found.scope}, windows from {found.min_window_seconds:g} s",
    )


def _cpu_alone() -> Ability:
    others = watch_cpu()
    time.sleep(LOOK_SECONDS)
    said = others()
    return Ability(
        name="CPU to ourselves",
        available=said is None,
        detail="no other process computes now"
        if said is None
        else f"{said}; joules are refused meanwhile: end them",
    )


def _gpus(library: Any) -> Iterator[Ability]:
    try:
        uuids = visible_gpus(library)
        if not uuids:
            yield Ability(name="joules (GPU)", available=False, detail="no GPU is visible to CUDA")
        for i, uuid in enumerate(uuids):
            yield _gpu(f"joules (cuda:{i})", uuid, library)
    except MeterError as error:
        yield Ability(name="joules (GPU)", available=False, detail=str(error))


def _gpu(name: str, uuid: str, library: Any) -> Ability:
    try:
        meter = NvmlMeter(uuid, library=library, own=0)  # nothing runs on it yet
        shared = meter.open().others()
    except MeterError as error:
        return Ability(name=name, available=False, detail=str(error))
    if shared:
        return Ability(
            name=name,
            available=False,
            detail=f"{shared}; per-run joules need it alone: end the others, or keep them out with "
            "`sudo nvidia-smi -c EXCLUSIVE_PROCESS`",
        )
    return Ability(
        name=name, available=True, detail=f"{meter.source} of {gpu_name(library, uuid)}, {uuid}"
    )
