"""The rules that set lambda."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minaction.errors import LambdaError
from minaction.objective.lam import Fixed, LambdaRule, Schedule, as_rule

BAD = [-1, -1e-300, math.nan, math.inf, -math.inf, 10**400, True, "0.1", None, [1], 1j]
RULES = {
    "fixed": lambda: Fixed(1e-4),
    "linear": lambda: Schedule(1e-2, warmup=3, ramp=5),
    "geometric": lambda: Schedule(1e-2, warmup=2, ramp=7, shape="geometric"),
}


def walk(rule: LambdaRule, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        values.append(rule.value)
        rule.advance()
    return values


def test_fixed_stays():
    assert walk(Fixed(1e-3), 3) == [1e-3] * 3


def test_linear_schedule_step_by_step():
    assert walk(Schedule(8.0, warmup=2, ramp=4), 8) == [0, 0, 2, 4, 6, 8, 8, 8]


def test_geometric_schedule_step_by_step():
    values = walk(Schedule(1.0, warmup=1, ramp=3, shape="geometric"), 5)
    assert values == pytest.approx([0, 0.01, 0.1, 1, 1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [5, 5, 5]),
        ({"warmup": 2}, [0, 0, 5]),
        ({"ramp": 2}, [2.5, 5, 5]),
        ({"ramp": 1}, [5, 5, 5]),
        ({"ramp": 1, "shape": "geometric"}, [5, 5, 5]),
    ],
)
def test_schedule_edges(options, expected):
    assert walk(Schedule(5, **options), 3) == expected


@given(
    target=st.floats(0, 1e6),
    warmup=st.integers(0, 10),
    ramp=st.integers(0, 10),
    shape=st.sampled_from(["linear", "geometric"]),
)
def test_a_schedule_never_falls_and_ends_at_its_target(target, warmup, ramp, shape):
    values = walk(Schedule(target, warmup=warmup, ramp=ramp, shape=shape), warmup + ramp + 1)
    assert values == sorted(values)
    assert values[:warmup] == [0] * warmup
    assert values[-1] == target
    assert all(0 <= value <= target for value in values)


@pytest.mark.parametrize("name", RULES)
def test_a_resumed_rule_goes_on_identically(name):
    whole = walk(RULES[name](), 20)
    first, second = RULES[name](), RULES[name]()
    begin = walk(first, 6)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert begin + walk(second, 14) == whole


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copied_rule_goes_on_identically(name, copied):
    rule = RULES[name]()
    walk(rule, 4)
    twin = copied(rule)
    assert repr(twin) == repr(rule)
    assert walk(twin, 10) == walk(rule, 10)


def test_a_loaded_constant_replaces_the_old_one():
    rule = Fixed(1.0)
    rule.load_state_dict(Fixed(2.0).state_dict())
    assert rule.value == 2.0


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:12])
def test_bad_lambdas_are_refused(bad):
    for build in (Fixed, Schedule, as_rule):
        with pytest.raises(LambdaError, match="lambda must be"):
            build(bad)
    rule = Fixed(1.0)
    with pytest.raises(LambdaError, match="lambda must be"):
        rule.load_state_dict({"lam": bad})
    assert rule.value == 1.0


@pytest.mark.parametrize("bad", [-1, 1.5, True, "3", None, math.nan])
@pytest.mark.parametrize("name", ["warmup", "ramp"])
def test_bad_numbers_of_steps_are_refused(name, bad):
    with pytest.raises(LambdaError, match=f"{name} must be a number of steps"):
        Schedule(1.0, **{name: bad})


def test_an_unknown_shape_is_refused():
    with pytest.raises(LambdaError, match="shape must be 'linear' or 'geometric', got 'cubic'"):
        Schedule(1.0, ramp=3, shape="cubic")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("rule", [Fixed(1.0), Schedule(1.0)])
def test_a_checkpoint_of_another_rule_is_refused(rule):
    with pytest.raises(LambdaError, match="another rule's"):
        rule.load_state_dict({"something": 1})


@pytest.mark.parametrize("steps", [-1, 0.5, "4"])
def test_a_damaged_checkpoint_is_refused(steps):
    with pytest.raises(LambdaError, match="steps must be a number"):
        Schedule(1.0).load_state_dict({"steps": steps})


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(2), 2, 0])
def test_numbers_of_numpy_and_python_are_accepted(number):
    assert as_rule(number).value == float(number)
    assert type(as_rule(number).value) is float


def test_tensors_are_no_fixed_lambda():
    with pytest.raises(LambdaError, match="a number >= 0 or a rule"):
        as_rule(torch.tensor(0.1))


def test_a_rule_is_itself():
    rule = Schedule(1.0)
    assert as_rule(rule) is rule


def test_any_object_of_the_right_shape_is_a_rule():
    class Alternating:
        def __init__(self) -> None:
            self.value = 0.0

        def advance(self) -> None:
            self.value = 1.0 - self.value

        def state_dict(self) -> dict:
            return {}

        def load_state_dict(self, state: dict) -> None:
            pass

    rule = Alternating()
    assert as_rule(rule) is rule
    assert walk(rule, 3) == [0, 1, 0]
