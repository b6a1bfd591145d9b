from __future__ import annotations

import pytest
import torch
from torch import nn

from minaction.compaction.batches import Batches, difference, samples_in, select
from minaction.errors import CompactionError


def test_whole_sets_are_cut():
    x, mask = torch.arange(10.0).unsqueeze(1), torch.ones(10, 3)
    assert [len(batch) for batch in Batches(x, 4, "x")] == [4, 4, 2]
    pairs = list(Batches((x, mask), 4, "x"))
    assert [tuple(map(len, pair)) for pair in pairs] == [(4, 4), (4, 4), (2, 2)]
    named = list(Batches({"x": x, "scale": torch.tensor(2.0), "flag": True}, 6, "x"))
    assert [len(batch["x"]) for batch in named] == [6, 4]
    assert named[1]["scale"] == 2
    assert named[1]["flag"] is True


def test_batches_come_as_they_are_and_as_often_as_asked():
    given = [torch.rand(3, 2), torch.rand(5, 2)]
    for data in (given, iter(given), (batch for batch in given)):
        batches = Batches(data, 1, "x")
        for _ in range(2):
            assert all(a is b for a, b in zip(batches, given, strict=True))
        assert batches.first is given[0]


def test_running_leaves_the_callers_grad_mode_alone():
    batches = Batches(torch.rand(4, 2), 2, "x")
    for output in batches.run(nn.Linear(2, 1)):
        assert torch.is_grad_enabled()
        assert not output.requires_grad


def test_selecting_rows():
    batch = {"x": torch.arange(3), "pair": [torch.arange(6).view(3, 2), "text"]}
    found = select(batch, torch.arange(5) % samples_in(batch))
    assert found["x"].tolist() == [0, 1, 2, 0, 1]
    assert found["pair"][0].shape == (5, 2)
    assert found["pair"][1] == "text"


def test_differences_of_nested_outputs():
    one = {"a": torch.tensor([1.0, -3.0]), "b": (torch.tensor([2]), torch.tensor([0.5]))}
    other = {"a": torch.tensor([1.0, -2.5]), "b": (torch.tensor([9]), torch.tensor([0.25]))}
    assert difference(one, other) == (0.5, 3.0)
    with pytest.raises(CompactionError, match="shapes"):
        difference(torch.zeros(2), torch.zeros(3))
