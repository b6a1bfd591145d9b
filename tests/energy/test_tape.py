"""What the tape observes, how it names it, and that it leaves no trace."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minaction.energy.functionals import ActivationEnergy, KineticEnergy
from minaction.energy.tape import Tape
from minaction.errors import TapeError

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Module and functional nonlinearities, a shared module, a nested block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.act = nn.ReLU()
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = F.gelu(self.block(x))
        return self.last(self.act(x))


class HandWrittenGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


class Lambda(nn.Module):
    """A model of one function."""

    def __init__(self, function, *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def record(model: nn.Module, x=X, **options) -> Tape:
    with Tape(model, **options) as tape:
        model(x)
    return tape


def names(model: nn.Module, x=X, **options) -> list[str]:
    return list(record(model, x, **options).trajectory)


def snapshot(model: nn.Module) -> list[dict[str, object]]:
    """Every module's attributes, and those of their containers, as they are now."""
    return [
        {k: (type(v), list(v.items()) if isinstance(v, dict) else v) for k, v in vars(m).items()}
        for m in model.modules()
    ]


# ---- what is observed, and under which name


def test_modules_functions_and_shared_modules_are_observed_in_order():
    assert names(Net()) == ["act", "block.1", "gelu", "act#2"]


def test_values_are_the_activations_themselves():
    model, seen = mlp(), []
    for index in (1, 3):
        model[index].register_forward_hook(lambda _m, _a, output: seen.append(output))
    trajectory = record(model).trajectory
    assert [trajectory[name] is value for name, value in zip("13", seen, strict=True)] == [True] * 2
    assert [layer.index for layer in trajectory.layers] == [0, 1]
    assert len(trajectory) == 2
    with pytest.raises(KeyError):
        trajectory["2"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.relu, "relu"),
        (torch.relu, "relu"),
        (Tensor.relu, "relu"),
        (lambda h: F.relu(h, inplace=True), "relu"),
        (torch.relu_, "relu_"),
        (Tensor.relu_, "relu_"),
        (F.relu_, "relu_"),
        (F.gelu, "gelu"),
        (lambda h: F.gelu(h, approximate="tanh"), "gelu"),
        (F.silu, "silu"),
        (F.elu, "elu"),
        (F.elu_, "elu_"),
        (F.leaky_relu, "leaky_relu"),
        (F.hardtanh, "hardtanh"),
        (F.softplus, "softplus"),
        (F.logsigmoid, "log_sigmoid"),
        (torch.sigmoid, "sigmoid"),
        (Tensor.sigmoid, "sigmoid"),
        (F.sigmoid, "sigmoid"),
        (Tensor.tanh_, "tanh_"),
        (F.mish, "mish"),
        (F.hardswish, "hardswish"),
        (F.glu, "glu"),
        (lambda h: F.threshold(h, 0.1, 0.0), "threshold"),
    ],
)
def test_functional_forms_are_observed(function, name):
    model = Lambda(lambda x, a: function(a(x)).sum(1), nn.Linear(6, 4))
    trajectory = record(model).trajectory
    assert list(trajectory) == [name]
    torch.testing.assert_close(trajectory[name], function(model.parts[0](X)))


def _activation_modules() -> list[nn.Module]:
    pointwise = (
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish "
        "PReLU ReLU ReLU6 RReLU SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
    )
    return [getattr(nn, name)() for name in pointwise.split()] + [nn.Threshold(0.1, 0.0)]


@pytest.mark.parametrize("activation", _activation_modules(), ids=lambda m: type(m).__name__)
def test_every_activation_module_of_torch_is_observed_once(activation):
    model = nn.Sequential(nn.Linear(6, 4), activation, nn.Flatten(), nn.LazyLinear(2))
    assert names(model) == ["1"]


