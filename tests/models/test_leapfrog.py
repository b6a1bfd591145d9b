from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from minaction.errors import ModelError
from minaction.models.leapfrog import EnergyBound, Path, Potential, leapfrog


def made(width=6, hidden=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    potential = Potential(width, hidden).double()
    with torch.no_grad():
        potential.weight.copy_(
            torch.randn(hidden, width, generator=generator, dtype=torch.float64) / width**0.5
        )
        potential.bias.copy_(torch.randn(hidden, generator=generator) / 2)
        potential.stiffness.copy_(torch.rand(hidden, generator=generator) + 0.5)
    return potential


def started(width=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, width, generator=generator, dtype=torch.float64).unbind()


def energy(potential, q, p):
    return p.square().sum(1) / 2 + potential(q)


def travelled(potential, q, p, time, steps):
    for _ in range(steps):
        q, p = leapfrog(q, p, potential.force, time / steps)
    return torch.cat([q, p], 1)


@torch.no_grad()
def test_potential_is_what_it_says():
    potential, (q, _) = made(), started()
    naive = [
        sum(
            c / 2 * max(float(w @ sample + b), 0.0) ** 2
            for w, b, c in zip(*potential.parameters(), strict=True)
        )
        for sample in q
    ]
    torch.testing.assert_close(potential(q), torch.stack([torch.as_tensor(v) for v in naive]))


def test_force_is_the_negative_gradient():
    potential, (q, _) = made(), started()
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(potential(q).sum(), q)
    torch.testing.assert_close(potential.force(q), -gradient)


@torch.no_grad()
def test_order_is_two():
    potential, (q, p) = made(), started()
    exact = travelled(potential, q, p, 2.0, 20_000)
    steps = np.array([8, 16, 32, 64, 128, 256])
    errors = [float((travelled(potential, q, p, 2.0, int(n)) - exact).norm()) for n in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(order - 2) < 0.1


@torch.no_grad()
def test_order_is_two_on_the_oscillator_too():
    q, p = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    steps, errors = np.array([10, 20, 40, 80, 160]), []
    for n in steps:
        x, v = q, p
        for _ in range(n):
            x, v = leapfrog(x, v, torch.neg, 3.0 / n)
        errors.append(math.hypot(float(x) - math.cos(3.0), float(v) + math.sin(3.0)))
    assert abs(-np.polyfit(np.log(steps), np.log(errors), 1)[0] - 2) < 0.02


@torch.no_grad()
@pytest.mark.parametrize("step", [0.05, 0.1, 0.2])
def test_energy_drift_is_bounded_by_the_step_squared_however_long(step):
    potential, (q, p) = made(), started()
    before = energy(potential, q, p)
    early = late = torch.zeros(())
    for k in range(4000):
        q, p = leapfrog(q, p, potential.force, step)
        drift = ((energy(potential, q, p) - before) / before).abs().max()
        if k < 2000:
            early = torch.maximum(early, drift)
        else:
            late = torch.maximum(late, drift)
    assert early < 0.7 * step**2
    assert late < 1.5 * early  # it does not add up


@torch.no_grad()
def test_reversible():
    potential, (q, p) = made(), started()
    there = travelled(potential, q, p, 3.0, 30)
    back = travelled(
        potential, *(there * torch.tensor([1.0, -1.0]).repeat_interleave(6)).chunk(2, 1), 3.0, 30
    )
    torch.testing.assert_close(back, torch.cat([q, -p], 1))


def test_symplectic():
    potential = made(width=3)
    q, p = started(width=3)
    z = torch.cat([q[0], p[0]])

    def moved(z):
        a, b = leapfrog(z[None, :3], z[None, 3:], potential.force, 0.3)
        return torch.cat([a, b], 1)[0]

    jacobian = torch.autograd.functional.jacobian(moved, z)
    one, none = torch.eye(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    form = torch.cat([torch.cat([none, one], 1), torch.cat([-one, none], 1)])
    torch.testing.assert_close(jacobian.T @ form @ jacobian, form)


def test_projection_leaves_what_is_inside_and_brings_the_rest_to_the_boundary():
    bound = EnergyBound(6, start=0.5).double()
    q, p = started()
    near, far = 0.1, 10.0
    inside = bound(near * q, near * p)
    torch.testing.assert_close(inside, (near * q, near * p))
    a, b = bound(far * q, far * p)
    torch.testing.assert_close((a.square() + b.square()).sum(1) / 2, torch.full((4,), 3.0).double())
    torch.testing.assert_close(bound(a, b), (a, b))  # a projection is idempotent
    torch.testing.assert_close(a / b, q / p)


def test_projection_of_rest_is_rest_with_finite_gradients():
    bound, zero = EnergyBound(3), torch.zeros(2, 3, requires_grad=True)
    q, _ = bound(zero, zero)
    q.sum().backward()
    assert torch.equal(q, torch.zeros(2, 3))
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_gradients():
    potential, (q, p) = made(), started()
    bound = EnergyBound(6).double()

    def run(q, p, *parameters):
        a, b = leapfrog(q, p, potential.force, 0.5)
        return torch.cat(bound(a, b), 1)

    assert torch.autograd.gradcheck(run, (q.requires_grad_(), p.requires_grad_()))


def test_action_of_the_oscillator_in_closed_form():
    time = torch.linspace(0, 2, 2001, dtype=torch.float64)[None]
    q, p = time.cos()[..., None], -time.sin()[..., None]
    path = Path(
        positions=q,
        momenta=p,
        kinetic=p.square().sum(2) / 2,
        potential=q.square().sum(2) / 2,
        step=0.001,
    )
    assert math.isclose(float(path.action()), 1.0, rel_tol=1e-6)  # T + V = 1/2 all along
    assert math.isclose(float(path.action("lagrangian")), -math.sin(4.0) / 4, rel_tol=1e-6)
    with pytest.raises(ModelError, match="form must be 'sum' or 'lagrangian', got 'both'"):
        path.action("both")
    assert torch.equal(pickle.loads(pickle.dumps(path)).positions, q)
