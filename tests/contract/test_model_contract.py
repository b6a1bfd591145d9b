"""What every model of the catalogue must satisfy; a new one is covered by its line there."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from minaction.data.dataset import DataSpec
from minaction.energy.build import build_energy
from minaction.energy.catalog import ENERGIES
from minaction.energy.functionals import ActivationEnergy
from minaction.energy.gauge import gauge_fix
from minaction.energy.tape import Tape
from minaction.models.build import TOLERANCE, build_model
from minaction.models.catalog import MODELS
from minaction.models.sizing import count_parameters
from minaction.objective.objective import EnergyObjective

BATCH = 6
BUDGET = 12_000
LAYOUTS = {
    "vector": {"shape": (20,)},
    "tokens": {"shape": (12,), "vocabulary": 50},
    "sequence": {"shape": (66, 3)},
    "image": {"shape": (1, 8, 8)},
    "frames": {"shape": (5, 2, 9, 9)},
}


def spec_of(layout: str) -> DataSpec:
    names = tuple("abcde")
    return DataSpec(
        name=layout, modality="vision", classes=len(names), class_names=names, **LAYOUTS[layout]
    )


@pytest.fixture(params=MODELS)
def name(request) -> str:
    return request.param


@pytest.fixture(params=LAYOUTS)
def spec(request) -> DataSpec:
    return spec_of(request.param)


@pytest.fixture
def model(name, spec) -> nn.Module:
    return copy.deepcopy(built(name, spec))


@functools.cache
def built(name: str, spec: DataSpec, parameters: int = BUDGET, seed: int = 1) -> nn.Module:
    return build_model(name, spec, parameters=parameters, seed=seed)


@pytest.fixture
def x(spec):
    return inputs_of(spec)


def inputs_of(spec: DataSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if spec.vocabulary is None:
        return torch.randn(BATCH, *spec.shape, generator=generator)
    ids = torch.randint(1, spec.vocabulary, (BATCH, *spec.shape), generator=generator)
    lengths = torch.randint(1, spec.shape[0] + 1, (BATCH, 1), generator=generator)
    return ids * (torch.arange(spec.shape[0]) < lengths)


def builder(name):
    module, _, function = MODELS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def test_documented(name, model):
    assert inspect.getdoc(builder(name))
    assert "Shapes:" in (type(model).__doc__ or "")


@pytest.mark.parametrize("parameters", [BUDGET, 100_000])
def test_within_ten_percent_of_the_budget(name, spec, parameters):
    size = count_parameters(built(name, spec, parameters))
    assert abs(size - parameters) <= TOLERANCE * parameters


def test_equal_seeds_give_equal_weights_and_leave_global_randomness_alone(name, spec, model):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    twin = build_model(name, spec, parameters=BUDGET, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_forward_and_backward_leave_global_randomness_alone(model, x):
    state = torch.get_rng_state()
    model(x).sum().backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_repeatable(model, x):
    assert torch.equal(model(x), model(x))


def test_starts_in_training_mode_on_the_cpu_in_float32(model):
    assert model.training
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("cpu", torch.float32)}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("batch", [1, BATCH])
def test_logits(model, spec, x, batch):
    logits = model(x[:batch])
    assert logits.shape == (batch, spec.classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_samples_do_not_see_each_other_in_evaluation(model, x):
    model.eval()
    alone = torch.cat([model(sample) for sample in x.split(1)])
    torch.testing.assert_close(model(x), alone, rtol=1e-4, atol=1e-5)


def test_input_is_not_changed(model, x):
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_one_step(model, spec, x):
    y = torch.arange(BATCH) % spec.classes
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


def test_state_dict_round_trip(model, x):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
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


def test_every_energy_can_be_measured(model, x):
    energies = {energy: build_energy(energy, model, x[:2]) for energy in ENERGIES}
    with torch.no_grad(), Tape(model.eval()) as tape:
        model(x)
    for energy in energies.values():
        value = energy(tape.trajectory)
        assert value.isfinite()
        assert value > 0 or len(tape.trajectory) == 1
    assert tape.trajectory.weights


def test_gauge_fixing_keeps_the_function_or_says_why_not(model, x):
    report = gauge_fix(model.eval(), x)
    with Tape(model) as tape:
        model(x)
    assert {*report.covered, *report.not_covered} == {*tape.trajectory}
    assert report.max_output_difference < 1e-3


def test_runs_under_autocast(model, x):
    with torch.autocast("cpu", dtype=torch.bfloat16), Tape(model) as tape:
        logits = model(x)
    assert len(tape.trajectory) >= 1
    torch.testing.assert_close(logits.float(), model(x), rtol=0.2, atol=0.2)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own
@pytest.mark.parametrize("layout", ["image", pytest.param("tokens", marks=pytest.mark.slow)])
def test_a_step_is_one_graph_for_the_compiler(name, layout):
    spec = spec_of(layout)
    model, x, y = copy.deepcopy(built(name, spec)), inputs_of(spec), torch.arange(BATCH) % 5
    evaluate = EnergyObjective(F.cross_entropy, ActivationEnergy()).evaluate
    lam = torch.tensor(0.01)
    torch.compiler.reset()
    whole = name != "gru"  # the compiler leaves torch's recurrent kernel out
    traced = torch.compile(evaluate, backend="eager", dynamic=False, fullgraph=whole)
    torch.testing.assert_close(traced(model, x, y, lam).total, evaluate(model, x, y, lam).total)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("layout", ["tokens", "image"])
def test_gradients_of_each_sample_by_vmap(name, layout):
    if name == "gru":
        pytest.skip("torch's recurrent kernel has no batching rule")
    spec = spec_of(layout)
    model, x, y = copy.deepcopy(built(name, spec)), inputs_of(spec), torch.arange(BATCH) % 5
    weights = dict(model.named_parameters())

    def total(weights, sample, label):
        with Tape(model) as tape:
            logits = functional_call(model, weights, (sample[None],))
            return F.cross_entropy(logits, label[None]) + ActivationEnergy()(tape.trajectory)

    stacked = vmap(grad(total), in_dims=(None, 0, 0))(weights, x, y)
    one = grad(total)(weights, x[2], y[2])
    for key, gradient in one.items():
        torch.testing.assert_close(stacked[key][2], gradient, rtol=1e-3, atol=1e-4)


def test_knows_nothing_of_energy(name):
    tree = ast.parse(inspect.getsource(importlib.import_module(MODELS[name].partition(":")[0])))
    imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imported += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    rooms = {module.split(".")[1] for module in imported if module.startswith("minaction.")}
    assert rooms <= {"models", "data", "errors"}
