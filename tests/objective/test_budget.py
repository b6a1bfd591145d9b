"""The budget rule: step by step, against problems with known answers, and against cooper."""

from __future__ import annotations

import copy
import functools
import math
import pickle

import cooper
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy
from minaction.errors import LambdaError
from minaction.models.conventional import MLP
from minaction.objective.budget import Budget
from minaction.objective.objective import EnergyObjective

slow = functools.partial(pytest.param, marks=pytest.mark.slow)


def lam(budget):
    return float(budget.value)


def test_step_by_step():
    budget = Budget(0.5, gain=0.1, smoothing=0.75, initial=0.01, floor=1e-3, ceiling=1)
    average, expected = 0.0, math.log(0.01)
    for count, task in enumerate([0.6, 0.4, 3.0, 0.1, 0.1], start=1):
        budget.advance(torch.tensor(task))
        average = 0.75 * average + 0.25 * task
        slack = math.log(0.5 / (average / (1 - 0.75**count)))
        expected += 0.1 * min(max(slack, -1), 1)
        assert lam(budget) == pytest.approx(math.exp(expected), rel=1e-5)


def test_warm_up_is_on_the_task_alone_and_nothing_is_observed():
    budget = Budget(0.5, warmup=3, initial=1e-4)
    for _ in range(3):
        assert budget.value == 0.0
        assert not isinstance(budget.value, torch.Tensor)
        budget.advance(100.0)
    assert lam(budget) == pytest.approx(1e-4)
    budget.advance(0.5)  # were the warm-up's losses averaged in, lambda would fall
    assert lam(budget) == pytest.approx(1e-4)


def test_in_the_warm_up_the_energy_term_can_be_held_down_and_lambda_goes_on_from_there():
    budget = Budget(warmup=4, warmup_term=0.03, smoothing=0.5, gain=1.0)
    assert budget.value == 0.0  # no energy is known yet
    averages = [2.0, (0.5 * 2 + 4) / 1.5, (0.25 * 2 + 0.5 * 4 + 8) / 1.75]
    for energy, average in zip([2.0, 4.0, 8.0], averages, strict=True):
        budget.advance(1.0, torch.tensor(energy))
        assert lam(budget) == pytest.approx(0.03 / average)
    for useless in (math.nan, 0.5, 0.5):  # the last of them after the warm-up
        budget.advance(1.0, useless)
    assert lam(budget) == pytest.approx(0.03 / averages[-1])
    budget.steer(1.0)
    assert lam(budget) == pytest.approx(math.e * 0.03 / averages[-1])


def test_in_the_warm_up_lambda_does_not_follow_an_energy_that_falls():
    """Or it would grow without limit while a network falls silent."""
    budget = Budget(warmup=9, warmup_term=0.03, smoothing=0.5, initial=1e-4, ceiling=1e9)
    for useless in (math.nan, 0.0):
        budget.advance(1.0, useless)
        assert lam(budget) == pytest.approx(1e-4)
    budget.advance(1.0, 3.0)
    begun = lam(budget)
    assert begun > 1e-4
    for energy in (1.0, 1e-3, 1e-9, 0.0):
        budget.advance(1.0, energy)
        assert lam(budget) == pytest.approx(begun)


def test_no_energy_at_all_leaves_lambda_where_it_was():
    budget = Budget(warmup=4, warmup_term=0.03, initial=1e-4)
    budget.advance(1.0, 0.0)
    assert lam(budget) == pytest.approx(1e-4)


@pytest.mark.parametrize("task", [1e6, math.nan, math.inf])
def test_no_windup(task):
    """However long the constraint was out of reach, lambda rises as soon as there is room."""
    budget = Budget(1.0, gain=0.5, smoothing=0.0, floor=1e-6, ceiling=1.0)
    for _ in range(10_000):
        budget.advance(task)
    assert lam(budget) == pytest.approx(1e-6, rel=1e-4)
    budget.advance(1e-9)
    assert lam(budget) == pytest.approx(1e-6 * math.exp(0.5), rel=1e-4)


def test_lambda_stays_below_the_ceiling_and_comes_back_at_once():
    budget = Budget(1.0, gain=0.5, smoothing=0.0, ceiling=0.1)
    for _ in range(1000):
        budget.advance(0.0)
    assert lam(budget) == pytest.approx(0.1)
    budget.advance(1e9)
    assert lam(budget) == pytest.approx(0.1 * math.exp(-0.5))


@given(slacks=st.lists(st.floats(allow_nan=True), max_size=50))
def test_lambda_is_always_within_its_limits(slacks):
    budget = Budget(gain=3.0, initial=1e-3, floor=1e-5, ceiling=1e-1)
    for slack in slacks:
        budget.steer(slack)
        assert 0.999e-5 <= lam(budget) <= 1.001e-1


