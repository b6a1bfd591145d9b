"""The callback in real Lightning trainings."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import minaction as ma
from minaction.errors import InputError, LambdaError, TapeError

pl = pytest.importorskip(
    "lightning.pytorch", reason="needs Lightning: pip install 'minaction[lightning]'"
)
from minaction.integrations.lightning import EnergyCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(48, 6, generator=GENERATOR), torch.arange(48) % 3
QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


class Net(pl.LightningModule):
    """A module as people write it; `answer` says what training_step returns."""

    def __init__(self, answer="tensor"):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        self.answer = answer

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        answers = {"tensor": loss, "dict": {"loss": loss, "more": 1}, "none": None, "no loss": {}}
        return answers[self.answer]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Lambdas(pl.Callback):
    """Notes what was logged after every optimiser step."""

    def __init__(self):
        self.logged = []

    def on_train_batch_end(self, trainer, *_):
        if "minaction/lam" in trainer.callback_metrics:
            self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})


def loader(batch=8):
    return DataLoader(TensorDataset(X, Y), batch_size=batch)


def fit(module, *callbacks, batch=8, ckpt_path=None, **settings):
    trainer = pl.Trainer(callbacks=list(callbacks), **{**QUIET, "max_epochs": 2, **settings})
    trainer.fit(module, loader(batch), ckpt_path=ckpt_path)
    return trainer


def by_hand(lam, batch=8, epochs=2, energy=None, autocast=False):
    """The same training with the objective in a loop of one's own."""
    module = Net()
    objective = ma.EnergyObjective(F.cross_entropy, energy or ma.ActivationEnergy(), lam=lam)
    optimizer = torch.optim.SGD(module.net.parameters(), lr=0.1)
    for _ in range(epochs):
        for x, y in loader(batch):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                terms = objective(module.net, x, y)
            terms.total.backward()
            optimizer.step()
    return module


def same(one, other, tolerance=None):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    if tolerance is None:
        return all(torch.equal(p, q) for p, q in pairs)
    return all(torch.allclose(p, q, rtol=tolerance, atol=tolerance) for p, q in pairs)


@pytest.mark.parametrize("answer", ["tensor", "dict"])
def test_it_trains_as_the_objective_does_in_a_loop_of_ones_own(answer):
    module, notes = Net(answer), Lambdas()
    fit(module, EnergyCallback(ma.ActivationEnergy(), lam=0.03), notes)
    assert same(module, by_hand(0.03))
    assert not same(module, by_hand(0.0))
    first = notes.logged[0]
    assert first["minaction/total"] == pytest.approx(
        first["minaction/task"] + 0.03 * first["minaction/energy"]
    )
    assert first["minaction/lam"] == pytest.approx(0.03)
    assert first["train_loss"] == first["minaction/task"]  # the module's own log is the task's
    hidden = F.relu(Net().net[0](X[:8])).detach()
    assert first["minaction/energy"] == pytest.approx(float(hidden.square().sum() / 8))
    assert first["minaction/zero_fraction"] == pytest.approx(float((hidden == 0).float().mean()))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lambda_0_gives_the_weights_of_a_training_without_it(precision):
    with_it, without, notes = Net(), Net(), Lambdas()
    fit(with_it, EnergyCallback(ma.ActivationEnergy(), lam=0), notes, precision=precision)
    fit(without, precision=precision)
    assert same(with_it, without)
    assert notes.logged[0]["minaction/energy"] > 0


def test_mixed_precision_trains_as_autocast_does():
    module = Net()
    fit(module, EnergyCallback(ma.L1Energy(), lam=0.03), precision="bf16-mixed")
    assert same(module, by_hand(0.03, energy=ma.L1Energy(), autocast=True), 1e-3)


@pytest.mark.parametrize("energy", [ma.ActivationEnergy(), ma.ActionEnergy()])
def test_accumulated_batches_are_one_large_batch_and_one_step_of_lambda(energy):
    accumulated, large = Net(), Net()
    ramp = ma.Schedule(0.1, warmup=1, ramp=2)
    callback, notes = EnergyCallback(energy, lam=copy.deepcopy(ramp)), Lambdas()
    fit(accumulated, callback, notes, batch=4, accumulate_grad_batches=4)
    fit(large, EnergyCallback(energy, lam=ramp), batch=16)
    assert same(accumulated, large, 1e-6)
    lambdas = [entry["minaction/lam"] for entry in notes.logged]
    assert sorted(set(lambdas)) == pytest.approx([0, 0.05, 0.1])


def test_all_is_logged_of_the_last_step_of_an_epoch_however_many_batches_it_has():
    notes, settings = Lambdas(), {"max_epochs": 1, "log_every_n_steps": 100}
    energy = EnergyCallback(ma.ActivationEnergy(), lam=0.03)
    fit(Net(), energy, notes, accumulate_grad_batches=4, **settings)  # of 6 batches
    (last,) = notes.logged
    assert 0 < last["minaction/zero_fraction"] < 1
    assert last["minaction/total"] == pytest.approx(
        last["minaction/task"] + 0.03 * last["minaction/energy"]
    )


