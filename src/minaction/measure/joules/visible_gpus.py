"""Which GPU is `cuda:0`: the order of CUDA_VISIBLE_DEVICES against that of the driver.

The driver numbers GPUs by their PCI bus; CUDA numbers those that are visible, in the order they are
named in. A meter that takes the one number for the other measures the wrong GPU.

Reference:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pynvml

from minaction.errors import MeterError
from minaction.measure.joules.nvml import ask_nvml, start_nvml

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"


def visible_gpus(library: Any = pynvml, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the UUIDs of the GPUs that CUDA sees, in its order: the first is `cuda:0`.

    As in CUDA, a name of no GPU hides what is named after it.

    Args:
        library: What answers for the driver.
        environment: Variables of the process, as they were when CUDA started.

    Raises:
        MeterError: There is no driver, the order cannot be told, or a part of a GPU (MIG) is
            visible, which has no meter of its own.
    """
    start_nvml(library)
    count = ask_nvml(library, "NVML", "nvmlDeviceGetCount")
    handles = [ask_nvml(library, f"gpu {i}", "nvmlDeviceGetHandleByIndex", i) for i in range(count)]
    uuids = [ask_nvml(library, f"gpu {i}", "nvmlDeviceGetUUID", h) for i, h in enumerate(handles)]
    names = environment.get(VISIBLE)
    if names is None:
        names = ",".join(map(str, range(len(uuids))))
    visible = []
    for name in (name.strip() for name in names.split(",")):
        if name.startswith("MIG-"):
            raise MeterError(
                f"{VISIBLE} names {name}, a part of a GPU (MIG), and the GPU counts for all its "
                "instances together; turn MIG off for the measurement (`sudo nvidia-smi -mig 0`)"
            )
        uuid = _uuid(name, uuids)
        if uuid is None or uuid in visible:
            break
        if name.isdecimal():
            _check_order(library, handles, environment)
        visible.append(uuid)
    return visible


def gpu_name(library: Any, uuid: str) -> str:
    """Return a GPU's model.

    Args:
        library: What answers for the driver.
        uuid: The GPU's.

    Raises:
        MeterError: There is no such GPU.
    """
    handle = ask_nvml(library, f"gpu {uuid}", "nvmlDeviceGetHandleByUUID", uuid)
    return ask_nvml(library, f"gpu {uuid}", "nvmlDeviceGetName", handle)


def _uuid(name: str, uuids: list[str]) -> str | None:
    if name.isdecimal():
        return uuids[int(name)] if int(name) < len(uuids) else None
    # any beginning of a UUID that fits one GPU only names it
    fitting = [uuid for uuid in uuids if name.startswith("GPU-") and uuid.startswith(name)]
    return fitting[0] if len(fitting) == 1 else None


def _check_order(library: Any, handles: list[Any], environment: Mapping[str, str]) -> None:
    """Refuse numbers where CUDA may count otherwise than the driver: the fastest GPU first."""
    models = {ask_nvml(library, "a gpu", "nvmlDeviceGetName", handle) for handle in handles}
    if len(models) > 1 and environment.get(ORDER) != "PCI_BUS_ID":
        raise MeterError(
            f"GPUs of several models ({', '.join(sorted(models))}) are numbered by speed, which "
            f"the driver does not tell; set {ORDER}=PCI_BUS_ID, or name them by UUID in {VISIBLE}"
        )
