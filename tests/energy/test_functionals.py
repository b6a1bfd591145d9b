"""Every energy against a slow, obvious twin, its derivative, and the invariances it states."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minaction.energy.functionals import (
    ActionEnergy,
    ActivationEnergy,
    Energy,
    FreeEnergy,
    KineticEnergy,
    L1Energy,
    PotentialEnergy,
    SynapticEnergy,
    UnitEnergy,
    layer_term,
)
from minaction.energy.sketch import sketch
from minaction.energy.trajectory import Activation, Trajectory
from minaction.errors import InputError

COST = {"a": 3.0, "b": 0.5, "c": 7.0}
ENERGIES: dict[str, Energy] = {
    "activation": ActivationEnergy(),
    "l1": L1Energy(),
    "unit": UnitEnergy(),
    "unit-with-costs": UnitEnergy(cost=COST, eps=0.01),
    "synaptic": SynapticEnergy(fan_out=COST, width=0.3),
    "free": FreeEnergy(s=0.4),
    "kinetic": KineticEnergy(),
    "relative-kinetic": KineticEnergy(relative=True, seed=4),
    "potential": PotentialEnergy(),
    "action": ActionEnergy(),
    "lagrangian": ActionEnergy(form="lagrangian", kinetic=KineticEnergy(seed=2)),
}
SCALED = {  # energy and the power of |c| it scales with under a -> c a
    "activation": (ActivationEnergy(), 2),
    "l1": (L1Energy(), 1),
    "unit": (UnitEnergy(cost=COST, eps=0.0), 1),
    "kinetic": (KineticEnergy(), 2),
    "relative-kinetic": (KineticEnergy(relative=True), 0),
}
ADDITIVE = {name: e for name, e in ENERGIES.items() if not name.startswith("unit")}
seeds = st.integers(0, 2**32 - 1)


def activations(seed: int, batch: int = 4) -> list[Tensor]:
    """A channels layer with positions, a layer of equal size, a smaller one; with exact zeros."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, 3, 2, 2), (batch, 12), (batch, 5)]
    values = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [values[0].relu(), values[1], values[2].relu()]


def weights(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    return {
        "a.weight": torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64),
        "b.weight": torch.randn(12, 12, generator=generator, dtype=torch.float64),
    }


def trajectory(values: list[Tensor], matrices: dict[str, Tensor] | None = None) -> Trajectory:
    layers = tuple(
        Activation(name=name, value=value, unit_axis=1 if value.ndim == 4 else -1, index=index)
        for index, (name, value) in enumerate(zip("abc", values, strict=False))
    )
    return Trajectory(layers=layers, weights=matrices or {})


# ---- the slow twins: plain Python over samples, layers and units


def twin_activation(layers: list[np.ndarray]) -> float:
    batch = len(layers[0])
    return sum(float(a) ** 2 for layer in layers for a in layer.ravel()) / batch


def twin_l1(layers: list[np.ndarray]) -> float:
    return sum(abs(float(a)) for layer in layers for a in layer.ravel()) / len(layers[0])


def twin_unit(layers: list[np.ndarray], costs: list[float], eps: float) -> float:
    energy = 0.0
    for layer, cost in zip(layers, costs, strict=True):
        for u in range(layer.shape[1]):
            squares = [float(a) ** 2 for a in layer[:, u].ravel()]
            energy += cost * math.sqrt(sum(squares) / len(squares) + eps)
    return energy


def twin_synaptic(layers: list[np.ndarray], costs: list[float], width: float) -> float:
    energy = 0.0
    for layer, cost in zip(layers, costs, strict=True):
        for sample in layer:
            energy += sum(cost * abs(a) / (abs(a) + width) for a in sample.ravel().tolist())
    return energy / len(layers[0])


def twin_strict(layer: np.ndarray, cost: float) -> float:
    return sum(cost for sample in layer for a in sample.ravel() if a != 0) / len(layer)


def twin_free(layers: list[np.ndarray], s: float) -> float:
    """KL( N(a, s^2) || N(0, 1) ) = ln(1/s) + (s^2 + a^2) / 2 - 1/2, unit by unit."""
    energy = 0.0
    for layer in layers:
        for a in layer.ravel():
            energy += math.log(1 / s) + (s**2 + float(a) ** 2) / 2 - 0.5
    return energy / len(layers[0])


