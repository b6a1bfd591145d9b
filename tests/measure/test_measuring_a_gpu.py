"""Seconds and joules of networks on a real GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch

from minaction.data.dataset import DataSpec
from minaction.measure.audit import audit
from minaction.measure.joules.find import gpu_joules
from minaction.measure.joules.reading import Reading, Validity
from minaction.measure.joules.visible_gpus import visible_gpus
from minaction.measure.network import measure_network
from minaction.models.build import build_model

SPEC = DataSpec(
    name="image", modality="vision", shape=(1, 28, 28), classes=10, class_names=tuple("0123456789")
)

pytestmark = pytest.mark.gpu


def uuid_of(gpu):
    return f"GPU-{torch.cuda.get_device_properties(gpu).uuid}"


def joules(meter, seconds, work):
    tally = meter.open()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        work()
    return tally.total()


def test_cuda_and_the_driver_name_the_same_gpu(gpu):
    assert visible_gpus()[0] == uuid_of(gpu)


def test_a_busy_gpu_takes_more_joules_than_an_idle_one(gpu):
    meter = gpu_joules(uuid_of(gpu))
    if isinstance(meter, Reading):
        pytest.skip(f"no meter: {meter.reason}")
    x = torch.randn(4096, 4096, device=gpu)

    def multiply():
        for _ in range(10):
            x @ x
        torch.cuda.synchronize()

    idle = joules(meter, 5, lambda: time.sleep(0.05))
    busy = joules(meter, 5, multiply)
    print(f"5 s idle {idle:.0f} J, busy {busy:.0f} J")
    assert idle > 5
    assert 1.3 * idle < busy < 5 * 1500


def test_a_network_is_measured_in_seconds_and_joules(gpu):
    model = build_model("cnn", SPEC, parameters=30_000, seed=0).to(gpu)
    x = torch.randn(256, *SPEC.shape, device=gpu)
    measured = measure_network(model, x, measurements=11)
    assert measured.device.startswith("cuda")
    assert 1e-6 < measured.latency.seconds < 0.1
    joules = measured.meters[0].reading
    print(measured.conditions, joules)
    assert joules.scope == f"gpu {uuid_of(gpu)}"
    if joules.validity is Validity.SHARED:  # another test runs there
        assert joules.value is None
    else:
        assert joules.validity is Validity.VALID
        assert 1e-5 < joules.value < 10


def test_an_audit_of_a_network_on_a_gpu(gpu):
    model = build_model("mlp", SPEC, parameters=30_000, seed=0).to(gpu)
    x = torch.randn(512, *SPEC.shape, device=gpu)
    on_gpu, on_cpu = audit(model, x).to_dict(), audit(model.cpu(), x.cpu()).to_dict()
    assert json.dumps(on_gpu)
    assert on_gpu.keys() == on_cpu.keys()


def test_what_this_machine_can_measure_names_the_gpu():
    done = subprocess.run(
        [sys.executable, "-m", "minaction", "env"], capture_output=True, text=True, check=True
    )
    print(done.stdout)
    assert "cuda:0" in done.stdout