def test_a_hand_written_activation_is_observed_as_a_whole():
    model = nn.Sequential(nn.Linear(6, 4), HandWrittenGELU(), nn.Linear(4, 2))
    trajectory = record(model).trajectory
    assert list(trajectory) == ["1"]
    torch.testing.assert_close(trajectory["1"], model[1](model[0](X)))


def test_functions_without_a_module_around_them_are_observed():
    model = mlp()
    with Tape(model) as tape:
        torch.relu(model.forward(X))
    assert list(tape.trajectory) == ["1", "3", "relu"]


def test_calling_a_part_of_the_model_keeps_its_last_activation():
    model = nn.Sequential(mlp()[:2], nn.Linear(4, 2))
    with Tape(model) as tape:
        model[1](model[0](X))
    assert list(tape.trajectory) == ["0.1"]


def test_calls_add_up_in_one_block():
    model = mlp()
    with Tape(model) as tape:
        model(X)
        model(X)
    assert list(tape.trajectory) == ["1", "3", "1#2", "3#2"]


def test_a_learned_gate_is_no_activation():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.gate = nn.Linear(6, 2), nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.gate) * self.linear(x).relu()

    assert names(Gated()) == ["relu"]


# ---- the model's own output


@pytest.mark.parametrize(
    "output",
    [
        lambda x, a: torch.sigmoid(a(x)),
        lambda x, a: torch.sigmoid(a(x)).squeeze(-1),
        lambda x, a: torch.sigmoid(a(x).squeeze(-1)),
        lambda x, a: torch.sigmoid(a(x)).flatten().reshape(5, 1),
        lambda x, a: (torch.sigmoid(a(x)), x),
    ],
)
def test_the_output_is_not_observed(output):
    model = Lambda(lambda x, a, b: output(b(x).relu(), a), nn.Linear(6, 1), nn.Linear(6, 6))
    assert names(model) == ["relu"]


def test_the_output_of_a_module_is_not_observed_unless_asked_for():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid())
    assert names(model) == ["1"]
    assert names(model, observe_output=True) == ["1", "3"]
    assert names(model, layers=["3"]) == ["3"]


def test_a_linear_read_out_leaves_the_last_hidden_layer_alone():
    model = Lambda(lambda x, a, b: b(a(x).relu()).flatten(), nn.Linear(6, 4), nn.Linear(4, 1))
    assert names(model) == ["relu"]


# ---- recurrent networks and transformers


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_states_are_observed_batch_first(kind, batch_first):
    recurrent = kind(6, 4, num_layers=2, batch_first=batch_first, bidirectional=True)
    model = Lambda(lambda x, rnn, read: read(rnn(x)[0][:, -1]), recurrent, nn.Linear(8, 2))
    x = torch.randn(3, 7, 6)
    (layer,) = record(model, x if batch_first else x.transpose(0, 1)).trajectory.layers
    assert layer.name == f"parts.0.{'rnn_tanh' if kind is nn.RNN else kind.__name__.lower()}"
    assert layer.value.shape == (3, 7, 8)
    assert (layer.batch_size, layer.units) == (3, 8)
    expected = recurrent(x if batch_first else x.transpose(0, 1))[0]
    torch.testing.assert_close(layer.value, expected if batch_first else expected.transpose(0, 1))


def test_a_bare_recurrent_module_has_hidden_states():
    assert names(nn.LSTM(6, 4, batch_first=True), torch.randn(2, 3, 6)) == ["lstm"]