def matrix(n: int, size: int, seed: int) -> np.ndarray:
    return sketch(torch.eye(n, dtype=torch.float64), size, seed).T.numpy()


def twin_kinetic(layers: list[np.ndarray], *, relative: bool, seed: int) -> float:
    dt, energy = 1 / len(layers), 0.0
    for left, right in itertools.pairwise(layers):
        for before, after in zip(left, right, strict=True):
            x, y = before.ravel(), after.ravel()
            if len(x) != len(y):
                size = min(len(x), len(y))
                x, y = matrix(len(x), size, seed) @ x, matrix(len(y), size, seed + 1) @ y
            change = sum(((b - a) / dt) ** 2 for a, b in zip(x, y, strict=True))
            if relative:
                energy += change * dt**2 / max(sum(a**2 for a in x), 1e-12)
            else:
                energy += dt / 2 * change
    return energy / len(layers[0])


def twin_potential(matrices: dict[str, Tensor]) -> float:
    return sum(float(w) ** 2 for m in matrices.values() for w in m.flatten()) / 2


def twin(name: str, values: list[Tensor], matrices: dict[str, Tensor]) -> float:
    layers = [value.numpy() for value in values]
    dt, costs = 1 / len(layers), list(COST.values())
    match name:
        case "activation":
            return twin_activation(layers)
        case "l1":
            return twin_l1(layers)
        case "unit":
            return twin_unit(layers, [1.0] * 3, 1e-8)
        case "unit-with-costs":
            return twin_unit(layers, costs, 0.01)
        case "synaptic":
            return twin_synaptic(layers, costs, 0.3)
        case "free":
            return twin_free(layers, 0.4)
        case "kinetic":
            return twin_kinetic(layers, relative=False, seed=0)
        case "relative-kinetic":
            return twin_kinetic(layers, relative=True, seed=4)
        case "potential":
            return twin_potential(matrices)
        case "action":
            return dt * (twin_kinetic(layers, relative=False, seed=0) + twin_potential(matrices))
        case "lagrangian":
            return dt * (twin_kinetic(layers, relative=False, seed=2) - twin_potential(matrices))
    raise AssertionError(name)


@pytest.mark.parametrize("name", ENERGIES)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_equals_its_slow_twin(name, seed):
    values, matrices = activations(seed), weights(seed)
    energy = ENERGIES[name](trajectory(values, matrices))
    assert energy.dtype == torch.float64
    assert float(energy) == pytest.approx(twin(name, values, matrices), rel=1e-10)


@pytest.mark.parametrize("name", ENERGIES)
def test_float32_is_close_to_float64(name):
    values, matrices = activations(1), weights(1)
    single = trajectory([v.float() for v in values], {k: w.float() for k, w in matrices.items()})
    energy = ENERGIES[name](single)
    assert energy.dtype == torch.float32
    exact = ENERGIES[name](trajectory(values, matrices))
    torch.testing.assert_close(energy.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ENERGIES)
def test_half_precision_accumulates_in_float32(name, dtype):
    values, matrices = activations(2), weights(2)
    half = [v.to(dtype) for v in values]
    energy = ENERGIES[name](trajectory(half, {k: w.to(dtype) for k, w in matrices.items()}))
    assert energy.dtype == torch.float32
    rounded = [v.double() for v in half]
    exact = trajectory(rounded, {k: w.to(dtype).double() for k, w in matrices.items()})
    torch.testing.assert_close(energy.double(), ENERGIES[name](exact), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ENERGIES)
def test_gradient_is_the_derivative(name):
    values = [v + 0.05 * v.sign() for v in activations(3)]  # away from the kink of |a|
    values = [torch.where(v == 0, 0.2, v).requires_grad_() for v in values]
    matrices = {key: w.requires_grad_() for key, w in weights(3).items()}
    inputs = (*values, *matrices.values())

    def energy(*tensors: Tensor) -> Tensor:
        keys = dict(zip(matrices, tensors[3:], strict=True))
        return ENERGIES[name](trajectory(list(tensors[:3]), keys))

    assert torch.autograd.gradcheck(energy, inputs)
    if name not in ("l1", "synaptic"):  # piecewise: |a|
        assert torch.autograd.gradgradcheck(energy, inputs)


