"""An energy in real Hugging Face trainings of tiny models made from a configuration."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import minaction as ma
from minaction.errors import InputError, TapeError

transformers = pytest.importorskip(
    "transformers", reason="needs transformers: pip install 'minaction[transformers]'"
)
pytest.importorskip("accelerate", reason="needs accelerate: pip install 'minaction[transformers]'")
from minaction.integrations.transformers import add_energy, with_linear_layers  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory"),
    pytest.mark.filterwarnings("ignore:.*script_method"),
]
LENGTH, WORDS = 6, 20


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_act="relu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def gpt2(dropout=0.0):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=WORDS,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=LENGTH,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
    )
    return transformers.GPT2LMHeadModel(config)


class Texts(torch.utils.data.Dataset):
    """Token ids with a class, or with themselves as labels."""

    def __init__(self, samples=24, *, language=False):
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(0, WORDS, (samples, LENGTH), generator=generator)
        self.language = language

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        if not self.language:
            return {"input_ids": self.ids[index], "labels": int(self.ids[index, 0]) % 3}
        labels = self.ids[index].clone()
        labels[0] = -100  # predicted by nothing, hence not to be counted
        return {"input_ids": self.ids[index], "labels": labels}


def trainer_of(model, folder, *, kind=None, language=False, **settings):
    arguments = {
        "per_device_train_batch_size": 4,
        "max_steps": 6,
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "optim": "sgd",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "train_sampling_strategy": "sequential",
    }
    parts = {k: settings.pop(k) for k in ("compute_loss_func", "callbacks") if k in settings}
    return (kind or transformers.Trainer)(
        model=model,
        args=transformers.TrainingArguments(str(folder), **{**arguments, **settings}),
        train_dataset=Texts(language=language),
        **parts,
    )


def trained(model, folder, lam=None, energy=None, **settings):
    trainer = trainer_of(model, folder, **settings)
    if lam is not None:
        add_energy(trainer, energy or ma.ActivationEnergy(), lam=lam)
    trainer.train()
    return trainer


def logged(trainer):
    return [entry for entry in trainer.state.log_history if "minaction/lam" in entry]


def by_hand(model, lam, loss_of, *, batch=4, steps=6, language=False):
    """The same training with the objective in a loop of one's own."""
    data = Texts(language=language)
    objective = ma.EnergyObjective(loss_of, ma.ActivationEnergy(), lam=lam)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train()
    for step in range(steps):
        rows = [data[i % len(data)] for i in range(step * batch, (step + 1) * batch)]
        x = torch.stack([row["input_ids"] for row in rows])
        y = torch.stack([torch.as_tensor(row["labels"]) for row in rows])
        terms = objective(model, {"input_ids": x}, y)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    return model


def of_class(output, labels):
    return F.cross_entropy(output.logits, labels)


def of_next_token(output, labels):
    return F.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def own_loss(outputs, labels, num_items_in_batch=None):
    logits = outputs.logits
    return F.cross_entropy(logits, labels, reduction="sum") / num_items_in_batch


def same(one, other, tolerance=None):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    if tolerance is None:
        return all(torch.equal(p, q) for p, q in pairs)
    return all(torch.allclose(p, q, rtol=tolerance, atol=tolerance) for p, q in pairs)


LOSSES = {
    "by the model": (bert, of_class, {}),
    "by the model, of tokens": (gpt2, of_next_token, {"language": True}),
    "outside the model": (bert, of_class, {"compute_loss_func": own_loss}),
}


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_it_trains_as_the_objective_does_in_a_loop_of_ones_own(loss, batches, tmp_path):
    build, loss_of, settings = LOSSES[loss]
    language = settings.get("language", False)

    def loss_of_step(output, labels):
        # Trainer itself adds up the losses of models that take a count of items and ignore it
        return loss_of(output, labels) * (batches if loss == "by the model" else 1)

    trainer = trained(
        build(),
        tmp_path,
        lam=0.003,
        per_device_train_batch_size=4 // batches,
        gradient_accumulation_steps=batches,
        **settings,
    )
    assert same(trainer.model, by_hand(build(), 0.003, loss_of_step, language=language), 1e-6)
    assert not same(trainer.model, by_hand(build(), 0.0, loss_of_step, language=language), 1e-5)
    history = logged(trainer)
    assert len(history) == 6
    for entry in history:
        total = entry["minaction/task"] + 0.003 * entry["minaction/energy"]
        assert entry["loss"] == pytest.approx(total, rel=1e-3)
        assert entry["minaction/total"] == pytest.approx(total)
        assert 0 <= entry["minaction/zero_fraction"] < 1