def test_steered_from_outside_it_ignores_the_task_loss():
    budget = Budget(gain=0.5, initial=1e-3)
    budget.advance(1e9)
    assert lam(budget) == pytest.approx(1e-3)
    budget.steer(0.4)
    assert lam(budget) == pytest.approx(1e-3 * math.exp(0.2))


class Quadratic:
    """Minimise `E = ||w||^2` subject to `L = 1/2 ||w - a||^2 <= limit`: a convex problem.

    At multiplier lambda the minimiser of `L + lambda E` is `w = a / (1 + 2 lambda)`, so the
    constraint holds with equality where `2 lambda / (1 + 2 lambda) = r`, `r = sqrt(2 limit) / |a|`:
    `lambda = r / (2 (1 - r))`, `E = |a|^2 (1 - r)^2`, and `dE/dlimit = -1 / lambda`.
    """

    target = torch.tensor([3.0, -1.0, 2.0, 0.5], dtype=torch.float64)

    def __init__(self, limit):
        self.limit = limit
        self.ratio = math.sqrt(2 * limit) / float(self.target.norm())
        self.dual = self.ratio / (2 * (1 - self.ratio))
        self.primal = self.target * (1 - self.ratio)

    def task(self, w):
        return 0.5 * (w - self.target).square().sum(-1)

    def energy(self, w):
        return w.square().sum(-1)

    def solve(self, budget, steps=6000, rate=0.05):
        w = nn.Parameter(self.target.clone().expand(*torch.as_tensor(self.limit).shape, -1).clone())
        optimizer = torch.optim.SGD([w], lr=rate)
        for _ in range(steps):
            optimizer.zero_grad()
            task = self.task(w)
            (task + budget.value * self.energy(w)).sum().backward()
            optimizer.step()
            budget.advance(task.detach())
        return w.detach()


@pytest.mark.parametrize(
    ("limit", "initial"),
    [
        (0.05, 1e-5),
        (0.5, 1.0),
        (3.0, 1e-5),
        slow(0.05, 1.0),
        slow(0.5, 1e-5),
        slow(3.0, 1.0),
    ],
)
def test_finds_primal_and_dual_solution_of_a_convex_problem(limit, initial):
    problem = Quadratic(limit)
    budget = Budget(limit, initial=initial, ceiling=100.0, gain=0.02, smoothing=0.9)
    w = problem.solve(budget)
    assert torch.allclose(w, problem.primal, rtol=1e-4)
    assert lam(budget) == pytest.approx(problem.dual, rel=1e-4)
    assert float(problem.task(w)) == pytest.approx(limit, rel=1e-4)


def test_lambda_is_the_shadow_price():
    """One over lambda is what the least energy gains by a unit of allowed loss."""
    energies = {}
    for limit in (0.499, 0.5, 0.501):
        problem = Quadratic(limit)
        budget = Budget(limit, ceiling=100.0, smoothing=0.9)
        energies[limit] = float(problem.energy(problem.solve(budget)))
        if limit == 0.5:
            found = lam(budget)
    slope = (energies[0.501] - energies[0.499]) / 0.002
    assert slope == pytest.approx(-1 / found, rel=1e-2)


def test_stacked_runs_have_a_multiplier_each():
    limits = torch.tensor([0.05, 0.5, 3.0], dtype=torch.float64)

    def budget(limit):
        return Budget(limit, warmup=10, ceiling=100.0, smoothing=0.9)

    class Stacked(Quadratic):
        def __init__(self):
            self.limit = limits

    together = budget(limits)
    w = Stacked().solve(together, steps=500)
    assert together.value.shape == (3,)
    for row, limit, found in zip(w, limits, together.value, strict=True):
        alone = budget(float(limit))
        assert torch.equal(Quadratic(float(limit)).solve(alone, steps=500), row)
        assert alone.value == found


class CooperProblem(cooper.ConstrainedMinimizationProblem):
    """The same problem in its usual form: energy first, one multiplier mu = 1 / lambda."""

    def __init__(self, problem, w):
        super().__init__()
        self.problem, self.w = problem, w
        multiplier = cooper.multipliers.DenseMultiplier(num_constraints=1, dtype=torch.float64)
        self.constraint = cooper.Constraint(
            constraint_type=cooper.ConstraintType.INEQUALITY,
            formulation_type=cooper.formulations.Lagrangian,
            multiplier=multiplier,
        )

    def compute_cmp_state(self):
        violation = self.problem.task(self.w) - self.problem.limit
        state = cooper.ConstraintState(violation=violation.unsqueeze(0))
        energy = self.problem.energy(self.w)
        return cooper.CMPState(loss=energy, observed_constraints={self.constraint: state})