@pytest.mark.parametrize("name", ENERGIES)
def test_shares_sum_to_the_energy(name):
    path = trajectory(activations(4), weights(4))
    shares = ENERGIES[name].per_layer(path)
    assert all(share.ndim == 0 for share in shares.values())
    torch.testing.assert_close(torch.stack(list(shares.values())).sum(), ENERGIES[name](path))


def test_shares_go_by_layer_and_weight():
    path = trajectory(activations(4), weights(4))
    assert list(ActivationEnergy().per_layer(path)) == ["a", "b", "c"]
    assert list(KineticEnergy().per_layer(path)) == ["b", "c"]
    assert list(PotentialEnergy().per_layer(path)) == ["a.weight", "b.weight"]
    assert list(ActionEnergy().per_layer(path)) == ["b", "c", "a.weight", "b.weight"]


# ---- the invariances the docstrings state


@pytest.mark.parametrize("name", SCALED)
@settings(max_examples=20, deadline=None)
@given(seed=seeds, c=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]))
def test_scaling_law(name, seed, c, sign):
    energy, power = SCALED[name]
    values = activations(seed)
    scaled = energy(trajectory([sign * c * v for v in values]))
    torch.testing.assert_close(scaled, c**power * energy(trajectory(values)), rtol=1e-8, atol=0)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, c=st.floats(-100, 100))
def test_potential_scales_with_the_weights(seed, c):
    matrices, values = weights(seed), activations(seed)
    scaled = PotentialEnergy()(trajectory(values, {k: c * w for k, w in matrices.items()}))
    torch.testing.assert_close(scaled, c**2 * PotentialEnergy()(trajectory(values, matrices)))


@pytest.mark.parametrize("name", ENERGIES)
def test_zero_at_zero(name):
    zeros = [torch.zeros_like(v) for v in activations(0)]
    energy = float(ENERGIES[name](trajectory(zeros)))
    offsets = {
        "unit": (3 + 12 + 5) * math.sqrt(1e-8),
        "unit-with-costs": (3 * 3 + 0.5 * 12 + 7 * 5) * 0.1,
        "free": (12 + 12 + 5) * (math.log(1 / 0.4) + 0.4**2 / 2 - 0.5),
    }
    assert energy == pytest.approx(offsets.get(name, 0.0), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", ADDITIVE)
@settings(max_examples=10, deadline=None)
@given(seed=seeds, cut=st.integers(1, 5))
def test_batch_splits_add_up_as_a_mean(name, seed, cut):
    values, matrices = activations(seed, batch=6), weights(seed)
    parts = [[v[:cut] for v in values], [v[cut:] for v in values]]
    energies = [ADDITIVE[name](trajectory(part, matrices)) for part in parts]
    mean = (cut * energies[0] + (6 - cut) * energies[1]) / 6
    torch.testing.assert_close(ADDITIVE[name](trajectory(values, matrices)), mean)


def test_unit_energy_is_not_additive_over_batch_splits():
    value = torch.tensor([[0.0], [2.0]])
    halves = [float(UnitEnergy(eps=0.0)(trajectory([v]))) for v in value.split(1)]
    assert float(UnitEnergy(eps=0.0)(trajectory([value]))) == pytest.approx(math.sqrt(2))
    assert sum(halves) / 2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    "name", ["activation", "l1", "unit", "unit-with-costs", "synaptic", "free"]
)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_unit_permutations_change_nothing(name, seed):
    values = activations(seed)
    generator = torch.Generator().manual_seed(seed)
    shuffled = [v[:, torch.randperm(v.shape[1], generator=generator)] for v in values]
    energy = ENERGIES[name]
    torch.testing.assert_close(energy(trajectory(shuffled)), energy(trajectory(values)))


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_kinetic_is_invariant_under_a_common_permutation_of_equal_layers(seed):
    values = [v.flatten(1) for v in activations(seed)[:2]]
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    shuffled = KineticEnergy()(trajectory([v[:, order] for v in values]))
    torch.testing.assert_close(shuffled, KineticEnergy()(trajectory(values)))


def test_kinetic_is_zero_where_nothing_changes_or_one_layer_is_all():
    value = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert float(KineticEnergy()(trajectory([value, value, value]))) == 0
    assert float(KineticEnergy()(trajectory([value]))) == 0


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_synaptic_is_bounded_by_the_dense_macs_and_the_strict_count(seed):
    path = trajectory(activations(seed))
    energy = SynapticEnergy(fan_out=COST, width=0.3)
    dense = sum(COST[layer.name] * layer.value[0].numel() for layer in path.layers)
    strict = energy.strict_count(path)
    assert float(energy(path)) <= float(sum(strict.values())) <= dense
    for layer in path.layers:
        expected = twin_strict(layer.value.numpy(), COST[layer.name])
        assert float(strict[layer.name]) == pytest.approx(expected)


