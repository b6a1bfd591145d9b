"""The objective inside `torch.compile`: one graph, equal results, no needless recompilation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from minaction.energy.functionals import (
    ActionEnergy,
    ActivationEnergy,
    FreeEnergy,
    KineticEnergy,
    L1Energy,
    PotentialEnergy,
    SynapticEnergy,
    UnitEnergy,
)
from minaction.energy.tape import Tape
from minaction.errors import TapeError
from minaction.objective.lam import Schedule
from minaction.objective.objective import EnergyObjective

X = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3
INDUCTOR = "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"  # torch's own


def cnn(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 6), nn.GELU(), nn.Linear(6, 3),
    )  # fmt: skip


ENERGIES = {
    "activation": lambda model: ActivationEnergy(),
    "l1": lambda model: L1Energy(),
    "unit": lambda model: UnitEnergy.of(model, X),
    "synaptic": lambda model: SynapticEnergy.of(model, X),
    "free": lambda model: FreeEnergy(s=0.5),
    "kinetic": lambda model: KineticEnergy(),
    "potential": lambda model: PotentialEnergy(),
    "action": lambda model: ActionEnergy(form="lagrangian"),
    "sum": lambda model: ActivationEnergy() + 0.1 * L1Energy(),
    "mixed": lambda model: ActivationEnergy() + 0.1 * KineticEnergy(),
}


def by_default(*names: str) -> list:
    """All energies, of which the slow suite alone compiles those that are not named."""
    slow = pytest.mark.slow
    return [name if name in names else pytest.param(name, marks=slow) for name in ENERGIES]


def losses(
    objective: EnergyObjective, model: nn.Module, x: Tensor, lam: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    terms = objective.evaluate(model, x, Y, lam)
    return terms.task, terms.energy, terms.total


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_equal_results(compiled, objective, model, lam, **tolerance) -> None:
    results = []
    for function in (losses, compiled):
        model.zero_grad()
        terms = function(objective, model, X, lam)
        terms[2].backward()
        results.append((terms, [p.grad.clone() for p in model.parameters()]))
    torch.testing.assert_close(results[1], results[0], **tolerance)


@pytest.mark.parametrize("name", ENERGIES)
def test_every_energy_compiles_into_one_graph(name):
    assert_compiles_into_one_graph(name, torch.tensor(0.01))


@pytest.mark.parametrize("name", by_default("activation", "mixed"))
def test_every_energy_compiles_into_one_graph_at_lambda_0(name):
    assert_compiles_into_one_graph(name, 0.0)


def assert_compiles_into_one_graph(name: str, lam: float | Tensor) -> None:
    model = cnn()
    objective = EnergyObjective(F.cross_entropy, ENERGIES[name](model))
    compiled = torch.compile(losses, fullgraph=True, backend="aot_eager")
    assert_equal_results(compiled, objective, model, lam)


@pytest.mark.filterwarnings(INDUCTOR)
@pytest.mark.slow
@pytest.mark.parametrize("name", ENERGIES)
def test_every_energy_compiles_into_fast_code(name):
    model = cnn()
    objective = EnergyObjective(F.cross_entropy, ENERGIES[name](model))
    compiled = torch.compile(losses, fullgraph=True)
    assert_equal_results(compiled, objective, model, torch.tensor(0.01))


@pytest.mark.filterwarnings(INDUCTOR)
@pytest.mark.slow
def test_the_activation_energy_compiles_into_fast_code_under_autocast():
    model = cnn()
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy())
    compiled = torch.compile(losses, fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal_results(compiled, objective, model, torch.tensor(0.01), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("name", by_default("activation", "synaptic", "free", "mixed"))
def test_new_models_and_lambdas_do_not_recompile(name):
    counter = CompileCounter()
    compiled = torch.compile(losses, backend=counter, dynamic=False)
    for seed, lam in enumerate([1e-4, 1e-3, 0.5]):
        model = cnn(seed)
        objective = EnergyObjective(F.cross_entropy, ENERGIES[name](model), lam=lam)
        compiled(objective, model, X, torch.tensor(lam))[2].backward()
    assert counter.frame_count == 1


def test_an_objective_of_fixed_lambda_can_be_compiled_whole():
    model, counter = cnn(), CompileCounter()
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=0.1)
    step = torch.compile(lambda x: objective(model, x, Y).total, backend=counter, fullgraph=True)
    for _ in range(3):
        torch.testing.assert_close(step(X), objective(model, X, Y).total)
    assert counter.frame_count == 1


def test_a_schedule_drives_one_graph_through_a_tensor():
    model, counter, rule = cnn(), CompileCounter(), Schedule(1.0, warmup=2, ramp=6)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=rule)
    evaluate = torch.compile(objective.evaluate, backend=counter, fullgraph=True)
    for _ in range(12):
        lam = rule.value
        total = evaluate(model, X, Y, torch.tensor(lam)).total
        torch.testing.assert_close(total, objective(model, X, Y).total)  # moves the rule on
    assert rule.value == 1.0
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", [nn.Hardsigmoid, nn.Hardswish])
def test_modules_the_compiler_hides_are_refused(kind):
    model = nn.Sequential(nn.Linear(6, 5), kind(), nn.Linear(5, 3))
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=0.1)
    step = torch.compile(objective.evaluate, backend="eager")
    with pytest.raises(TapeError, match=rf"hides module '1' \({kind.__name__}\); observe outside"):
        step(model, torch.randn(4, 6), torch.arange(4) % 3, torch.tensor(0.1))


def test_the_tape_can_be_used_inside_a_compiled_function():
    model = cnn()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def energy(x: Tensor) -> Tensor:
        with Tape(model) as tape:
            model(x)
        return ActivationEnergy()(tape.trajectory)

    with Tape(model) as tape:
        model(X)
    torch.testing.assert_close(energy(X), ActivationEnergy()(tape.trajectory))


class HandWrittenGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (cnn(), {"layers": ["1"]}, "layers cannot be named"),
        (nn.Sequential(cnn(), HandWrittenGELU(), nn.Linear(3, 3)), {}, "module '1' is observed as"),
    ],
    ids=["layers", "hand-written"],
)
def test_what_a_compiled_function_cannot_observe_is_refused_or_run_uncompiled(
    model, options, message
):
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), **options)
    with pytest.raises(Exception, match=message) as caught:
        torch.compile(losses, fullgraph=True, backend="eager")(objective, model, X, 0.1)
    assert "TapeError" in str(caught.value) or isinstance(caught.value, TapeError)


# ---- the user's own compiled model


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own, in a compiled part
@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("how", ["torch.compile", "module.compile", "submodule"])
def test_a_compiled_model_is_observed_as_if_it_were_not(called_before, how):
    model, plain = cnn(), cnn()
    if how == "torch.compile":
        model = torch.compile(model, backend="aot_eager")
    elif how == "module.compile":
        model.compile(backend="aot_eager")
    else:
        model[4] = torch.compile(nn.Sequential(model[4], model[5]), backend="aot_eager")
        plain[4] = nn.Sequential(plain[4], plain[5])
        model[5], plain[5] = nn.Identity(), nn.Identity()
    if called_before:
        model(X).sum().backward()
        model.zero_grad()
    with Tape(plain) as expected:
        plain(X)
    for _ in range(2):
        with Tape(model) as tape:
            model(X)
        torch.testing.assert_close(dict(tape.trajectory), dict(expected.trajectory))
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), lam=0.1)
    with pytest.warns(UserWarning, match="runs uncompiled here"):
        terms = objective(model, X, Y)
    torch.testing.assert_close(terms.total, objective(plain, X, Y).total)
    terms.total.backward()
    torch.testing.assert_close(model(X), plain(X))


def test_compiled_models_are_compiled_again_after_the_tape_even_after_an_exception():
    counter = CompileCounter()
    model = torch.compile(cnn(), backend=counter)
    with pytest.raises(ZeroDivisionError), Tape(model):
        _ = 1 / 0
    assert counter.frame_count == 0
    model(X)
    assert counter.frame_count == 1
