"""The sketch is an orthonormal map, fixed by its seed and nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minaction.energy.sketch import sketch


def matrix(n: int, size: int, seed: int) -> torch.Tensor:
    return sketch(torch.eye(n, dtype=torch.float64), size, seed).T


@settings(max_examples=50, deadline=None)
@given(data=st.data(), n=st.integers(1, 80), seed=st.integers(0, 1000))
def test_rows_are_orthonormal(data, n, seed):
    size = data.draw(st.integers(1, n))
    s = matrix(n, size, seed)
    assert s.shape == (size, n)
    torch.testing.assert_close(s @ s.T, torch.eye(size, dtype=torch.float64))
    assert bool((s.count_nonzero(dim=0) == 1).all())


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 50), seed=st.integers(0, 100))
def test_a_square_sketch_is_a_signed_permutation(n, seed):
    s = matrix(n, n, seed)
    assert bool((s.abs().sum(0) == 1).all())
    assert bool((s.abs().sum(1) == 1).all())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100))
def test_never_lengthens(seed):
    value = torch.randn(8, 40, generator=torch.Generator().manual_seed(seed))
    assert bool((sketch(value, 7, seed).norm(dim=1) <= value.norm(dim=1) + 1e-5).all())


def test_depends_on_its_seed_alone_and_leaves_global_randomness_alone():
    value = torch.randn(3, 23, generator=torch.Generator().manual_seed(0))
    results = []
    for number in (1, 2):
        from minaction.energy import sketch as module

        module._drawn_deal.cache_clear()
        torch.manual_seed(number), np.random.seed(number), random.seed(number)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        results.append(sketch(value, 5, 11))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        assert random.getstate() == before[2]
    assert torch.equal(*results)
    assert not torch.equal(results[0], sketch(value, 5, 12))


def test_golden_values():
    """Fixed for good: a kinetic energy published today must be recomputable tomorrow."""
    s = matrix(5, 2, 0)
    third, half = 3**-0.5, 2**-0.5
    golden = [[0, -third, -third, -third, 0], [half, 0, 0, 0, half]]
    torch.testing.assert_close(s, torch.tensor(golden, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype(dtype):
    assert sketch(torch.ones(2, 6, dtype=dtype), 4, 0).dtype == dtype


def test_works_where_it_is_first_called_inside_a_transform():
    from minaction.energy import sketch as module

    module._drawn_deal.cache_clear()
    values = torch.randn(4, 3, 9)
    vmapped = torch.vmap(lambda v: sketch(v, 4, 99))(values)
    torch.testing.assert_close(vmapped, torch.stack([sketch(v, 4, 99) for v in values]))