@pytest.mark.parametrize("limit", [slow(0.05), 0.5, slow(3.0)])
def test_agrees_with_cooper(limit):
    problem = Quadratic(limit)
    w = nn.Parameter(problem.target.clone())
    theirs = CooperProblem(problem, w)
    optimizer = cooper.optim.SimultaneousOptimizer(
        theirs,
        torch.optim.SGD([w], lr=0.01),
        torch.optim.SGD(theirs.dual_parameters(), lr=0.05 / limit, maximize=True),
    )
    for _ in range(10_000):
        optimizer.roll()
    budget = Budget(limit, ceiling=100.0, smoothing=0.9)
    ours = problem.solve(budget)
    assert torch.allclose(ours, w.detach(), rtol=1e-3)
    mu = float(theirs.constraint.multiplier.weight.detach())
    assert lam(budget) == pytest.approx(1 / mu, rel=1e-3)


def training(steps, checkpoint_at=None):
    """Train a small network within a budget; on the way, stop and go on from a checkpoint."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(steps, 32, 6, generator=generator)
    y = torch.randint(0, 3, (steps, 32), generator=generator)
    torch.manual_seed(1)
    model = MLP(6, (16, 8), 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def objective():
        budget = Budget(1.0, gain=0.2, smoothing=0.9, initial=1e-3, warmup=5)
        return EnergyObjective(F.cross_entropy, ActivationEnergy(), budget)

    current, found = objective(), []
    for step in range(steps):
        if step == checkpoint_at:
            saved = pickle.loads(
                pickle.dumps((model.state_dict(), optimizer.state_dict(), current.state_dict()))
            )
            model = MLP(6, (16, 8), 3)
            model.load_state_dict(saved[0])
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
            optimizer.load_state_dict(saved[1])
            current = objective()
            current.load_state_dict(saved[2])
        optimizer.zero_grad()
        terms = current(model, x[step], y[step])
        terms.total.backward()
        optimizer.step()
        found.append(float(terms.lam))
    return found, [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("at", [2, 5, 31])
def test_a_resumed_training_follows_the_same_trajectory(at):
    whole, parts = training(60), training(60, checkpoint_at=at)
    assert whole[0] == parts[0]
    assert len(set(whole[0])) > 40
    assert all(torch.equal(a, b) for a, b in zip(whole[1], parts[1], strict=True))


def test_a_checkpoint_is_not_changed_by_going_on():
    budget = Budget(1.0, smoothing=0.5)
    budget.advance(0.5)
    state = budget.state_dict()
    kept = copy.deepcopy(state)
    budget.advance(3.0)
    assert state == kept
    other = Budget(1.0, smoothing=0.5)
    other.load_state_dict(state)
    other.advance(7.0)
    assert state == kept


def test_the_lambda_of_the_terms_is_the_one_used():
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), Budget(1e9, gain=1.0))
    torch.manual_seed(0)
    model, x, y = MLP(4, (5,), 2), torch.randn(8, 4), torch.randint(0, 2, (8,))
    first, second = objective(model, x, y), objective(model, x, y)
    assert float(second.lam) == pytest.approx(float(first.lam) * math.e, rel=1e-5)
    for terms in (first, second):
        task, energy = terms.task.detach(), terms.energy.detach()
        assert float(terms.total.detach()) == pytest.approx(float(task + terms.lam * energy))
    assert not second.lam.requires_grad


def test_evaluation_does_not_move_it():
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), Budget(1e9, gain=1.0))
    model, x, y = MLP(4, (5,), 2).eval(), torch.randn(8, 4), torch.zeros(8, dtype=torch.long)
    assert objective(model, x, y).lam == objective(model, x, y).lam


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit must be finite and > 0, got 0"),
        ({"limit": math.nan}, "limit must be finite"),
        ({"limit": "low"}, "limit must be a task loss > 0, got 'low'"),
        ({"limit": torch.tensor([0.1, -1])}, "limit must be finite"),
        ({"gain": 0}, "gain must be finite and > 0"),
        ({"gain": "much"}, "gain must be a number > 0"),
        ({"smoothing": 1}, r"smoothing must be in \[0, 1\)"),
        ({"floor": -1e-6}, "floor must be finite and > 0"),
        ({"initial": 1e-9}, "floor <= initial <= ceiling"),
        ({"initial": 2.0}, "floor <= initial <= ceiling"),
        ({"warmup_term": -1.0}, "lambda must be finite and >= 0"),
        ({"warmup": -1}, "warmup must be a number of steps"),
        ({"warmup": 1.5}, "warmup must be a number of steps"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(LambdaError, match=said):
        Budget(**arguments)


def test_a_limit_needs_the_task_loss():
    with pytest.raises(LambdaError, match="needs the task of every step"):
        Budget(0.1).advance()
    with pytest.raises(LambdaError, match="needs the energy of every step"):
        Budget(warmup=3, warmup_term=0.1).advance(1.0)


def test_another_rules_checkpoint():
    with pytest.raises(LambdaError, match="holds no 'steps'; it is another rule's"):
        Budget(0.1).load_state_dict({"lam": 0.1})


def test_says_what_it_is():
    assert repr(Budget(0.1, warmup=7)).startswith("Budget(0.1, gain=0.02, smoothing=0.98,")
