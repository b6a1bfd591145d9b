"""What compaction must not touch, and what it must refuse: one clear line, nothing changed."""

from __future__ import annotations

import pytest
import torch
from small_networks import images
from torch import nn
from torch.nn import functional as F

import minaction as ma
from minaction.compaction.compact import compact
from minaction.data.dataset import DataSpec
from minaction.errors import CompactionError, InputError
from minaction.models.build import build_model
from minaction.models.conventional import CNN, MLP

SILENCE = -1e4


class Mixing(nn.Module):
    """Two linear layers with a function between them that computes across features."""

    def __init__(self, mix, inner=6):
        super().__init__()
        self.mix = mix
        self.first, self.second = nn.Linear(4, inner), nn.Linear(inner, 3)

    def forward(self, x):
        return self.second(self.mix(F.relu(self.first(x))))


def silenced(model, units=(1, 4)):
    with torch.no_grad():
        model.first.bias[list(units)] = SILENCE
    return model.eval()


@pytest.mark.parametrize(
    "mix",
    [
        lambda h: F.layer_norm(h, h.shape[1:]),
        lambda h: h.softmax(1),
        lambda h: h - h.mean(1, keepdim=True),
        lambda h: h * h.shape[1],
        lambda h: h.view(-1, 2, 3).flip(2).flatten(1),
    ],
    ids=["layer norm", "softmax", "mean", "width", "view"],
)
def test_units_whose_layer_is_mixed_stay(mix):
    model, x = silenced(Mixing(mix)), torch.rand(30, 4)
    compaction = compact(model, x)
    with torch.no_grad():
        torch.testing.assert_close(compaction.model(x), model(x))
    assert compaction.removed == ()
    assert compaction.units["first"] == (6, 6)
    assert list(compaction.not_covered) == ["first"] or compaction.kept == ()


@pytest.mark.parametrize(
    "mix", [lambda h: F.normalize(h, dim=1), F.gelu, lambda h: h * 2 + h], ids=["norm", "gelu", "+"]
)
def test_units_go_where_the_function_between_does_not_mind(mix):
    model, x = silenced(Mixing(mix)), torch.rand(30, 4)
    compaction = compact(model, x)
    assert compaction.units["first"][1] <= 4
    with torch.no_grad():
        torch.testing.assert_close(compaction.model(x), model(x))


def test_a_layer_that_cannot_be_followed_keeps_no_other_from_shrinking():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixed, self.plain = Mixing(lambda h: h * h.shape[1]), Mixing(lambda h: h)

        def forward(self, x):
            return self.mixed(x) + self.plain(x)

    model = Two()
    for part in (model.mixed, model.plain):
        silenced(part)
    model.eval()
    x = torch.rand(30, 4)
    compaction = compact(model, x)
    assert compaction.units["mixed.first"] == (6, 6)
    assert compaction.units["plain.first"][1] <= 4
    assert "output differs" in compaction.not_covered["mixed.first"]


def test_attention_keeps_its_heads():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out, self.head = nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            q, k, v = (
                part.unflatten(2, (2, 3)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2)
            )
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return self.head(F.relu(self.out(y)).mean(1))

    model = Attending().eval()
    with torch.no_grad():
        model.qkv.weight[14] = model.qkv.bias[14] = 0
        model.out.bias[3] = SILENCE
    x = torch.randn(20, 5, 6)
    compaction = compact(model, x)
    assert compaction.units["qkv"] == (18, 18)
    assert compaction.units["out"][1] < 6
    with torch.no_grad():
        torch.testing.assert_close(compaction.model(x), model(x))


def test_hidden_features_that_are_returned_stay():
    class Revealing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            hidden = F.relu(self.first(x))
            return self.second(hidden), hidden

    model, x = silenced(Revealing()), torch.rand(30, 4)
    assert compact(model, x).removed == ()


def test_a_layer_used_twice():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again = nn.Linear(4, 5), nn.Linear(5, 5)
            self.last = nn.Linear(5, 2)

        def forward(self, x):
            x = F.relu(self.first(x))
            for _ in range(2):
                x = F.relu(self.again(x))
            return self.last(x)

    model = Shared().eval()
    with torch.no_grad():
        model.again.bias[2] = model.first.bias[2] = SILENCE
    x = torch.rand(30, 4)
    compaction = compact(model, x)
    with torch.no_grad():
        torch.testing.assert_close(compaction.model(x), model(x))


def test_grouped_convolutions_and_recurrent_layers_are_listed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.grouped = nn.Conv2d(2, 4, 1, groups=2)
            self.head = nn.Linear(4, 3)
            self.memory = nn.LSTM(8, 4, batch_first=True)

        def forward(self, x):
            x = F.relu(self.grouped(x)).mean(3)
            states, _ = self.memory(x)
            return self.head(F.relu(states[:, -1]))

    found = compact(Net().eval(), images()).not_covered
    assert "grouped" in found["grouped"]
    assert "recurrent" in found["memory"]


