"""Which GPU is cuda:0, whatever the environment says of their order."""

from __future__ import annotations

import pynvml
import pytest
from recorded_meters import Clock, RecordedNvml

from minaction.errors import MeterError
from minaction.measure.joules.nvml import NvmlMeter
from minaction.measure.joules.visible_gpus import gpu_name, visible_gpus
from minaction.measure.joules.window import read_window

FIRST, SECOND, THIRD = "GPU-aaaa0000-1", "GPU-bbbb0000-2", "GPU-bbbb1111-3"


def driver(clock=None, names=("A", "A", "A")):
    clock = clock or Clock()
    gpus = [
        {
            "uuid": uuid,
            "name": name,
            "energy_mj": lambda now, watts=watts: round(1000 * watts * now),
        }
        for uuid, name, watts in zip((FIRST, SECOND, THIRD), names, (100, 200, 300), strict=True)
    ]
    return RecordedNvml(gpus, clock)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("0,1,2", [FIRST, SECOND, THIRD]),
        ("1,0", [SECOND, FIRST]),
        (" 2 , 1 ", [THIRD, SECOND]),
        (f"{SECOND},{FIRST}", [SECOND, FIRST]),
        ("GPU-bbbb1,GPU-a", [THIRD, FIRST]),
        (f"1,{FIRST}", [SECOND, FIRST]),
        ("GPU-bbbb,0", []),  # of two, so of none
        ("1,-1,0", [SECOND]),
        ("1,7,0", [SECOND]),
        ("1,1", [SECOND]),
        ("", []),
        ("-1", []),
        ("none", []),
    ],
)
def test_the_order_is_that_of_cuda(visible, expected):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_gpus(driver(), environment) == expected


@pytest.mark.parametrize("visible", ["1,0", f"{SECOND},{FIRST}"])
def test_two_gpus_in_changed_order_are_each_their_own(visible):
    clock = Clock()
    library = driver(clock)
    uuids = visible_gpus(library, {"CUDA_VISIBLE_DEVICES": visible})
    joules = [
        read_window(
            NvmlMeter(uuid, library=library, clock=clock), lambda: clock.sleep(10), clock=clock
        ).value
        for uuid in uuids
    ]
    assert joules == pytest.approx([2000, 1000])


def test_numbers_of_different_models_need_the_order_of_the_bus():
    mixed = driver(names=("A", "B", "B"))
    with pytest.raises(MeterError, match=r"several models \(A, B\).*CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible_gpus(mixed, {"CUDA_VISIBLE_DEVICES": "1,0"})
    by_bus = {"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_gpus(mixed, by_bus) == [SECOND, FIRST]
    assert visible_gpus(mixed, {"CUDA_VISIBLE_DEVICES": SECOND}) == [SECOND]


@pytest.mark.parametrize("name", ["MIG-1234", "MIG-GPU-aaaa0000-1/7/0", "MIG-x,0"])
def test_parts_of_a_gpu_have_no_meter(name):
    with pytest.raises(MeterError, match=r"a part of a GPU \(MIG\)"):
        visible_gpus(driver(), {"CUDA_VISIBLE_DEVICES": name})


def test_without_a_driver_nothing_is_visible():
    library = driver()
    library.refused["nvmlInit"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    with pytest.raises(MeterError, match="no NVIDIA driver answers"):
        visible_gpus(library, {})


def test_a_gpu_has_a_name():
    assert gpu_name(driver(names=("A", "B", "C")), SECOND) == "B"
