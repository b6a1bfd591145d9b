"""What every energy of the catalogue must do, whatever it computes."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import minaction
from minaction.energy.build import build_energy
from minaction.energy.catalog import ENERGIES
from minaction.energy.functionals import Energy, UnitEnergy
from minaction.energy.tape import Tape
from minaction.energy.trajectory import Trajectory
from minaction.errors import UnknownNameError
from minaction.objective.objective import EnergyObjective

X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 3),
    )  # fmt: skip


def record(model: nn.Module, x: Tensor = X) -> Trajectory:
    with Tape(model) as tape:
        model(x)
    return tape.trajectory


@pytest.fixture(params=sorted(ENERGIES))
def name(request) -> str:
    return request.param


@pytest.fixture
def energy(name) -> Energy:
    return build_energy(name, network(), X)


def energy_class(name: str) -> type[Energy]:
    module, _, cls = ENERGIES[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def test_is_an_energy_of_the_public_api_with_a_formula(name):
    cls = energy_class(name)
    assert issubclass(cls, Energy)
    assert getattr(minaction, cls.__name__) is cls
    doc = inspect.getdoc(cls)
    assert doc
    assert "=" in doc or "~" in doc
    assert "sum" in doc
    assert "`" in doc.splitlines()[0]


def test_parameters_are_documented(name):
    cls = energy_class(name)
    doc = inspect.getdoc(cls) or ""
    for field in getattr(cls, "__dataclass_fields__", {}):
        assert f"{field}:" in doc


def test_is_built_by_of_where_it_needs_the_wiring(name):
    cls = energy_class(name)
    if hasattr(cls, "of"):
        assert isinstance(cls.of(network(), X), cls)
    else:
        assert isinstance(cls(), cls)


def test_is_a_finite_scalar(energy):
    model = network()
    for training in (True, False):
        value = energy(record(model.train(training)))
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert math.isfinite(value.item())


def test_is_not_negative(name, energy):
    for seed in range(5):
        x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        assert energy(record(network(), x)).item() >= 0


def test_shares_sum_to_the_whole(energy):
    path = record(network())
    shares = energy.per_layer(path)
    assert shares
    assert all(share.shape == () for share in shares.values())
    torch.testing.assert_close(sum(shares.values()), energy(path))
    assert set(shares) <= {*path, *path.weights}


def test_gradient_flows_to_the_parameters_and_is_finite(energy):
    model = network()
    energy(record(model)).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert any(g.count_nonzero() > 0 for g in gradients)
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_a_small_step_down_the_gradient_lowers_it(energy):
    model = network().double()
    x = X.double()
    value = energy(record(model, x))
    value.backward()
    with torch.no_grad():
        squared = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
        for p in model.parameters():
            if p.grad is not None:
                p -= 1e-6 / squared**0.5 * p.grad
    assert energy(record(model, x)).item() < value.item()


def test_equal_parts_make_equal_energies(name):
    values = [build_energy(name, network(), X)(record(network())) for _ in range(2)]
    assert torch.equal(*values)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_are_equal(energy, copied):
    path, twin = record(network()), copied(energy)
    assert type(twin) is type(energy)
    assert repr(twin) == repr(energy)
    assert torch.equal(twin(path), energy(path))
    assert torch.equal(copied(2 * energy)(path), (2 * energy)(path))


def test_does_not_change_what_it_reads(energy):
    model = network()
    path = record(model)
    before = {k: v.detach().clone() for k, v in (*path.items(), *path.weights.items())}
    energy(path)
    for key, value in (*path.items(), *path.weights.items()):
        assert torch.equal(value, before[key])


def test_leaves_global_randomness_alone(energy):
    path, state = record(network()), torch.get_rng_state()
    energy(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_works_in_an_objective(energy):
    model = network()
    terms = EnergyObjective(F.cross_entropy, energy, lam=0.01)(model, X, Y)
    terms.total.backward()
    torch.testing.assert_close(terms.energy, energy(record(model)))


def test_names_are_parts_of_metric_names(name):
    assert f"energy_{name}".isidentifier()


def test_units_cost_the_same_or_what_they_cause():
    assert build_energy("unit", network(), X) == UnitEnergy()
    priced = build_energy("unit_macs", network(), X)
    # the convolution's channels cost 64 * 9 to compute and 16 * 6 to read, the hidden units 64 + 3
    assert priced == UnitEnergy(cost={"1": 1.0, "5": 67 / 672})


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'kinetic'"):
        build_energy("kinetik", network(), X)
