"""A budget on the task loss of a real network on real data."""

from __future__ import annotations

import pytest
from torch.nn import functional as F

from minaction.data.fetch import status
from minaction.data.load import load_dataset
from minaction.energy.functionals import ActivationEnergy
from minaction.models.build import build_model
from minaction.objective.budget import Budget
from minaction.objective.objective import EnergyObjective
from minaction.train.loop import TrainConfig, train


@pytest.mark.slow
@pytest.mark.skipif(not status("mnist").available, reason="MNIST is not on this machine")
@pytest.mark.parametrize("limit", [0.08, 0.15])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_training_loss_comes_to_the_budget_and_stays_within_it(limit, seed):
    """On the task alone the loss of the eighth epoch is below 0.04."""
    dataset = load_dataset("mnist")
    budget = Budget(limit, warmup=len(dataset.train) // 128)
    objective = EnergyObjective(F.cross_entropy, ActivationEnergy(), budget)
    model = build_model("mlp", dataset.spec, parameters=100_000, seed=seed)
    history = train(model, dataset, objective, TrainConfig(epochs=8, seed=seed)).history
    assert 0.9 * limit < history[-1]["train_loss"] < 1.03 * limit
    assert history[-1]["train_energy"] < 0.1 * history[0]["train_energy"]
