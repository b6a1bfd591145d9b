"""What every model of the catalogue must satisfy; a new one is covered by its line there."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.energy.functionals import ActivationEnergy
from minaction.energy.tape import Tape
from minaction.models.build import build_model
from minaction.models.catalog import MODELS

SPEC = DataSpec.of_source("digits")
BATCH = 6


@pytest.fixture(params=MODELS)
def name(request) -> str:
    return request.param


@pytest.fixture
def model(name) -> nn.Module:
    return build_model(name, SPEC, parameters=10_000, seed=1)


@pytest.fixture
def x():
    return torch.randn(BATCH, *SPEC.shape, generator=torch.Generator().manual_seed(0))


def builder(name):
    module, _, function = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def test_documented(name, model):
    assert inspect.getdoc(builder(name))
    assert "Shapes:" in (type(model).__doc__ or "")


def test_starts_in_training_mode_on_the_cpu_in_float32(model):
    assert model.training
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("cpu", torch.float32)}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("batch", [1, BATCH])
def test_logits(model, x, batch):
    logits = model(x[:batch])
    assert logits.shape == (batch, SPEC.classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_samples_do_not_see_each_other_in_evaluation(model, x):
    model.eval()
    alone = torch.cat([model(sample) for sample in x.split(1)])
    torch.testing.assert_close(model(x), alone)


def test_input_is_not_changed(model, x):
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_one_step(model, x):
    y = torch.arange(BATCH) % SPEC.classes
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    assert loss.isfinite()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.count_nonzero() > 0
    optimizer.step()
    assert F.cross_entropy(model(x), y) < loss


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(model, x, duplicate):
    twin = duplicate(model)
    assert torch.equal(twin(x), model(x))
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert not torch.equal(twin(x), model(x))


def test_state_dict_round_trip(name, model, x):
    other = build_model(name, SPEC, parameters=10_000, seed=2)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_tape_observes_hidden_layers_and_changes_nothing(model, x):
    plain = model(x)
    with Tape(model) as tape:
        observed = model(x)
    assert torch.equal(observed, plain)
    assert len(tape.trajectory) >= 1
    assert all(layer.batch_size == BATCH for layer in tape.trajectory.layers)
    energy = ActivationEnergy()(tape.trajectory)
    assert energy > 0
    energy.backward()


def test_knows_nothing_of_energy(name):
    tree = ast.parse(inspect.getsource(importlib.import_module(MODELS[name].partition(":")[0])))
    imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imported += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    rooms = {module.split(".")[1] for module in imported if module.startswith("minaction.")}
    assert rooms <= {"models", "data", "errors"}
