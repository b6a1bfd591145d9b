"""MACs of the networks of the catalogue: hand-derived ones, and those that torch executes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minaction.data.dataset import DataSpec
from minaction.measure.flops import count_macs
from minaction.models.build import build_model
from minaction.models.catalog import MODELS

CLASSES = 3
SHAPES = {
    "vector": (12,),
    "tokens": (10,),
    "sequence": (12, 5),
    "image": (1, 8, 8),
    "frames": (4, 2, 8, 8),
}


def spec_of(layout):
    return DataSpec(
        name=layout, modality="vision", shape=SHAPES[layout], classes=CLASSES,
        class_names=("a", "b", "c"), vocabulary=20 if layout == "tokens" else None,
    )  # fmt: skip


def sample_of(layout, batch=2):
    generator = torch.Generator().manual_seed(1)
    if layout == "tokens":
        return torch.randint(1, 20, (batch, *SHAPES[layout]), generator=generator)
    return torch.rand(batch, *SHAPES[layout], generator=generator)


def weights(model):
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


# Of an image of 8 x 8 pixels, by hand: (forward, forward of what needs no gradient of its input).
# Sizes come from the model's weights, the numbers of positions and steps from its definition.


def mlp(w):
    (one, inputs), (two, _) = w["net.1.weight"], w["net.3.weight"]
    return inputs * one + one * two + two * CLASSES, inputs * one


def cnn(w):
    first, second, hidden = (
        w[name][0] for name in ("features.0.weight", "features.3.weight", "classifier.1.weight")
    )
    conv1 = first * 9 * 64
    conv2 = second * first * 9 * 16
    return conv1 + conv2 + second * 4 * hidden + hidden * CLASSES, conv1


def gru(w):
    width, hidden, steps = w["project.weight"][0], w["recurrent.weight_hh_l0"][1], 8
    project = steps * 8 * width
    recurrent = steps * 3 * hidden * (width + hidden)
    # the first of the hidden states is given, and needs no gradient
    return project + recurrent + hidden * CLASSES, project + 3 * hidden * hidden


def tcn(w):
    width, hidden, steps = w["project.weight"][0], w["blocks.0.dilated.weight"][0], 8
    project = steps * 8 * width
    blocks = 3  # dilations 1, 2 and 4 see 15 steps, 1 and 2 only 7
    return project + blocks * steps * 4 * width * hidden + width * CLASSES, project


def transformer(w):
    width, hidden, steps = w["project.weight"][0], w["blocks.0.expand.weight"][0], 8
    project = steps * 8 * width
    attention = steps * 4 * width * width + 2 * steps * steps * width
    return project + 2 * (attention + 2 * steps * width * hidden) + width * CLASSES, project


def dual_pathway(w):
    first, second, hidden = (w[f"neurons.{i}.weight"][0] for i in range(3))
    glial, senses = w["glia.0.sensor.weight"]
    conv1 = first * 25 * 16
    neurons = conv1 + second * first * 9 * 4 + second * 4 * hidden + hidden * CLASSES
    glia = glial * (senses + first + second) + glial * (first + second + hidden)
    return neurons + glia, conv1 + glial * senses


def lagrangian(w):
    first, second = w["senses.0.weight"][0], w["senses.2.weight"][0]
    hidden, width = w["potential.weight"]
    conv1 = first * 25 * 16
    senses = conv1 + second * first * 9 * 4
    start, steps = second * 4 * 2 * width, 3
    return senses + start + steps * 2 * width * hidden + 2 * width * CLASSES, conv1


def lif_mlp(w):
    (one, inputs), (two, _) = w["inward.weight"], w["between.weight"]
    # an image is a constant current: read once, then 4 steps of spikes
    return inputs * one + 4 * one * two + two * CLASSES, inputs * one


def lif_cnn(w):
    first, second, hidden = (w[f"{name}.weight"][0] for name in ("conv1", "conv2", "dense"))
    conv1 = first * 25 * 16
    spiking = 4 * (second * first * 9 * 4 + second * 4 * hidden)
    return conv1 + spiking + hidden * CLASSES, conv1


BY_HAND = {
    "mlp": mlp,
    "cnn": cnn,
    "gru": gru,
    "tcn": tcn,
    "transformer": transformer,
    "dual-pathway": dual_pathway,
    "lagrangian": lagrangian,
    "lif-mlp": lif_mlp,
    "lif-cnn": lif_cnn,
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_what_is_derived_by_hand(name):
    model = build_model(name, spec_of("image"), parameters=6000)
    count = count_macs(model, sample_of("image"))
    forward, without_gradient = BY_HAND[name](weights(model))
    assert count.macs_dense == count.macs_training_forward == forward
    assert count.macs_backward == 2 * forward - without_gradient
    assert count.macs_training == 3 * forward - without_gradient
    assert not count.uncounted
    assert count.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_equals_what_torch_executes_and_leaves_the_model_alone(name, layout):
    model, x = build_model(name, spec_of(layout), parameters=6000), sample_of(layout)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    count = count_macs(model, x)
    assert_as_it_was(model, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not count.uncounted
    assert 0 < count.macs_effective + count.acs_effective <= count.macs_dense
    assert (count.acs_effective > 0) == name.startswith("lif")
    assert count.weight_bytes >= 4 * sum(p.numel() for p in model.parameters() if p.ndim > 2)
    assert count.training_bytes > count.bytes_moved > 0
    if name == "transformer":  # torch's counter takes fused attention for 0
        return
    with FlopCounterMode(display=False) as executed:
        output = model(x)
        forward = executed.get_total_flops()
        output.sum().backward()
    assert 2 * len(x) * count.macs_training_forward == forward
    assert 2 * len(x) * count.macs_training == executed.get_total_flops()


def assert_as_it_was(model, before):
    assert model.training
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for one, other in zip(model.parameters(), before.parameters(), strict=True):
        assert one.grad is None
        assert torch.equal(one, other)
