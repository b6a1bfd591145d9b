"""What `minaction env` says of meters: each there, or why not and what to do."""

from __future__ import annotations

import pynvml
import pytest
from recorded_meters import RecordedNvml

from minaction.measure.abilities import abilities

UUIDS = ("GPU-a", "GPU-b")


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return RecordedNvml([{"uuid": u, "energy_mj": 1, "processes": []} for u in UUIDS])


def named(name, library):
    found = {ability.name: ability for ability in abilities(library)}
    return found[name]


def test_gpus_are_told_by_their_cuda_numbers(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    found = named("joules (cuda:0)", driver)
    assert found.available
    assert found.detail == "counter of NVIDIA H100 80GB HBM3, GPU-b"
    assert named("joules (cuda:1)", driver).detail.endswith("GPU-a")


def test_a_gpu_that_others_use_says_how_to_have_it_alone(driver):
    driver.gpus[1]["processes"] = [4, 5]
    found = named("joules (cuda:1)", driver)
    assert not found.available
    assert "2 processes use the GPU; " in found.detail
    assert "nvidia-smi -c EXCLUSIVE_PROCESS" in found.detail
    assert named("joules (cuda:0)", driver).available


def test_a_single_stranger_on_a_gpu_is_seen(driver):
    driver.gpus[0]["processes"] = [4]
    found = named("joules (cuda:0)", driver)
    assert not found.available
    assert found.detail.startswith("1 process uses the GPU; ")


def test_a_partitioned_gpu_says_so(driver):
    driver.gpus[0]["mig"] = (1, 1)
    assert "(MIG)" in named("joules (cuda:0)", driver).detail


def test_no_driver_and_no_visible_gpu(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert named("joules (GPU)", driver).detail == "no GPU is visible to CUDA"
    driver.refused["nvmlInit"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert "no NVIDIA driver answers" in named("joules (GPU)", driver).detail


def test_everything_is_there_or_says_why():
    for found in abilities():
        assert found.available or len(found.detail) > 10
        assert "\n" not in found.detail