@pytest.mark.parametrize("bf16", [False, True])
def test_lambda_0_gives_the_weights_of_a_training_without_it(bf16, tmp_path):
    settings = {"language": True, "bf16": bf16, "optim": "adamw_torch"}
    with_it = trained(gpt2(dropout=0.1), tmp_path, lam=0, **settings)
    without = trained(gpt2(dropout=0.1), tmp_path, **settings)
    assert same(with_it.model, without.model)
    assert logged(with_it)[0]["minaction/energy"] > 0
    assert not logged(without)


def test_mixed_precision_trains_with_the_energy(tmp_path):
    low = trained(gpt2(), tmp_path, lam=0.3, bf16=True, language=True)
    full = trained(gpt2(), tmp_path, lam=0.3, language=True)
    assert same(low.model, full.model, 5e-3)
    assert not same(low.model, trained(gpt2(), tmp_path, bf16=True, language=True).model, 5e-3)


@pytest.mark.parametrize("save", ["steps", pytest.param("epoch", marks=pytest.mark.slow)])
def test_a_resumed_training_goes_on_along_the_same_trajectory(save, tmp_path):
    def budget():
        return ma.Budget(1.0, gain=0.3, initial=1e-3)

    def stopping(steps):
        class Stop(transformers.TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = state.global_step >= steps

        return [Stop()]

    settings = {"save_strategy": save, "save_steps": 6, "max_steps": 12, "optim": "adamw_torch"}
    whole = trained(bert(), tmp_path / "whole", lam=budget(), **settings)
    begun = trained(bert(), tmp_path / "cut", lam=budget(), callbacks=stopping(6), **settings)
    resumed = trainer_of(bert(), tmp_path / "cut", **settings)
    add_energy(resumed, ma.ActivationEnergy(), lam=budget())
    resumed.train(resume_from_checkpoint=True)
    assert same(resumed.model, whole.model)
    assert not same(begun.model, whole.model)
    lambdas = [entry["minaction/lam"] for entry in logged(resumed)]
    assert lambdas == [entry["minaction/lam"] for entry in logged(whole)]
    assert len(set(lambdas)) == 12


def test_label_smoothing_and_a_loss_of_a_subclass_are_kept(tmp_path):
    class Weighted(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = 2 * F.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss

    smooth = trained(bert(), tmp_path, lam=0.003, label_smoothing_factor=0.2)

    def smoothed(output, labels):
        return F.cross_entropy(output.logits, labels, label_smoothing=0.2)

    assert same(smooth.model, by_hand(bert(), 0.003, smoothed), 1e-5)
    weighted = trained(bert(), tmp_path, lam=0.003, kind=Weighted)

    def doubled(output, labels):
        return 2 * of_class(output, labels)

    assert same(weighted.model, by_hand(bert(), 0.003, doubled), 1e-5)


def test_evaluation_is_of_the_task_alone(tmp_path):
    trainer = trained(bert(), tmp_path, lam=10.0, max_steps=1, learning_rate=1e-6)
    found = trainer.evaluate(Texts())["eval_loss"]
    plain = trainer_of(bert(), tmp_path).evaluate(Texts())["eval_loss"]
    assert found == pytest.approx(plain, rel=1e-3)


def test_a_second_training_starts_from_the_first_lambda(tmp_path):
    trainer = trained(bert(), tmp_path, lam=ma.Schedule(0.01, ramp=4))
    first = [entry["minaction/lam"] for entry in logged(trainer)]
    trainer.train()
    assert [entry["minaction/lam"] for entry in logged(trainer)] == first
    assert first[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])


def test_a_checkpoint_without_a_lambda_is_said(tmp_path):
    trained(bert(), tmp_path, save_strategy="steps", save_steps=3, max_steps=3)
    trainer = trainer_of(bert(), tmp_path, max_steps=4, save_strategy="steps", save_steps=4)
    add_energy(trainer, ma.ActivationEnergy(), lam=ma.Schedule(0.01, ramp=4))
    with pytest.warns(UserWarning, match="the checkpoint holds no lambda"):
        trainer.train(resume_from_checkpoint=True)
    assert logged(trainer)[-1]["minaction/lam"] == pytest.approx(0.0025)
    assert '"minaction"' in (tmp_path / "checkpoint-4" / "trainer_state.json").read_text()


def test_a_compiled_model_runs_uncompiled_and_says_so(tmp_path):
    with pytest.warns(UserWarning, match="runs uncompiled here, so that it can be observed"):
        trainer = trained(bert(), tmp_path, lam=0.003, torch_compile=True)
    assert same(trainer.model, by_hand(bert(), 0.003, of_class), 1e-5)


def test_what_cannot_work_is_refused_in_one_line(tmp_path):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 3)

        def forward(self, input_ids, labels):
            logits = self.embedding(input_ids).mean(1)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    trainer = trainer_of(bert(), tmp_path)
    with pytest.raises(InputError, match="energy must be one such as ActivationEnergy"):
        add_energy(trainer, 0.1)
    add_energy(trainer, ma.ActivationEnergy(), lam=0.1)
    with pytest.raises(InputError, match="this trainer has an energy; add energies up in one"):
        add_energy(trainer, ma.L1Energy(), lam=0.1)
    with pytest.raises(TapeError, match=r"no nonlinearity ran .*layers=\[...\]"):
        trained(Linear(), tmp_path, lam=0.1)
    trainer = trainer_of(bert(), tmp_path)
    trainer.args._n_gpu = 2
    with pytest.raises(InputError, match=r"nn.DataParallel runs a model in threads.*torchrun"):
        add_energy(trainer, ma.ActivationEnergy())


