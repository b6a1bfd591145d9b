from __future__ import annotations

import pytest
import torch
from torch import nn

from minaction.models.sizing import MAX_WIDTH, count_parameters, fit_width, size_of


def line(width):
    return nn.Linear(3, width, bias=False)


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 20


def test_size_takes_no_memory():
    assert size_of(lambda: nn.Linear(10**7, 10**7, bias=False)) == 10**14


def test_size_takes_no_random_numbers():
    before = torch.get_rng_state()
    size_of(lambda: nn.Linear(10, 10))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("budget", range(1, 60))
def test_closest_of_all_widths(budget):
    best = min(abs(3 * width - budget) for width in range(1, 100))
    assert abs(3 * fit_width(line, budget) - budget) == best


@pytest.mark.parametrize(("budget", "width"), [(-1, 1), (0, 1), (10**9, MAX_WIDTH)])
def test_ends_of_the_range(budget, width):
    assert fit_width(line, budget) == width
