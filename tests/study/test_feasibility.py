"""Which studies are refused before their first run."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from minaction.data.load import load_dataset
from minaction.errors import InputError
from minaction.study.cells import Cell
from minaction.study.feasibility import require_feasible

MLP = Cell(
    dataset="digits", model="mlp", energy="activation", batch_size=32, parameters=5000,
    epochs=10, lr=1e-3,
)  # fmt: skip
CNN = replace(MLP, model="cnn")


@pytest.fixture(scope="module")
def load():
    return functools.cache(load_dataset)


def test_what_can_be_run_is_let_through(load):
    require_feasible([MLP, CNN, replace(MLP, batch_size=len(load("digits").train))], load)


def test_a_budget_that_a_model_cannot_meet_is_refused(load):
    cells = [MLP, replace(MLP, parameters=10), replace(MLP, parameters=10, energy="l1")]
    with pytest.raises(InputError, match=r"^mlp on digits: cannot meet .* change `parameters`$"):
        require_feasible(cells, load)


def test_a_batch_larger_than_the_training_split_is_refused_and_the_rest_counted(load):
    size = len(load("digits").train) + 1
    cells = [replace(MLP, batch_size=size), replace(CNN, batch_size=size, parameters=3), CNN]
    with pytest.raises(InputError, match=rf"^digits: batch_size is {size}, .* \(and 1 more probl"):
        require_feasible(cells, load)


def test_proportions_at_which_a_model_cannot_be_built_are_refused(load):
    cells = [MLP, replace(MLP, ratio="4"), replace(MLP, ratio="4", parameters=300)]
    with pytest.raises(InputError, match=r"^mlp on digits: cannot meet the budget of 300"):
        require_feasible(cells, load)