def test_packed_sequences_are_refused():
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    for kind in (nn.LSTM, nn.GRU):
        with pytest.raises(TapeError, match="packed sequence"):
            record(kind(6, 4), packed)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells_are_observed_at_every_step(kind):
    def unroll(x: Tensor, cell: nn.Module, read: nn.Module) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = cell(step, state)
        return read(state[0] if isinstance(state, tuple) else state)

    model = Lambda(unroll, kind(6, 4), nn.Linear(4, 2))
    trajectory = record(model, torch.randn(5, 3, 6)).trajectory
    function = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "RNNCell": "rnn_tanh_cell"}
    name = f"parts.0.{function[kind.__name__]}"
    assert list(trajectory) == [name, f"{name}#2", f"{name}#3"]
    assert [v.shape for v in trajectory.values()] == [(5, 4)] * 3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_transformer_layers_are_observed_also_where_torch_has_a_fast_path(training, grad):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Linear(8, 2)).train(training)
    x = torch.randn(3, 5, 8)
    with torch.set_grad_enabled(grad):
        with Tape(model) as tape:
            observed = model(x)
        plain = model(x)
    assert list(tape.trajectory) == ["0.layers.0.relu", "0.layers.1.relu"]
    assert [a.shape for a in tape.trajectory.values()] == [(3, 5, 16)] * 2
    torch.testing.assert_close(observed, plain)


def test_attention_weights_are_weights():
    model = Lambda(lambda x, a: a(x, x, x)[0], nn.MultiheadAttention(8, 2, batch_first=True))
    weights = record(model, torch.randn(3, 5, 8)).trajectory.weights
    assert list(weights) == ["parts.0.in_proj_weight", "parts.0.out_proj.weight"]


# ---- units and weights


def test_units_are_channels_after_a_convolution_and_features_after_a_linear_layer():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(2), nn.Linear(36, 5), nn.ReLU(),
        nn.Conv1d(4, 7, 1), nn.ReLU(), nn.Flatten(), nn.Linear(35, 2),
    )  # fmt: skip
    assert [layer.units for layer in record(model, IMAGE).trajectory.layers] == [4, 5, 7]


def test_a_channel_gate_does_not_turn_channels_into_positions():
    def squeeze_and_excite(x: Tensor, conv: nn.Module, gate: nn.Module) -> Tensor:
        x = conv(x)
        return (x * gate(x.mean((2, 3))).sigmoid()[:, :, None, None]).relu().sum((1, 2, 3))

    model = Lambda(squeeze_and_excite, nn.Conv2d(3, 4, 3), nn.Linear(4, 4))
    assert [layer.units for layer in record(model, IMAGE).trajectory.layers] == [4, 4]


def test_weights_are_named_by_parameter_and_kept_once():
    model = Net()
    weights = record(model).trajectory.weights
    assert list(weights) == ["first.weight", "block.0.weight", "last.weight"]
    assert weights["first.weight"] is model.first.weight

    twice = Lambda(lambda x, a: a(a(x).relu()), nn.Linear(6, 6))
    assert list(record(twice).trajectory.weights) == ["parts.0.weight"]


def test_functional_weights_are_named_by_function():
    weight = torch.randn(4, 6)
    model = Lambda(lambda x: F.linear(F.linear(x, weight).relu(), weight.T))
    assert list(record(model).trajectory.weights) == ["linear.weight", "linear.weight#2"]


def test_recurrent_weights_are_named():
    weights = record(nn.GRU(6, 4), torch.randn(2, 3, 6)).trajectory.weights
    assert list(weights) == ["weight_ih_l0", "weight_hh_l0"]


# ---- choosing layers


def test_layers_by_name():
    assert names(mlp(), layers=["0", "3"]) == ["0", "3"]
    assert names(Net(), layers=["block", "gelu"]) == ["block", "gelu"]
    assert names(Net(), layers=["act"]) == ["act", "act#2"]


def test_layers_by_type():
    assert names(mlp(), layers=[nn.Linear]) == ["0", "2", "4"]
    assert names(Net(), layers=[nn.Tanh, "last"]) == ["block.1", "last"]


