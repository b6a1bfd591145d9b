"""Running a model leaves nothing behind, whatever it does."""

import pytest
import torch
from torch import nn

from minaction.energy.untouched import untouched


class Wild(nn.Module):
    """Changes whatever a forward pass can change."""

    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm1d(3)
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("changed", torch.zeros(2))
        self.register_buffer("empty", None)
        self.kept, self.calls = torch.zeros(2), 0

    def forward(self, x):
        self.replaced = torch.ones(2)
        self.changed += 1
        self.empty = torch.ones(1)
        self.register_buffer("new", torch.ones(1))
        self.kept += 1
        self.state = x
        self.calls += 1
        return self.inner(x)

    def eval(self):
        raise NotImplementedError("exported programs do so")


def test_everything_is_as_before():
    model = Wild()
    buffers, attributes = dict(model.named_buffers()), set(vars(model))
    with untouched(model):
        assert not model.training
        assert not model.inner.training
        assert not torch.is_grad_enabled()
        model(torch.ones(4, 3))
        assert model.calls == 1
    assert model.training
    assert model.inner.training
    assert set(vars(model)) == attributes
    assert model.empty is None
    assert not hasattr(model, "new")
    assert model.calls == 0
    assert torch.equal(model.kept, torch.zeros(2))
    after = dict(model.named_buffers())
    assert after.keys() == buffers.keys()
    for name, tensor in after.items():
        assert tensor is buffers[name]
    assert torch.equal(model.changed, torch.zeros(2))
    assert torch.equal(model.inner.running_mean, torch.zeros(3))


def test_modes_that_differ_come_back_one_by_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))
    model[1].eval()
    with untouched(model):
        pass
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_also_after_an_error():
    model = Wild()
    with pytest.raises(ValueError, match="expected 2D or 3D input"), untouched(model):
        model(torch.ones(4))
    assert model.training
    assert model.calls == 0
    assert torch.equal(model.changed, torch.zeros(2))
