from __future__ import annotations

import pytest
import torch
from torch import nn

from minaction.compaction.latency import measure_latency
from minaction.errors import CompactionError
from minaction.models.conventional import MLP


def test_a_much_smaller_network_is_faster_in_both_runtimes():
    before, after = MLP(64, (1024, 1024), 4).eval(), MLP(64, (8, 8), 4).eval()
    found = measure_latency(before, after, torch.rand(7, 64), batches=(64, 1), pairs=5)
    assert [(entry.runtime, entry.batch) for entry in found] == [
        ("pytorch", 64),
        ("pytorch", 1),
        ("onnxruntime", 64),
        ("onnxruntime", 1),
    ]
    for entry in found:
        assert entry.times.speedup > 1.5
        assert entry.times.speedup_low <= entry.times.speedup <= entry.times.speedup_high


def test_batch_sizes_that_a_network_does_not_take_are_left_out():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.view(8, 2, 2)

    found = measure_latency(Fixed(), Fixed(), torch.rand(8, 4), pairs=5, runtimes=("pytorch",))
    assert found == []
    [only] = measure_latency(
        Fixed(), Fixed(), torch.rand(8, 4), batches=(1, 8), pairs=5, runtimes=("pytorch",)
    )
    assert only.batch == 8


def test_a_network_that_cannot_be_exported_has_no_latency_in_onnxruntime():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CompactionError, match=r"in onnxruntime: .*; leave it out with --no-lat"):
        measure_latency(Branching(), Branching(), torch.rand(8, 4), pairs=5)