def test_a_layer_and_a_weight_of_the_same_module_do_not_share_a_name():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x)

    tape = record(Plain(), layers=["linear"])
    assert list(tape.trajectory) == ["linear"]
    assert list(tape.trajectory.weights) == ["linear.weight"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["blok.1"], "layer 'blok.1' did not run in the forward pass; did you mean 'block.1'"),
        (["block.1", "act", "nothing-like-it"], "'nothing-like-it' did not run.*; known: act,"),
        ([nn.Conv2d], "no Conv2d ran"),
        ("act", "must be a list"),
        (nn.ReLU, "must be a list"),
        ([], "empty"),
        ([3], "expected a name or a module type, got 3"),
        ([int], "expected a name or a module type"),
    ],
)
def test_a_wrong_selection_is_an_error_that_says_what_to_do(layers, message):
    with pytest.raises(TapeError, match=message):
        record(Net(), layers=layers)


# ---- in-place operations


def test_in_place_relu():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    trajectory = record(model).trajectory
    torch.testing.assert_close(trajectory["1"], model[0](X).relu())
    ActivationEnergy()(trajectory).backward()
    assert model[0].weight.grad is not None


def test_an_activation_overwritten_later_is_an_error_that_a_copy_heals():
    def overwrite(x: Tensor, a: nn.Module) -> Tensor:
        h = F.gelu(a(x))
        return h.add_(1).sum(1)

    model = Lambda(overwrite, nn.Linear(6, 4))
    with pytest.raises(TapeError, match=r"'gelu' was overwritten in place.*clone=True"):
        record(model)
    healed = record(model, clone=True).trajectory
    torch.testing.assert_close(healed["gelu"], F.gelu(model.parts[0](X)))


def test_inference_mode_works():
    model = mlp()
    with torch.inference_mode():
        trajectory = record(model).trajectory
        energies = ActivationEnergy()(trajectory), KineticEnergy()(trajectory)
    plain = record(model).trajectory
    torch.testing.assert_close(energies[0], ActivationEnergy()(plain).detach().clone())
    KineticEnergy()(plain).backward()  # what inference mode cached must not spoil training
    torch.testing.assert_close(energies[1], KineticEnergy()(plain).detach().clone())


@pytest.mark.parametrize("function", [F.relu, F.gelu])
def test_activations_without_a_batch_axis_are_refused(function):
    model = Lambda(lambda x, a, b: b(function(a(x))), nn.Linear(6, 4), nn.Linear(4, 2))
    with pytest.raises(TapeError, match="has one axis"):
        record(model, X[0])


# ---- no trace


@pytest.mark.parametrize("layers", [None, ["1"], [nn.Linear]])
def test_nothing_is_left_on_the_model(layers):
    model = mlp()
    model[1].register_forward_hook(lambda _m, _a, _o: None)
    before = snapshot(model)
    record(model, layers=layers)
    assert snapshot(model) == before