def test_synaptic_approaches_the_strict_count_as_its_width_shrinks():
    path = trajectory(activations(5))
    narrow = SynapticEnergy(fan_out=COST, width=1e-12)
    torch.testing.assert_close(narrow(path), sum(narrow.strict_count(path).values()).double())


@settings(max_examples=20, deadline=None)
@given(seed=seeds, s=st.floats(0.05, 5))
def test_free_energy_is_half_the_activation_energy_plus_a_constant(seed, s):
    path = trajectory(activations(seed))
    constant = (12 + 12 + 5) * (s**2 - 1 - math.log(s**2)) / 2
    expected = ActivationEnergy()(path) / 2 + constant
    torch.testing.assert_close(FreeEnergy(s=s)(path), expected)


def test_a_silent_layer_keeps_the_relative_kinetic_energy_finite():
    values = [torch.zeros(4, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)]
    energy = KineticEnergy(relative=True)(trajectory(values))
    energy.backward()
    assert math.isfinite(energy.item())
    assert all(v.grad is not None and bool(v.grad.isfinite().all()) for v in values)


# ---- composition


@settings(max_examples=20, deadline=None)
@given(seed=seeds, w=st.floats(-10, 10), v=st.floats(-10, 10))
def test_energies_add_and_scale(seed, w, v):
    path = trajectory(activations(seed), weights(seed))
    a, b, c = ActivationEnergy(), KineticEnergy(), PotentialEnergy()
    combined = w * (a + v * b) + c * 0.5
    expected = w * a(path) + w * v * b(path) + 0.5 * c(path)
    torch.testing.assert_close(combined(path), expected)
    shares = combined.per_layer(path)
    torch.testing.assert_close(torch.stack(list(shares.values())).sum(), expected)
    torch.testing.assert_close(shares["a"], w * a.per_layer(path)["a"])


def test_only_sums_of_layer_terms_are_reduced_layer_by_layer():
    layer = trajectory(activations(0)).layers[1]
    term = layer_term(2 * ActivationEnergy() + 0.5 * L1Energy())
    assert term is not None
    expected = 2 * ActivationEnergy().term(layer) + 0.5 * L1Energy().term(layer)
    torch.testing.assert_close(term(layer), expected)
    assert layer_term(ActivationEnergy() + KineticEnergy()) is None
    assert layer_term(PotentialEnergy()) is None


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_an_energy_scales_by_finite_numbers_only(factor):
    with pytest.raises(InputError, match="finite"):
        factor * ActivationEnergy()


@pytest.mark.parametrize("other", ["1", None, True, [1]])
def test_an_energy_combines_with_numbers_and_energies_only(other):
    with pytest.raises(TypeError):
        other * ActivationEnergy()
    with pytest.raises(TypeError):
        ActivationEnergy() + other


def test_the_energy_of_nothing_is_zero():
    assert all(float(energy(Trajectory(layers=()))) == 0 for energy in ENERGIES.values())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FreeEnergy(s=0.0), "'s' must be positive"),
        (lambda: FreeEnergy(s=math.nan), "'s' must be positive"),
        (lambda: UnitEnergy(eps=-1.0), "'eps' must be finite and >= 0"),
        (lambda: UnitEnergy(cost={"a": -1.0}), "cost 'a' must be finite and >= 0"),
        (lambda: SynapticEnergy(fan_out={"a": math.inf}), "fan_out 'a' must be finite"),
        (lambda: SynapticEnergy(fan_out={}, width=0.0), "'width' must be positive"),
        (lambda: ActionEnergy(form="both"), "form must be 'sum' or 'lagrangian'"),
    ],
)
def test_parameters_out_of_range_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("energy", [UnitEnergy(cost={"x": 1.0}), SynapticEnergy(fan_out={})])
def test_a_layer_without_a_cost_is_an_error_that_names_it(energy):
    with pytest.raises(InputError, match="no cost is known for layer 'a'"):
        energy(trajectory(activations(0)))
