"""NVML, with a recorded driver: counters, power sensors, MIG, and GPUs that go away."""

from __future__ import annotations

from pathlib import Path

import pynvml
import pytest
from recorded_meters import Clock, RecordedNvml

from minaction.errors import MeterDeniedError, MeterError
from minaction.measure.joules.nvml import NvmlMeter, start_nvml
from minaction.measure.joules.reading import Source, Validity
from minaction.measure.joules.window import Window, read_window

UUID = "GPU-11111111-2222-3333-4444-555555555555"


@pytest.fixture
def clock():
    return Clock(1000.0)


def driver(clock, **answers):
    gpu = {"uuid": UUID, "energy_mj": lambda now: 7_000_000 + round(300_000 * now), **answers}
    return RecordedNvml([{k: v for k, v in gpu.items() if v is not None}], clock)


def test_the_counter_is_exact(clock):
    meter = NvmlMeter(UUID, library=driver(clock), clock=clock)
    reading = read_window(meter, lambda: clock.sleep(10), clock=clock)
    assert reading.value == pytest.approx(3000, rel=1e-12)
    assert (reading.source, reading.scope) == (Source.COUNTER, f"gpu {UUID}")


def test_a_counter_that_moves_every_100_ms_needs_five_seconds(clock):
    held = driver(clock, energy_mj=lambda now: 30_000 * int(now * 10 + 1e-6))
    meter = NvmlMeter(UUID, library=held, clock=clock)
    assert read_window(meter, lambda: clock.sleep(5.05), clock=clock).value == 1500
    short = read_window(meter, lambda: clock.sleep(4.9), clock=clock)
    assert short.validity is Validity.TOO_SHORT


def test_power_is_integrated_where_there_is_no_counter(clock):
    old = driver(clock, energy_mj=None, power_mw=lambda now: 1000 * (100 + 10 * (now - 1000)))
    meter = NvmlMeter(UUID, library=old, clock=clock)
    assert meter.poll_seconds is not None
    window = Window(meter, clock=clock, poll=False)
    for _ in range(24):
        clock.sleep(0.25)
        window.sample()
    reading = window.close()
    assert reading.value == pytest.approx(100 * 6 + 10 * 36 / 2, rel=1e-12)
    assert reading.source is Source.INTEGRATED


def test_power_that_was_not_read_for_long_is_lost(clock):
    old = driver(clock, energy_mj=None, power_mw=100_000)
    meter = NvmlMeter(UUID, library=old, clock=clock)
    window = Window(meter, clock=clock, poll=False)
    clock.sleep(6)
    assert window.close().validity is Validity.LOST


def test_a_gpu_that_tells_nothing_has_no_meter(clock):
    with pytest.raises(MeterError, match="tells neither joules nor watts"):
        NvmlMeter(UUID, library=driver(clock, energy_mj=None), clock=clock)


def test_a_partitioned_gpu_has_no_meter_of_its_own(clock):
    with pytest.raises(MeterError, match=r"is partitioned \(MIG\).*nvidia-smi -mig 0"):
        NvmlMeter(UUID, library=driver(clock, mig=(1, 1)), clock=clock)
    assert NvmlMeter(UUID, library=driver(clock, mig=(0, 1)), clock=clock)


@pytest.mark.parametrize(("processes", "shared"), [([], False), ([1], False), ([1, 2], True)])
def test_other_processes_on_the_gpu_make_it_shared(clock, processes, shared):
    meter = NvmlMeter(UUID, library=driver(clock, processes=processes), clock=clock)
    reading = read_window(meter, lambda: clock.sleep(6), clock=clock)
    assert (reading.validity is Validity.SHARED) == shared
    assert (reading.value is None) == shared


def test_a_process_that_comes_later_is_seen(clock):
    library = driver(clock, processes=[1])
    window = Window(NvmlMeter(UUID, library=library, clock=clock), clock=clock)
    clock.sleep(6)
    library.gpus[0]["processes"].append(2)
    assert window.close().reason.startswith("2 processes use the GPU")


def test_a_driver_that_does_not_tell_of_processes_cannot_say_that_nobody_is_there(clock):
    library = driver(clock)
    library.refused["nvmlDeviceGetComputeRunningProcesses"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    meter = NvmlMeter(UUID, library=library, clock=clock)
    reading = read_window(meter, lambda: clock.sleep(6), clock=clock)
    assert reading.validity is Validity.SHARED
    assert reading.reason.startswith("whether others use the GPU cannot be told")


def test_a_gpu_that_is_lost_when_it_is_asked_for_processes_is_lost(clock):
    library = driver(clock)
    meter = NvmlMeter(UUID, library=library, clock=clock)

    def work():
        clock.sleep(6)
        library.refused["nvmlDeviceGetComputeRunningProcesses"] = pynvml.NVML_ERROR_GPU_IS_LOST

    assert read_window(meter, work, clock=clock).validity is Validity.LOST


def test_a_gpu_that_falls_off_the_bus_is_lost(clock):
    library = driver(clock)
    meter = NvmlMeter(UUID, library=library, clock=clock)

    def work():
        clock.sleep(6)
        library.refused["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_GPU_IS_LOST

    reading = read_window(meter, work, clock=clock)
    assert (reading.value, reading.validity) == (None, Validity.LOST)
    assert "GPU is lost" in reading.reason


def test_a_driver_that_was_loaded_again_counts_from_zero(clock):
    library = driver(clock)
    meter = NvmlMeter(UUID, library=library, clock=clock)

    def work():
        clock.sleep(6)
        library.gpus[0]["energy_mj"] = 12

    reading = read_window(meter, work, clock=clock)
    assert reading.validity is Validity.LOST
    assert "it was reset" in reading.reason


def test_permission_denied_is_told_apart(clock):
    library = driver(clock)
    library.refused["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_NO_PERMISSION
    with pytest.raises(MeterDeniedError, match="may not be read by this user"):
        NvmlMeter(UUID, library=library, clock=clock)


def test_a_gpu_that_is_not_there(clock):
    with pytest.raises(MeterError, match="there is no gpu GPU-other here"):
        NvmlMeter("GPU-other", library=driver(clock), clock=clock)


def test_without_a_driver_there_is_no_meter(clock):
    library = driver(clock)
    library.refused["nvmlInit"] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    with pytest.raises(MeterError, match="no NVIDIA driver answers"):
        NvmlMeter(UUID, library=library, clock=clock)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_the_real_library_says_that_there_is_no_driver():
    with pytest.raises(MeterError, match="no NVIDIA driver answers"):
        start_nvml()


@pytest.mark.parametrize("name", [n for n in dir(RecordedNvml) if n.startswith(("nvml", "NVML"))])
def test_what_is_recorded_is_part_of_the_real_library(name):
    assert hasattr(pynvml, name)