class Failing(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.linear, self.error = nn.Linear(6, 6), error

    def forward(self, x: Tensor) -> Tensor:
        F.relu(self.linear(x))
        raise self.error


@pytest.mark.parametrize("error", [ValueError("inside"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_exception_in_the_forward_pass(error):
    model = nn.Sequential(mlp()[:2], Failing(error))
    model[1].linear = nn.Linear(4, 4)
    before = snapshot(model)
    with pytest.raises(type(error)), Tape(model):
        model(X)
    assert snapshot(model) == before
    assert torch.overrides._len_torch_function_stack() == 0


def test_nothing_is_left_after_an_exception_in_the_block():
    model = mlp()
    before = snapshot(model)
    with pytest.raises(ZeroDivisionError), Tape(model):
        _ = 1 / 0
    assert snapshot(model) == before
    assert torch.overrides._len_torch_function_stack() == 0


def test_names_stay_right_after_an_exception_the_model_catches():
    def forgiving(x: Tensor, failing: nn.Module, a: nn.Module, act: nn.Module) -> Tensor:
        try:
            x = failing(x)
        except ValueError:
            x = act(a(x))
        return F.gelu(x).sum(1)

    model = Lambda(forgiving, Failing(ValueError()), nn.Linear(6, 4), nn.ReLU())
    before = snapshot(model)
    assert names(model) == ["parts.0.relu", "parts.2", "gelu"]
    assert snapshot(model) == before


def test_an_exception_in_a_hook_of_the_user_keeps_names_right():
    def fail(_module: nn.Module, _args: object) -> None:
        raise ValueError

    def forgiving(x: Tensor, a: nn.Module, act: nn.Module) -> Tensor:
        try:
            a(x)
        except ValueError:
            x = act(x)
        return x.sum(1)

    model = Lambda(forgiving, nn.Linear(6, 4), nn.ReLU())
    model.parts[0].register_forward_pre_hook(fail)
    assert names(model) == ["parts.1"]


# ---- the tape as an object


def test_a_tape_can_be_used_again():
    model, tape = mlp(), None
    tape = Tape(model)
    for scale in (1.0, 2.0):
        with tape:
            model(scale * X)
        assert list(tape.trajectory) == ["1", "3"]
        torch.testing.assert_close(tape.trajectory["1"], model[:2](scale * X))


def test_a_tape_cannot_be_opened_twice_at_once():
    model = mlp()
    tape = Tape(model)
    before = snapshot(model)
    with tape, pytest.raises(TapeError, match="recording already"), tape:
        pass
    assert snapshot(model) == before
    assert torch.overrides._len_torch_function_stack() == 0


def test_tapes_nest():
    model = mlp()
    with Tape(model) as outer:
        model(X)
        with Tape(model, [nn.Linear]) as inner:
            model(X)
        model(X)
    assert list(inner.trajectory) == ["0", "2", "4"]
    assert list(outer.trajectory) == ["1", "3", "1#2", "3#2", "1#3", "3#3"]


def test_the_trajectory_can_be_read_while_recording():
    model = mlp()
    with Tape(model) as tape:
        assert len(tape.trajectory) == 0
        model(X)
        assert len(tape.trajectory) == 2


def test_reduce_keeps_only_results():
    model = mlp()
    tape = record(model, reduce=ActivationEnergy().term)
    assert len(tape.trajectory) == 0
    expected = ActivationEnergy().per_layer(record(model).trajectory)
    assert list(tape.reduced) == ["1", "3"]
    torch.testing.assert_close(tape.reduced, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_tapes_and_trajectories_copy_detached(copied):
    model = mlp()
    for tape in (record(model), record(model, reduce=ActivationEnergy().term), Tape(model)):
        twin = copied(tape)
        assert list(twin.trajectory) == list(tape.trajectory)
        torch.testing.assert_close(dict(twin.trajectory), dict(tape.trajectory))
        torch.testing.assert_close(twin.reduced, tape.reduced)
        assert not any(value.requires_grad for value in twin.trajectory.values())
        with twin:
            twin.model(X)
    trajectory = record(model).trajectory
    twin = copied(trajectory)
    torch.testing.assert_close(dict(twin), {k: v.detach() for k, v in trajectory.items()})
    torch.testing.assert_close(
        dict(twin.weights), {k: w.detach() for k, w in trajectory.weights.items()}
    )
    assert list(twin.layers[0].__dict__) == list(trajectory.layers[0].__dict__)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused():
    model = nn.Sequential(torch.jit.trace(mlp(), X), nn.Linear(2, 2))
    with pytest.raises(TapeError, match="module '0' is TorchScript"):
        record(model)


def test_what_runs_without_gradients_can_be_left_out():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    with Tape(model, skip_no_grad=True) as tape:
        logits = model(x)
        with torch.no_grad():
            model(x)
            logits[:, 0].sigmoid()  # one axis, as metrics have it
    assert list(tape.trajectory) == ["1"]
    assert list(tape.trajectory.weights) == ["0.weight", "2.weight"]
    with Tape(model) as tape:
        model(x)
        with torch.no_grad():
            model(x)
    assert list(tape.trajectory) == ["1", "1#2"]
