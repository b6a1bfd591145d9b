import copy

import pytest
import torch
from torch import nn

from minaction.energy.pitfalls import find_pitfalls

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def found(model, layers=None):
    return [(pitfall.layer, pitfall.kind) for pitfall in find_pitfalls(model, X, layers)]


def test_what_only_a_batch_norm_reads_is_mere_rescaling():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    assert found(model) == [("1", "rescaling")]


def test_the_usual_order_is_fine():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()
    )
    assert found(model) == []


def test_a_layer_that_is_also_read_elsewhere_is_fine():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.other = (
                nn.Conv2d(3, 4, 3),
                nn.BatchNorm2d(4),
                nn.Conv2d(4, 4, 1),
            )

        def forward(self, x):
            x = torch.relu(self.conv(x))
            return self.norm(x) + self.other(x)

    assert found(Forked()) == []


def test_before_the_norm_energy_is_mere_rescaling_and_after_an_affine_free_one_constant():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Conv2d(4, 2, 1)
    )
    assert found(model, layers=["0"]) == [("0", "rescaling")]
    assert found(model, layers=["1"]) == [("1", "constant")]
    affine = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert found(affine, layers=["1"]) == []


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(6, elementwise_affine=False), nn.GroupNorm(2, 4, affine=False)]
)
def test_other_normalisations_without_weights_are_constant_too(norm):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert found(model, layers=["1"]) == [("1", "constant")]


def test_the_message_names_the_layer():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    (pitfall,) = find_pitfalls(model, X)
    assert pitfall.message.startswith("the energy of '1' can fall by mere rescaling")
    assert "\n" not in pitfall.message


def test_the_model_is_not_changed():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = copy.deepcopy(model.state_dict())
    find_pitfalls(model, X)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