# --- bad input


def mlp():
    return MLP(4, (6, 5), 3).eval()


def refuse(message, model, calibration, **options):
    before = None
    if isinstance(model, nn.Module) and not isinstance(model, torch.jit.ScriptModule):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CompactionError, match=message) as caught:
        compact(model, calibration, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    if before is not None:
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "nothing",
    [torch.zeros(0, 4), (), {}, [], iter([]), [torch.zeros(0, 4)]],
    ids=["tensor", "tuple", "mapping", "list", "iterator", "batches"],
)
def test_an_empty_calibration_set(nothing):
    refuse("the calibration set is empty; give at least two samples", mlp(), nothing)


def test_an_empty_held_out_set():
    refuse("the held-out set is empty", mlp(), torch.rand(9, 4), held_out=torch.zeros(0, 4))


def test_a_calibration_set_of_the_wrong_shape():
    refuse(r"does not run on the calibration set of shape \(30, 7\)", mlp(), torch.rand(30, 7))
    wrong = [torch.rand(30, 4), torch.rand(30, 7)]
    refuse(r"does not run on the calibration set of shape \(30, 7\)", mlp(), wrong)
    refuse("held-out set of shape", mlp(), torch.rand(30, 4), held_out=torch.rand(5, 3))


def test_a_calibration_set_that_is_none():
    refuse("the calibration set is of type int; give a tensor", mlp(), 3)


def test_weights_or_inputs_that_are_nan():
    model = mlp()
    with torch.no_grad():
        model.net[3].weight[0, 0] = float("nan")
    refuse("net.3.weight has NaN or infinite elements", model, torch.rand(30, 4))
    refuse("NaN or infinite", mlp(), torch.full((30, 4), float("nan")))


def test_a_model_in_training_mode():
    refuse(r"training mode.*call model.eval\(\)", mlp().train(), torch.rand(30, 4))
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 2)).eval()
    model[1].train()
    refuse("1 is in training mode", model, torch.rand(30, 4))


def test_a_collapsed_network():
    model = CNN((1, 8, 8), (3, 4), 5, 3).eval()
    with torch.no_grad():
        model.features[3].bias[:] = SILENCE
    refuse("collapsed: its output is the same for all", model, images(channels=1))


def test_a_single_sample_says_nothing():
    refuse("collapsed.*or give samples that differ", mlp(), torch.rand(1, 4))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_models_that_cannot_be_traced():
    refuse("TorchScript", torch.jit.trace(mlp(), torch.rand(2, 4)), torch.rand(30, 4))
    refuse("compiled; give the original", torch.compile(mlp()), torch.rand(30, 4))
    exported = torch.export.export(mlp(), (torch.rand(2, 4),)).module()
    refuse("exported program.*load_model", exported, torch.rand(2, 4))
    refuse("model is a list; give an nn.Module", [mlp()], torch.rand(30, 4))


def test_models_without_values():
    refuse(r"net\.1\.weight is on the meta device", mlp().to("meta"), torch.rand(30, 4))
    lazy = torch.nn.Sequential(torch.nn.LazyLinear(3), torch.nn.Linear(3, 2)).eval()
    with pytest.raises(CompactionError, match=r"^0\.weight is not initialised yet; run the model"):
        compact(lazy, torch.rand(30, 4))


def test_a_model_that_hides_its_graph():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x).detach().numpy()

    class Integers(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            with torch.no_grad():
                return self.net(x)

    refuse("cannot be traced", Integers().eval(), torch.rand(30, 4))
    refuse("cannot be traced", Hidden().eval(), torch.rand(30, 4))


def test_a_recurrent_network_whose_groups_cannot_be_followed():
    spec = DataSpec(
        name="random", modality="speech", shape=(8, 6), classes=3, class_names=tuple("abc")
    )
    model = build_model("gru", spec, parameters=2_000).eval()
    refuse("cannot be traced", model, torch.rand(30, 8, 6))


@pytest.mark.parametrize("tolerance", [-0.1, 1, float("nan"), True])
def test_a_tolerance_out_of_range(tolerance):
    with pytest.raises(InputError, match=r"tolerance is .*expected a number from 0"):
        compact(mlp(), torch.rand(30, 4), tolerance=tolerance)


def test_a_batch_size_out_of_range():
    with pytest.raises(InputError, match="batch_size is 0"):
        compact(mlp(), torch.rand(30, 4), batch_size=0)


def test_it_is_public():
    assert ma.compact is compact
