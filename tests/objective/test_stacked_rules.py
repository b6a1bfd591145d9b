from __future__ import annotations

import pytest
import torch

from minaction.errors import LambdaError
from minaction.objective.budget import Budget
from minaction.objective.lam import Fixed, Schedule
from minaction.objective.stacked import StackedRules


def losses(steps, runs, seed=0):
    """Task losses and energies of each step, `[steps, runs]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, steps, runs, generator=generator, dtype=torch.float64) + 0.5


def value_of(rules):
    value = rules.value
    return value if isinstance(value, torch.Tensor) else torch.tensor(float(value))


def constants():
    return [Fixed(0.0), Fixed(1e-3), Fixed(0.5)]


def budgets():
    shared = {"warmup": 5, "warmup_term": 0.1, "gain": 0.1, "floor": 1e-9, "ceiling": 10.0}
    return [Budget(limit, **shared) for limit in (0.3, 0.8, 5.0)]


def steered():
    return [Budget(gain=0.1, warmup=3) for _ in range(3)]


def schedules():
    return [Schedule(0.1 * k, warmup=k, ramp=4, shape="geometric") for k in range(3)]


def mixed():
    return [Budget(0.8), Fixed(0.1), Schedule(1.0, ramp=10)]


@pytest.mark.parametrize("make", [constants, budgets, steered, schedules, mixed])
def test_stacked_rules_do_what_each_rule_does_alone(make):
    alone, stacked = make(), make()
    tasks, energies = losses(40, 3)
    for start in range(0, 40, 10):  # settled and stacked anew four times
        rules = StackedRules(stacked)
        for task, energy in zip(
            tasks[start : start + 10], energies[start : start + 10], strict=True
        ):
            expected = torch.tensor([float(rule.value) for rule in alone])
            torch.testing.assert_close(value_of(rules).expand(3), expected, rtol=1e-6, atol=0)
            rules.advance(task, energy)
            for rule, *seen in zip(alone, task, energy, strict=True):
                rule.advance(*seen)
        rules.settle()
    for own, other in zip(stacked, alone, strict=True):
        assert float(own.value) == pytest.approx(float(other.value), rel=1e-6)


def test_each_budget_can_be_steered_between_two_stacks():
    rules = steered()
    for rule, slack in zip(rules, (-1.0, 0.0, 1.0), strict=True):
        rule.advance(torch.tensor(1.0), torch.tensor(1.0))
        rule.steer(slack)
    before = [rule.state_dict()["log_lam"] for rule in rules]
    stacked = StackedRules(rules)
    for _ in range(2):
        stacked.advance(torch.ones(3), torch.ones(3))
    stacked.settle()
    assert [rule.state_dict()["log_lam"] for rule in rules] == before
    assert [rule.state_dict()["steps"] for rule in rules] == [3, 3, 3]
    lams = stacked.value
    assert lams[0] < lams[1] < lams[2]


def test_lambda_is_the_number_0_where_it_is_that_for_all():
    assert StackedRules([Fixed(0.0), Fixed(0.0)]).value == 0.0
    assert StackedRules(steered()).value == 0.0  # in the warm-up
    assert torch.equal(StackedRules([Fixed(0.0), Fixed(1.0)]).value, torch.tensor([0.0, 1.0]))


def test_a_loss_that_is_no_number_stays_with_its_run():
    rules = budgets()
    stacked = StackedRules(rules)
    for _ in range(10):
        stacked.advance(torch.tensor([1.0, torch.nan, 1.0]), torch.ones(3))
    stacked.settle()
    assert all(0 < float(rule.value) < 11 for rule in rules)


@pytest.mark.parametrize(
    "other",
    [Budget(1.0, gain=0.5), Budget(), Budget(1.0, warmup=3), Budget(torch.ones(2))],
)
def test_budgets_that_are_not_alike_cannot_be_stacked(other):
    with pytest.raises(LambdaError, match="only budgets alike in all but their limits"):
        StackedRules([Budget(1.0), other])


def test_budgets_that_are_not_at_the_same_step_cannot_be_stacked():
    ahead = Budget(1.0)
    ahead.advance(torch.tensor(1.0))
    with pytest.raises(LambdaError, match="after as many steps"):
        Budget.stacked([Budget(1.0), ahead])
