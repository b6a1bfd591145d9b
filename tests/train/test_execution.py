from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy
from minaction.measure.environment import cxx_compiler
from minaction.models.build import build_model
from minaction.objective.objective import EnergyObjective
from minaction.train.execution import Execution
from minaction.train.loop import TrainConfig, train

# torch imports its own deprecated functions when the compiler starts
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
needs_compiler = pytest.mark.skipif(cxx_compiler() is None, reason="no C++ compiler here")


def step(execution, dataset, name="cnn", lam=1e-3, seed=0, losses=None):
    """The losses of one batch and the gradients they give, as one list."""
    losses = losses or execution.losses()
    model = execution.prepare(build_model(name, dataset.spec, parameters=5_000, seed=seed))
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam)
    x, y = dataset.train.x[:32], dataset.train.y[:32]
    price: float | Tensor = torch.tensor(lam) if lam else 0.0
    terms = losses(objective, model, x, y, price)
    terms[2].backward()
    return [*(term.detach() for term in terms), *(p.grad for p in model.parameters())]


def assert_close(found, expected, **tolerance):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance, check_stride=False)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_channels_last_changes_the_layout_and_nothing_else(digits, name):
    execution = Execution(channels_last=True)
    assert_close(step(execution, digits, name), step(Execution(), digits, name))
    model = execution.prepare(build_model(name, digits.spec, parameters=5_000))
    for weight in model.parameters():
        if weight.ndim == 4:
            assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels_last", [True, False])
def test_pooling_gets_gradients_in_the_layout_chosen(digits, channels_last):
    """Read off where they enter max pooling: in another order it would copy all it works on."""
    execution = Execution(channels_last=channels_last)
    model = execution.prepare(build_model("cnn", digits.spec, parameters=5_000, seed=0))
    x, y = digits.train.x[:32], digits.train.y[:32]
    pools = [module for module in model.modules() if isinstance(module, nn.MaxPool2d)]
    layouts = []

    def note(_module, _inputs, output):
        node = output.grad_fn
        node.register_prehook(
            lambda grads: layouts.append(grads[0].is_contiguous(memory_format=torch.channels_last))
        )

    hooks = [pool.register_forward_hook(note) for pool in pools]
    with execution.training(model):
        F.cross_entropy(model(x), y).backward()
    assert layouts == [channels_last] * len(pools)
    for hook in hooks:
        hook.remove()
    assert not any(pool._forward_hooks for pool in pools)


def test_pooling_that_returns_indices_trains_as_well():
    class Unpooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 3, 3, padding=1)
            self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

        def forward(self, x):
            return self.unpool(*self.pool(self.convolution(x))).flatten(1)

    execution = Execution(channels_last=True)
    model = execution.prepare(Unpooling())
    with execution.training(model):
        model(torch.randn(2, 1, 8, 8)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_bfloat16_keeps_weights_and_loss_in_float32(digits):
    found, expected = (step(Execution(precision=p), digits) for p in ("bfloat16", "float32"))
    assert {value.dtype for value in found} == {torch.float32}
    assert_close(found[:3], expected[:3], rtol=0.02, atol=0)
    assert any(not torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("mlp", "bfloat16"),
        ("cnn", "float32"),
        pytest.param("mlp", "float32", marks=pytest.mark.slow),
        pytest.param("cnn", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_one_graph_serves_all_lambdas_and_models(digits, name, precision):
    """What is traced, without the minutes a compiler takes to translate it."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    plain = Execution(precision=precision)
    traced = torch.compile(plain.losses(), backend=counter, dynamic=False, fullgraph=True)
    for seed in (0, 1):
        for lam in (1e-4, 1e-2):
            found = step(plain, digits, name, lam, seed, losses=traced)
            assert_close(found, step(plain, digits, name, lam, seed))
    assert counter.frame_count == 1
    for seed in (0, 1):  # lambda 0 has a graph of its own, without the energy's gradient
        found = step(plain, digits, name, 0, seed, losses=traced)
        assert_close(found, step(plain, digits, name, 0, seed))
    assert counter.frame_count == 2


@needs_compiler
def test_compiled_training_follows_the_eager_one(digits):
    torch._dynamo.reset()
    config = TrainConfig(epochs=2, batch_size=32, seed=1)
    histories = []
    for execution in (Execution(), Execution(compile=True)):
        model = build_model("mlp", digits.spec, parameters=5_000, seed=4)
        objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), 1e-3)
        histories.append(train(model, digits, objective, config, execution).history)
        for entry in histories[-1]:
            del entry["train_seconds"]
    for eager, compiled in zip(*histories, strict=True):
        assert compiled == pytest.approx(eager, rel=1e-3)
    compiled = step(Execution(compile=True), digits, "mlp")
    assert_close(compiled, step(Execution(), digits, "mlp"), rtol=1e-4, atol=1e-6)


def test_as_json():
    execution = Execution(precision="bfloat16", compile=True, channels_last=True)
    assert Execution(**json.loads(json.dumps(execution.to_dict()))) == execution
