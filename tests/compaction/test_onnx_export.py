"""ONNX files that compute the same in onnxruntime, or no file at all."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest
import torch
from small_networks import Concatenating, Residual, Separable, images, settle
from torch import nn

from minaction.compaction import onnx
from minaction.compaction.compact import compact
from minaction.errors import CompactionError, InputError, StorageError
from minaction.models.conventional import MLP


@pytest.mark.parametrize("make", [Residual, Concatenating, Separable])
def test_compact_networks_compute_the_same_in_onnxruntime(make, tmp_path):
    model = settle(make())
    compaction = compact(model, images(), tolerance=0.3)
    path = compaction.to_onnx(tmp_path / "small.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["small.onnx"]
    for samples in (1, 3, 40):  # the batch is free
        x = images(samples=samples, seed=5)
        [found] = onnx.runner(path)(x)
        with torch.no_grad():
            expected = compaction.model(x).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_inputs_by_name(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def forward(self, x, scale):
            return self.net(x) * scale

    model, inputs = Two().eval(), {"x": torch.rand(6, 4), "scale": torch.rand(6, 1)}
    run = onnx.runner(onnx.export(model, inputs, tmp_path / "two.onnx"))
    with torch.no_grad():
        expected = model(**inputs).numpy()
    np.testing.assert_allclose(run(inputs)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(run(tuple(inputs.values()))[0], expected, rtol=1e-5)


def test_a_file_that_was_there_is_replaced_whole_or_kept(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_text("old")
    model, x = MLP(4, (3,), 2).eval(), torch.rand(5, 4)
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "TOLERANCE", -1.0)
        with pytest.raises(CompactionError, match="output differs by"):
            onnx.export(model, x, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    onnx.export(model, x, path)
    assert path.read_bytes()[:3] != b"old"


def test_what_cannot_be_exported(tmp_path, capfd):
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CompactionError, match="cannot be exported") as caught:
        onnx.export(Branching(), torch.rand(3, 2), tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere/net.onnx: cannot be written"):
        onnx.export(MLP(4, (3,), 2).eval(), torch.rand(5, 4), tmp_path / "nowhere" / "net.onnx")


def test_missing_packages_are_named_with_the_remedy(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(InputError, match=r"needs onnxruntime; .*pip install 'minaction\[onnx\]'"):
        onnx.export(MLP(4, (3,), 2).eval(), torch.rand(5, 4), tmp_path / "net.onnx")


def test_nothing_is_printed_and_logging_stays_as_it_was(tmp_path, capfd):
    level = logging.getLogger("torch.onnx").level
    onnx.export(MLP(4, (3,), 2).eval(), torch.rand(5, 4), tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level