def test_layers_are_named_as_in_the_model(tmp_path):
    trainer = trainer_of(bert(), tmp_path, max_steps=1)
    model = copy.deepcopy(trainer.model).train()
    layer = "bert.encoder.layer.0.intermediate.intermediate_act_fn"
    add_energy(trainer, ma.ActivationEnergy(), lam=0.1, layers=[layer])
    trainer.train()
    rows = [Texts()[i] for i in range(4)]
    with ma.Tape(model, layers=[layer]) as tape:
        model(input_ids=torch.stack([row["input_ids"] for row in rows]))
    energy = float(ma.ActivationEnergy()(tape.trajectory).detach())
    assert logged(trainer)[0]["minaction/energy"] == pytest.approx(energy)


def budget_training(folder, processes=1):
    """Train with a budget, and return what came out."""
    batch = 4 // processes
    trainer = trainer_of(gpt2(), folder, per_device_train_batch_size=batch, language=True)
    lam = add_energy(trainer, ma.ActivationEnergy(), lam=ma.Budget(2.0, gain=0.3, initial=0.1))
    trainer.train()
    return {
        "lambdas": [entry["minaction/lam"] for entry in logged(trainer)],
        "lam": float(lam.value),
        "weights": trainer.model.state_dict(),
    }


@pytest.mark.slow
def test_two_processes_train_as_one_with_one_lambda(tmp_path):
    script = Path(__file__).parent / "transformers_ddp.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one = budget_training(tmp_path)
    zero, other = (torch.load(tmp_path / f"{name}.pt") for name in "01")
    assert zero["lambdas"] == pytest.approx(one["lambdas"], rel=1e-5)
    assert len(set(zero["lambdas"])) == 6
    assert zero["lam"] == other["lam"]
    for name, weight in one["weights"].items():
        assert torch.equal(zero["weights"][name], other["weights"][name])
        assert torch.allclose(zero["weights"][name], weight, atol=1e-6)


def test_without_transformers_the_line_that_installs_it_is_said():
    code = (
        "import sys; sys.modules['accelerate'] = None\nimport minaction.integrations.transformers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: add_energy needs transformers and accelerate (" in done.stderr
    assert "); install with: pip install 'minaction[transformers]'\n" in done.stderr


def test_gpt2_with_linear_layers_computes_the_same_and_can_be_followed():
    model = gpt2().eval()
    model.config.use_cache = False
    model.transformer.h[0].mlp.c_fc.weight.requires_grad_(False)
    x = {"input_ids": Texts(language=True).ids}
    state, before = torch.get_rng_state(), model(**x).logits
    linear = with_linear_layers(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(linear(**x).logits, before, atol=1e-6)
    assert not any(type(module).__name__ == "Conv1D" for module in linear.modules())
    assert type(model.transformer.h[0].mlp.c_fc).__name__ == "Conv1D"
    assert not linear.transformer.h[0].mlp.c_fc.weight.requires_grad
    assert linear.lm_head.weight is linear.transformer.wte.weight
    assert not any(module.training for module in linear.modules())
    with torch.no_grad():
        linear.transformer.h[0].mlp.c_fc.weight[:5] = 0.0
        linear.transformer.h[0].mlp.c_fc.bias[:5] = 0.0
    assert len(ma.compact(linear, x).exact) == 5
