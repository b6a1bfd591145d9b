from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from minaction.data.dataset import DataSpec
from minaction.errors import ModelError
from minaction.models.build import build_model
from minaction.models.catalog import MODELS
from minaction.models.init import initialise, initialise_before_relus

PYTORCH, HE = "pytorch", "he"
OWN = {
    "mlp": PYTORCH, "cnn": PYTORCH, "gru": PYTORCH, "tcn": HE, "transformer": None,
    "dual-pathway": HE, "lagrangian": HE, "lif-mlp": HE, "lif-cnn": HE,
}  # fmt: skip
SPECS = [DataSpec.of_source(name) for name in ("digits", "myo-readings", "docstrings", "n-mnist")]
INDIFFERENT = {("gru", spec.name) for spec in SPECS} | {("lagrangian", "docstrings")}
"""No layer that a ReLU follows, the terms of the potential aside."""


def weights(model, spec, init):
    return build_model(model, spec, parameters=100_000, seed=3, init=init).state_dict()


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("layer", [nn.Linear(300, 400), nn.Conv1d(60, 400, 5)])
def test_he_keeps_the_size_of_what_passes_a_relu(layer):
    initialise(layer)
    fan_in = layer.weight[0].numel()
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.001)
    assert not layer.bias.any()


def test_pytorch_leaves_a_layer_as_it_is():
    layer = nn.Linear(30, 40)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    initialise(layer, "pytorch")
    assert equal(layer.state_dict(), before)
    assert before["weight"].std().item() == pytest.approx(1 / math.sqrt(3 * 30), rel=0.1)


def test_only_layers_that_a_relu_follows_change():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    before = [parameter.clone() for parameter in net.parameters()]
    initialise_before_relus(net, "he")
    same = [torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True)]
    assert same == [False, False, True, True, True, True]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_its_own_way_and_takes_both(model, spec):
    own, pytorch, he = (weights(model, spec, init) for init in (None, "pytorch", "he"))
    found = {PYTORCH: equal(own, pytorch), HE: equal(own, he)}
    if (model, spec.name) in INDIFFERENT:
        assert found == {PYTORCH: True, HE: True}
    else:
        assert found == {PYTORCH: OWN[model] == PYTORCH, HE: OWN[model] == HE}


def test_in_a_transformer_only_layers_before_a_relu_change():
    own, he = (weights("transformer", SPECS[0], init) for init in (None, "he"))
    changed = {key for key in own if not torch.equal(own[key], he[key])}
    # what is drawn later is drawn anew
    assert {"blocks.0.expand.weight"} <= changed
    assert all(not he[key].any() for key in he if key.endswith(("inward.bias", "expand.bias")))
    width = own["project.weight"].shape[0]
    spread = he["blocks.1.attention.inward.weight"].abs().max().item()
    assert spread <= math.sqrt(6 / (4 * width))  # still Xavier's
    assert he["blocks.1.expand.weight"].std().item() == pytest.approx(
        math.sqrt(2 / width), rel=0.05
    )


def test_an_unknown_way_is_refused():
    with pytest.raises(ModelError, match="init is 'xavier', expected one of pytorch, he"):
        build_model("mlp", SPECS[0], init="xavier")  # type: ignore[arg-type]