def test_a_resumed_training_goes_on_along_the_same_trajectory(tmp_path):
    def budget():
        return ma.Budget(0.9, gain=0.3, initial=1e-3)

    whole, notes = Net(), Lambdas()
    fit(whole, EnergyCallback(ma.ActivationEnergy(), lam=budget()), notes, max_epochs=4)
    saving = pl.callbacks.ModelCheckpoint(tmp_path, filename="half")
    begun, first = Net(), Lambdas()
    callback = EnergyCallback(ma.ActivationEnergy(), lam=budget())
    fit(begun, callback, first, saving, max_epochs=2, enable_checkpointing=True)
    resumed, rest = Net(), Lambdas()
    callback = EnergyCallback(ma.ActivationEnergy(), lam=budget())
    fit(resumed, callback, rest, max_epochs=4, ckpt_path=tmp_path / "half.ckpt")
    assert same(resumed, whole)
    assert first.logged + rest.logged == notes.logged
    lambdas = {entry["minaction/lam"] for entry in notes.logged}
    assert len(lambdas) == len(notes.logged) == 24


def test_the_module_and_the_trainer_are_left_as_they_were():
    module, plain = Net(), Net()
    trainer = fit(module, EnergyCallback(ma.ActivationEnergy(), lam=0.1))
    fit(plain)
    assert vars(module).keys() == vars(plain).keys()
    assert "training_step" not in vars(trainer.strategy)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_failing_step_leaves_no_trace():
    class Broken(Net):
        def training_step(self, batch, batch_idx):
            self(batch[0])
            raise RuntimeError("broken")

    module = Broken()
    trainer = pl.Trainer(callbacks=[EnergyCallback(ma.ActivationEnergy())], **QUIET, max_epochs=1)
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(module, loader())
    assert "training_step" not in vars(trainer.strategy)
    assert not any(m._forward_hooks for m in module.modules())


def test_metrics_and_teachers_are_no_part_of_the_energy():
    class Watched(Net):
        def training_step(self, batch, batch_idx):
            x, y = batch
            logits = self(x)
            with torch.no_grad():
                self.net(x + 1)  # a teacher
                (logits[:, 0]).sigmoid()  # a metric, of one axis
            return F.cross_entropy(logits, y)

    module = Watched()
    fit(module, EnergyCallback(ma.ActivationEnergy(), lam=0.03))
    assert same(module, by_hand(0.03))


@pytest.mark.filterwarnings("ignore:.*script_method")
def test_a_compiled_module_runs_uncompiled_and_says_so():
    module = Net()
    module.net = torch.compile(module.net)
    with pytest.warns(UserWarning, match="runs uncompiled here, so that it can be observed"):
        fit(module, EnergyCallback(ma.ActivationEnergy(), lam=0.03))
    assert same(module, by_hand(0.03))
    whole = torch.compile(Net())
    with pytest.warns(UserWarning, match="runs uncompiled here, so that it can be observed"):
        fit(whole, EnergyCallback(ma.ActivationEnergy(), lam=0.03))
    assert same(whole._orig_mod, by_hand(0.03))


@pytest.mark.filterwarnings("ignore:.*returned `None`")
def test_a_step_without_a_loss_is_lightnings_affair():
    notes = Lambdas()
    skipping = Net("none")
    fit(skipping, EnergyCallback(ma.ActivationEnergy(), lam=0.1), notes)
    assert same(skipping, Net())
    assert notes.logged == []
    with pytest.raises(Exception, match="'loss' key needs to be present"):
        fit(Net("no loss"), EnergyCallback(ma.ActivationEnergy(), lam=0.1))


def test_what_cannot_work_is_refused_in_one_line():
    by_hand_optimised = Net()
    by_hand_optimised.automatic_optimization = False
    with pytest.raises(InputError, match=r"^Net optimises by hand.* use minaction.EnergyObjective"):
        fit(by_hand_optimised, EnergyCallback(ma.ActivationEnergy(), lam=0.1))
    linear = Net()
    linear.net = nn.Linear(6, 3)
    with pytest.raises(TapeError, match=r"no nonlinearity ran .*layers=\[...\]"):
        fit(linear, EnergyCallback(ma.ActivationEnergy(), lam=0.1))
    with pytest.raises(TapeError, match=r"layer 'net.2x' did not run"):
        fit(Net(), EnergyCallback(ma.ActivationEnergy(), lam=0.1, layers=["net.2x"]))
    with pytest.raises(InputError, match="energy must be one such as ActivationEnergy"):
        EnergyCallback(F.relu)
    with pytest.raises(LambdaError, match="give the Budget a single limit"):
        EnergyCallback(ma.ActivationEnergy(), lam=ma.Budget(torch.tensor([1.0, 2.0])))
    with pytest.raises(LambdaError, match="finite and >= 0"):
        EnergyCallback(ma.ActivationEnergy(), lam=-1)


def test_a_loss_without_gradient_is_still_an_error():
    class Detached(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx).detach()

    with pytest.raises(RuntimeError, match="does not require grad"):
        fit(Detached(), EnergyCallback(ma.ActivationEnergy(), lam=0.1))


def test_two_processes_train_as_one_with_one_lambda(tmp_path):
    script = Path(__file__).parent / "lightning_ddp.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, zero, other = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "0", "1"))
    assert zero["lambdas"] == other["lambdas"]
    assert zero["lambdas"] == pytest.approx(one["lambdas"])
    assert len(set(zero["lambdas"])) > 2
    for name, weight in one["weights"].items():
        assert torch.equal(zero["weights"][name], other["weights"][name])
        assert torch.allclose(zero["weights"][name], weight, atol=1e-6)


def test_without_lightning_the_line_that_installs_it_is_said():
    code = "import sys; sys.modules['lightning'] = None\nimport minaction.integrations.lightning"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: EnergyCallback needs Lightning (" in done.stderr
    assert "); install with: pip install 'minaction[lightning]'\n" in done.stderr
