"""Fewer MACs than removing what does nothing gives: what goes, in which order, and how far."""

from __future__ import annotations

import pytest
import torch
from small_networks import Concatenating, Residual, Separable, images, settle
from torch import nn

from minaction.compaction.batches import Batches
from minaction.compaction.compact import compact
from minaction.compaction.coupling import find_couplings
from minaction.compaction.pricing import MacBudget
from minaction.compaction.readings import measure
from minaction.compaction.sensitivity import output_changes
from minaction.errors import CompactionError, InputError
from minaction.measure.flops import count_macs
from minaction.models.conventional import CNN, MLP


def settled_cnn():
    return CNN((1, 8, 8), (6, 8), 9, 3).eval()


def changes_of(model, x):
    couplings, _ = find_couplings(model, x)
    batches = Batches(x, len(x), "the calibration set")
    names = {name for coupling in couplings for name in coupling.readers}
    readings, _ = measure(model, names, batches)
    return output_changes(model, couplings, readings, batches)


def removed(compaction):
    return {(unit.layer, unit.unit) for unit in compaction.removed}


@pytest.mark.parametrize("network", [Residual, Concatenating, Separable])
@pytest.mark.parametrize("share", [0.7, 0.35])
def test_no_more_than_the_share_is_left(network, share):
    model, x = settle(network()), images(samples=60)
    compaction = compact(model, x, macs=share)
    assert compaction.macs_after <= share * compaction.macs_before
    assert count_macs(compaction.model, x, training=False).macs_dense == compaction.macs_after
    assert all(after >= 1 for _, after in compaction.units.values())
    assert {unit.kind for unit in compaction.approximate} == {"least"}
    with torch.no_grad():
        assert compaction.model(x).shape == model(x).shape


def test_no_more_goes_than_has_to():
    model, x = settled_cnn(), images(channels=1, samples=60)
    compaction = compact(model, x, macs=0.5)
    dearest = 64 * 9 * (1 + 8) + 16 * 9 * 6 + 4 * 9  # MACs of a unit of any layer, at most
    assert 0.5 * compaction.macs_before - compaction.macs_after < dearest


def test_what_the_budget_takes_off_is_what_the_removal_saves():
    model, x = settled_cnn(), images(channels=1, samples=60)
    couplings = sorted(find_couplings(model, x)[0], key=lambda coupling: coupling.units)
    budget = MacBudget(model, x)
    before, prices = budget.left, [budget.prices(coupling) for coupling in couplings]
    assert [len(price) for price in prices] == [6, 8, 9]
    assert prices[0].tolist() == pytest.approx([64 * 9 + 16 * 9 * 8] * 6)
    assert prices[1].tolist() == pytest.approx([16 * 9 * 6 + 4 * 9] * 8)
    assert prices[2].tolist() == pytest.approx([4 * 8 + 3] * 9)
    for unit in (0, 3, 5):
        budget.remove(couplings[0], unit)
    budget.remove(couplings[1], 2)
    smaller = CNN((1, 8, 8), (3, 7), 9, 3).eval()
    assert before == count_macs(model, x, training=False).macs_dense
    assert budget.left == pytest.approx(count_macs(smaller, x, training=False).macs_dense)


def test_the_change_of_the_outputs_is_exact_where_they_are_linear():
    """The last hidden layer's: |w_j|^2 var(a_j), over the mean square of the outputs."""
    model, x = MLP(4, (5,), 3).eval(), torch.rand(20_000, 4)
    with torch.no_grad():
        hidden, outputs = model.net[:3](x), model(x)
        expected = hidden.var(0, correction=0) * model.net[3].weight.square().sum(0)
        expected = expected / outputs.square().mean()
    [found] = changes_of(model, x).values()
    # the projection's noise: two squares of a normal variable per mean, over 20,000 samples
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=1e-6)


def test_a_unit_counts_for_what_reaches_the_outputs():
    """Not for what the next layer makes of it: here most of all, and of no account later."""
    model = MLP(4, (6, 6), 3).eval()
    with torch.no_grad():
        model.net[1].bias += 1
        model.net[3].bias += 1
        model.net[3].weight[:, 2] = 0
        model.net[3].weight[5, 2] = 30.0
        model.net[5].weight[:, 5] *= 1e-6
    x = torch.rand(300, 4)
    first = changes_of(model, x)["net.1"]
    assert first.argmin() == 2
    two = 1 - 15 / MacBudget(model, x).left  # of 10 and 9 MACs
    assert removed(compact(model, x, macs=two)) == {("net.1", 2), ("net.3", 5)}


def test_both_branches_of_a_residual_sum_count_as_one_unit():
    model, x = settle(Residual()), images(samples=60)
    compaction = compact(model, x, macs=0.4)
    assert compaction.units["stem"] == compaction.units["conv2"]
    assert [u.unit for u in compaction.removed if u.layer == "stem"] == [
        u.unit for u in compaction.removed if u.layer == "conv2"
    ]


def test_the_same_data_give_the_same_network():
    model, x = settled_cnn(), images(channels=1, samples=60)
    torch.manual_seed(1)
    one = compact(model, x, macs=0.4)
    torch.manual_seed(2)
    assert compact(model, x, macs=0.4).removed == one.removed


def test_frozen_weights_and_batches_make_no_difference():
    model, x = settled_cnn(), images(channels=1, samples=60)
    expected = compact(model, x, macs=0.4)
    model.requires_grad_(False)
    found = compact(model, [x], macs=0.4)
    assert found.removed == expected.removed
    assert not any(parameter.requires_grad for parameter in found.model.parameters())


def test_steps_of_a_sample_are_taken_together():
    """A layer that is run once per step, or on all steps at once, reads the same units."""

    class Steps(nn.Module):
        def __init__(self, fold):
            super().__init__()
            self.fold, self.net = fold, nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))

        def forward(self, x):
            if self.fold:
                return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).sum(1)
            return torch.stack([self.net(step) for step in x.unbind(1)]).sum(0)

    each, together = Steps(fold=False).eval(), Steps(fold=True).eval()
    together.load_state_dict(each.state_dict())
    x = torch.rand(50, 6, 4)
    one, other = changes_of(each, x)["net.0"], changes_of(together, x)["net.0"]
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("macs", [0, -0.1, 1.1, float("nan"), True])
def test_a_share_out_of_range(macs):
    with pytest.raises(InputError, match=r"macs is .*expected a share above 0 and up to 1"):
        compact(settled_cnn(), images(channels=1), macs=macs)


def test_fewer_macs_than_the_least_network_has():
    model, x = settled_cnn(), images(channels=1, samples=60)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CompactionError, match="with one unit in each layer that can lose some"):
        compact(model, x, macs=1e-3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_units_that_no_gradient_reaches_stay():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            with torch.no_grad():
                hidden = self.inner(x).relu() + 1
            return self.outer(hidden)

    with pytest.raises(CompactionError, match="cannot be brought from 56 to 28 MACs"):
        compact(Fixed().eval(), torch.rand(40, 4), macs=0.5)


def test_layers_that_cannot_be_followed_leave_what_they_cost():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    model, x = Attending().eval(), torch.rand(40, 5, 8)
    with pytest.raises(CompactionError, match="cannot be brought"):
        compact(model, x, macs=0.2)
    assert compact(model, x, macs=0.97).units["head.0"][1] < 8
